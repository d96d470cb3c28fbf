"""A comparison of runs as a report on W&B's site, through `wandb-workspaces` (the extra `report`)."""

from __future__ import annotations

from typing import Any

from ecg.data.aami import CLASSES
from ecg.errors import UserError


def publish(project: str, entity: str | None, group: str | None) -> str:
    """Builds the report and saves it at W&B; returns its address.

    Args:
        project: W&B project of the runs.
        entity: user or team that it belongs to; None for the account's own.
        group: sweep or experiment whose runs are compared; None for all runs of the project.

    Raises:
        UserError: there is no account, the extra is not installed, or W&B refuses.
    """
    from ecg.tracking import has_credentials

    if not has_credentials():
        raise UserError(
            "There is no W&B account on this machine: `wandb login` stores one. Without it, `ecg compare RUN_OR_SWEEP "
            "--out FOLDER` writes the same comparison as a page."
        )
    try:
        import wandb
        import wandb_workspaces.reports.v2 as wr
    except ImportError as error:
        raise UserError("W&B's reports need an extra: pip install -e '.[report]'.") from error
    try:
        owner = entity or str(wandb.Api().default_entity)
        report = wr.Report(
            project=project,
            entity=owner,
            title=f"Comparison of {group or project}"[:128],
            description="Ranked by validation macro-F1; the test scores stand beside it.",
            width="fluid",
            blocks=[wr.PanelGrid(runsets=[_runset(wr, project, owner, group)], panels=_panels(wr))],
        )
        return str(report.save().url)
    except Exception as error:  # of the site, of the network, of an account without rights
        raise UserError(f"W&B did not take the report: {str(error).strip() or type(error).__name__}.") from error


def _runset(wr: Any, project: str, entity: str, group: str | None) -> Any:
    """The runs, those of a model and an augmentation together, the best on validation first."""
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
