"""A comparison of runs as a report on the W&B site, with `wandb-workspaces` (the extra `report`)."""

from __future__ import annotations

from typing import Any

from ecg.data.aami import CLASSES
from ecg.errors import INSTALL, UserError
from ecg.tracking.wandb_mode import has_credentials

MAX_TITLE = 128  # characters


def publish(project: str, entity: str | None, group: str | None) -> str:
    """Saves a report at W&B and returns its address.

    Args:
        project: W&B project of the runs.
        entity: user or team of the project; None for the account's own.
        group: sweep or experiment to compare; None for all runs of the project.

    Raises:
        UserError: no credentials exist, the extra is not installed, or W&B refuses the report.
    """
    if not has_credentials():
        raise UserError(
            "No W&B credentials on this machine. Store them with `wandb login`, or write a local report with "
            "`ecg compare RUN_OR_SWEEP --out FOLDER`."
        )
    try:
        import wandb
        import wandb_workspaces.reports.v2 as wr
    except ImportError as error:
        raise UserError(f"W&B reports need an extra. Install it with: {INSTALL.format('report')}") from error
    try:
        owner = entity or str(wandb.Api().default_entity)
        report = wr.Report(
            project=project,
            entity=owner,
            title=f"Comparison of {group or project}"[:MAX_TITLE],
            description="Ranked by validation macro-F1, with test scores.",
            width="fluid",
            blocks=[wr.PanelGrid(runsets=[_runset(wr, project, owner, group)], panels=_panels(wr))],
        )
        return str(report.save().url)
    except Exception as error:  # of the network, the server, or the permissions of the account
        reason = str(error).strip() or type(error).__name__
        raise UserError(f"W&B refuses the report: {reason}. Check the project, the entity and the network.") from error


def _runset(wr: Any, project: str, entity: str, group: str | None) -> Any:
    """The runs, grouped by model and augmentation, best validation score first."""
    return wr.Runset(
        project=project,
        entity=entity,
        name=group or project,
        filters=f"Group = '{group}'" if group else "",
        groupby=["config.choices.model", "config.choices.augmentation"],
        order=[wr.OrderBy(wr.SummaryMetric("val/macro_f1"), ascending=False)],
    )


def _panels(wr: Any) -> list[Any]:
    bars = ["test/macro_f1", *(f"test/{name}/f1" for name in CLASSES)]
    plots = [
        wr.LinePlot(title="Validation macro-F1", x="epoch", y=["val/macro_f1"]),
        wr.LinePlot(title="Training loss", x="epoch", y=["train/loss"]),
        *(wr.BarPlot(title=name, metrics=[name], orientation="v") for name in bars),
        wr.RunComparer(diff_only=True),
    ]
    for index, plot in enumerate(plots):
        plot.layout = wr.Layout(x=8 * (index % 3), y=6 * (index // 3), w=8, h=6)
    return plots
