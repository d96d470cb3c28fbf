"""Weights & Biases: whether and where a run is tracked, and what its dashboard gets to see.

Whatever fails in here costs one warning and the dashboard, never the training: every score is in the run
folder too.
"""

from __future__ import annotations

import configparser
import logging
import netrc
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import urlsplit

import numpy as np
import wandb
from matplotlib.figure import Figure
from pytorch_lightning.loggers import WandbLogger

from ecg.errors import UserError
from ecg.evaluation.predictions import Predictions

log = logging.getLogger(__name__)

Mode = Literal["online", "offline", "disabled"]
MODES = ("online", "offline", "disabled")
OLD_NAMES = {"run": "online", "dryrun": "offline"}  # W&B still takes them in WANDB_MODE

STEP = "trainer/global_step"  # what Lightning's WandbLogger calls the x axis
LOWER_IS_BETTER = {"loss", "ece", "brier", "distance", "frechet", "error"}
COLUMNS = ("support", "precision", "recall", "f1", "auroc", "auprc")
LONGEST_TAG = 64  # W&B refuses longer ones

# Each gives way to the user's WANDB_<NAME>. W&B would wait 90 s for a server that is not there, and forever
# for an upload that does not end; nothing is lost by giving up, since `wandb sync` uploads the files later.
# Its capture of the console would store every redrawn line of a progress bar.
SETTINGS: dict[str, Any] = {
    "silent": True,
    "console": "off",
    "init_timeout": 10.0,
    "finish_timeout": 120.0,
    "finish_timeout_raises": True,
}


def wandb_mode(explicit: str | None, environ: Mapping[str, str] = os.environ) -> Mode:
    """Whether a run is tracked and where.

    The first that says something: `explicit`, WANDB_MODE, WANDB_DISABLED, what `wandb offline` or `wandb
    online` left in W&B's settings file; else online where there are credentials and offline where there are
    none. Asks nobody, and touches no network.

    Args:
        explicit: the configuration's choice; None for no choice.
        environ: the environment variables.

    Raises:
        UserError: the mode is none of online, offline and disabled.
    """
    if explicit is not None:
        return _checked(explicit, "logger.mode")
    if said := environ.get("WANDB_MODE"):
        return _checked(OLD_NAMES.get(said, said), "WANDB_MODE")
    if environ.get("WANDB_DISABLED", "").lower() not in ("", "0", "false", "no", "off"):
        return "disabled"
    if saved := _saved_settings(environ).get("mode"):
        return _checked(OLD_NAMES.get(saved, saved), "the mode in W&B's settings file")
    return "online" if has_credentials(environ) else "offline"


def _checked(mode: str, where: str) -> Mode:
    if mode not in MODES:
        raise UserError(f"{where} is {mode!r}: it is one of {', '.join(MODES)}.")
    return cast(Mode, mode)


def has_credentials(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether W&B finds a key or a token for its server, so that it does not ask at the terminal."""
    if environ.get("WANDB_API_KEY") or environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    saved = _saved_settings(environ)
    url = environ.get("WANDB_BASE_URL") or saved.get("base_url") or "https://api.wandb.ai"
    return bool(saved.get("api_key")) or _in_netrc(urlsplit(url).netloc, environ)


def _in_netrc(host: str, environ: Mapping[str, str]) -> bool:
    home = _home(environ)
    named = environ.get("NETRC")
    candidates = [Path(named).expanduser()] if named else [home / ".netrc", home / "_netrc"]
    try:
        path = next((path for path in candidates if path.exists()), None)
        entry = netrc.netrc(path).authenticators(host) if path else None
    except (netrc.NetrcParseError, OSError, UnicodeDecodeError):
        return False
    return entry is not None and bool(entry[2])


def _saved_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """What `wandb login --host`, `wandb offline` and the like wrote down; the working folder's file wins."""
    parser = configparser.ConfigParser(interpolation=None)
    folder = Path(environ.get("WANDB_CONFIG_DIR") or _home(environ) / ".config" / "wandb").expanduser()
    with suppress(configparser.Error, OSError, UnicodeDecodeError):
        parser.read([folder / "settings", Path("wandb", "settings")])
    return dict(parser["default"]) if parser.has_section("default") else {}


def _home(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("HOME") or environ.get("USERPROFILE") or Path.home())


class SafeWandbLogger(WandbLogger):
    """Lightning's WandbLogger on a run that is already there, which never stops a training.

    The first failure is told once and ends the logging.
    """

    def __init__(self, run: wandb.Run) -> None:
        root = run.settings.root_dir
        super().__init__(experiment=run, project=run.project, name=run.name, id=run.id, save_dir=root)
        self.failed = False
        self._described = {STEP, "epoch"}

    def attempt(self, call: Callable[..., object], *arguments: Any, **options: Any) -> None:
        """Calls, unless W&B has failed before; warns at the first failure."""
        if self.failed:
            return
        try:
            call(*arguments, **options)
        except Exception as error:
            self.failed = True
            log.warning("W&B failed (%s): the training goes on, its dashboard ends here.", _reason(error))

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Logs one row."""
        self.attempt(self._describe, metrics)
        self.attempt(super().log_metrics, metrics, step)

    def log_hyperparams(self, params: Any) -> None:
        """Adds to the run's configuration."""
        self.attempt(super().log_hyperparams, params)

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """Uploads checkpoints, where that is asked for."""
        self.attempt(super().after_save_checkpoint, checkpoint_callback)

    def finalize(self, status: str) -> None:
        """Called by Lightning after each fit or test; the run stays open until `finish`."""
        self.attempt(super().finalize, status)

    def _describe(self, metrics: Mapping[str, float]) -> None:
        # Each by its full name and before its first value: W&B matches a name against globs in random order,
        # so that "*" (as in Lightning) and "val/*" together define a metric one way or the other, by chance.
        for name in metrics.keys() - self._described:
            self.experiment.define_metric(name, step_metric=STEP, summary=_summary(name))
            self._described.add(name)


def _summary(name: str) -> str | None:
    """What the table of runs shows of a metric: its best value besides the last, where there is one."""
    if LOWER_IS_BETTER & set(re.split(r"[/_-]", name)):
        return "min,last"
    return "max,last" if name.startswith("val/") else None


def wandb_logger(
    *,
    run_dir: Path,
    mode: Mode,
    project: str,
    name: str,
    group: str | None,
    job_type: str,
    tags: Sequence[str],
    config: Mapping[str, Any],
) -> SafeWandbLogger | None:
    """Starts a W&B run; where that fails, falls back from online to offline to nothing, with one warning.

    Call it in the main process alone. It leaves the environment variables as they are, but for WANDB_SERVICE,
    by which W&B shows child processes its background process.

    Args:
        run_dir: the run folder; W&B's files go into its sub-folder `wandb`.
        mode: see `wandb_mode`; "disabled" gives None.
        project: W&B project.
        name: name of the run.
        group: sweep or experiment that the run belongs to.
        job_type: train or synth.
        tags: model, protocol and the like; double ones are dropped.
        config: the resolved configuration, free of secrets.
    """
    if mode == "disabled":
        return None
    labels = [tag[:LONGEST_TAG] for tag in dict.fromkeys(tags) if tag]
    described = {"project": project, "name": name, "group": group, "job_type": job_type, "tags": labels}
    modes: tuple[Mode, ...] = ("online", "offline") if mode == "online" else ("offline",)
    problem: str | None = None
    for attempted in modes:
        try:
            run = _start(run_dir.resolve(), attempted, {**described, "config": dict(config)})
        except Exception as error:
            problem = problem or _reason(error)
            continue
        _say_where(run, attempted, problem)
        return SafeWandbLogger(run)
    log.warning("W&B does not start (%s): the training goes on without it.", problem)
    return None


def _start(run_dir: Path, mode: Mode, arguments: dict[str, Any]) -> wandb.Run:
    # W&B itself would write to the system's temporary folder where this one refuses, and would ask for a key
    # at the terminal where there is none.
    run_dir.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=run_dir).close()
    if mode == "online" and not has_credentials():
        raise RuntimeError("no credentials: `wandb login` stores them")
    settings = wandb.Settings(**{k: v for k, v in SETTINGS.items() if f"WANDB_{k.upper()}" not in os.environ})
    before = set(run_dir.glob("wandb/run-*"))
    try:
        wandb.setup(settings=settings)
        # By default W&B would return a run that another job of this process left open, and a server could ask
        # for the code and its uncommitted changes.
        earlier = _id_of(run_dir)
        run = wandb.init(
            mode=mode,
            dir=run_dir,
            id=earlier,
            resume="allow" if earlier and mode == "online" else None,
            save_code=False,
            reinit="finish_previous",
            settings=settings,
            **arguments,
        )
        run.define_metric(STEP)
    except Exception:
        # Leaves no empty run beside the offline one; the background process would write to it again.
        _forget_service()
        for folder in set(run_dir.glob("wandb/run-*")) - before:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    return run


def _id_of(run_dir: Path) -> str | None:
    """Of the run that a resumed training goes on with; None for a new one."""
    found = sorted(run_dir.glob("wandb/*run-*/run-*.wandb"), key=lambda path: path.parent.name.split("run-")[-1])
    return found[-1].stem.removeprefix("run-") if found else None


def _say_where(run: wandb.Run, mode: Mode, problem: str | None) -> None:
    folder = _folder(run)
    if mode == "online":
        log.info("W&B: %s", run.url)
    elif problem is None:
        log.info("W&B, offline: %s", folder)
    else:
        log.warning("W&B goes on offline (%s); afterwards upload with: wandb sync %s", problem, folder)


def log_figure(logger: WandbLogger, title: str, figure: Figure) -> None:
    """Sends a figure to `figures/TITLE`, at the step where the training is; never raises."""
    _safe(logger).attempt(lambda: logger.experiment.log({f"figures/{title}": wandb.Image(figure)}))


def log_judgement(logger: WandbLogger, judged: Mapping[str, Mapping[str, Any]]) -> None:
    """Sends the judgement of synthetic beats, once, at the end; never raises.

    Args:
        logger: of the run that made the beats.
        judged: by side, what `ecg.evaluation.fidelity.judge` returns.
    """
    _safe(logger).attempt(_log_judgement, logger.experiment, judged)


def _log_judgement(run: wandb.Run, judged: Mapping[str, Mapping[str, Any]]) -> None:
    summary: dict[str, Any] = {}
    for side, found in judged.items():
        summary[f"fidelity/{side}/trusted"] = found["trusted"]
        for key, measure in found["measures"].items():
            summary[f"fidelity/{side}/{key}"] = measure["overall"]["value"]
            summary |= {f"fidelity/{side}/{key}/{name}": row["value"] for name, row in measure["per_class"].items()}
            summary[f"fidelity/{side}/{key}_floor"] = measure["overall"]["floor"]
    run.summary.update({name: value for name, value in summary.items() if value is not None})
    rows: list[Iterable[Any]] = [
        [side, gate["measure"], gate["class"] or "all", gate["reached"], gate["bound"], gate["passed"]]
        for side, found in judged.items()
        for gate in found["gates"]
    ]
    columns = ("side", "measure", "class", "reached", "needed", "passed")
    run.log({"fidelity/gates": wandb.Table(columns=[*columns], data=rows)})


def log_results(
    logger: WandbLogger,
    *,
    metrics: Mapping[str, Any],
    predictions: Predictions,
    figures: Mapping[str, Figure],
    synthetic_set: Mapping[str, Any] | None = None,
) -> None:
    """Sends the test results, once, at the end; never raises.

    Args:
        logger: of the run that found them.
        metrics: of the test beats, from `ecg.evaluation.metrics.evaluate`.
        predictions: of the same beats.
        figures: by title; shown under `figures/`.
        synthetic_set: provenance of the beats of a generator that took part in the training.
    """
    _safe(logger).attempt(_log_results, logger.experiment, metrics, predictions, figures)
    if synthetic_set:
        _safe(logger).attempt(logger.experiment.config.update, {"synthetic_set": dict(synthetic_set)})


def _log_results(
    run: wandb.Run, metrics: Mapping[str, Any], predictions: Predictions, figures: Mapping[str, Figure]
) -> None:
    run.summary.update(_scalars(metrics))
    rows: list[Iterable[Any]] = [
        [name, *(_value(row.get(column)) for column in COLUMNS)] for name, row in metrics["per_class"].items()
    ]
    run.log(
        {
            "test/per_class": wandb.Table(columns=["class", *COLUMNS], data=rows),
            "test/confusion_matrix": wandb.plot.confusion_matrix(
                y_true=predictions.label.tolist(),
                preds=predictions.probability.argmax(axis=1).tolist(),
                class_names=list(predictions.classes),
                title="Confusion matrix of the test beats",
            ),
            "test/pr_curves": _pr_curves(predictions),
            **{f"figures/{title.replace(' ', '_')}": wandb.Image(figure) for title, figure in figures.items()},
        }
    )


def _scalars(metrics: Mapping[str, Any]) -> dict[str, float]:
    """`test/accuracy`, `test/macro_f1`, `test/S/f1`; gross and macro ones also with `_low` and `_high`."""
    gross = {name: score for name, score in metrics.items() if _is_score(score)}
    gross |= {f"macro_{name}": score for name, score in metrics["macro"].items() if _is_score(score)}
    scalars: dict[str, Any] = {"test/n_beats": metrics["n_beats"]}
    for name, score in gross.items():
        scalars[f"test/{name}"] = score["value"]
        scalars[f"test/{name}_low"], scalars[f"test/{name}_high"] = score.get("low"), score.get("high")
    for name, row in metrics["per_class"].items():
        scalars |= {f"test/{name}/{column}": _value(row.get(column)) for column in COLUMNS}
    return {name: value for name, value in scalars.items() if value is not None}


def _is_score(entry: Any) -> bool:
    return isinstance(entry, Mapping) and "value" in entry


def _value(entry: Any) -> Any:
    return entry["value"] if _is_score(entry) else entry


def _pr_curves(predictions: Predictions) -> Any:
    # The chart holds 21 points a class, however many beats there are. It takes the i-th column for the i-th
    # of the classes among the labels: the columns of classes without a beat have to go.
    present = np.unique(predictions.label)
    return wandb.plot.pr_curve(
        y_true=predictions.label,
        y_probas=predictions.probability[:, present],
        labels=list(predictions.classes),
        title="Precision and recall of the test beats, each class against the others",
    )


def set_name(logger: WandbLogger) -> str:
    """The artifact as which a logger's run stores its synthetic set."""
    return f"{logger.experiment.project}/beats-{logger.version}:latest"


def log_set(logger: WandbLogger, folder: Path, told: Mapping[str, Any]) -> None:
    """Stores a synthetic set as an artifact, so that W&B links its generator with who trains with it; never raises.

    Args:
        logger: of the run that made the set.
        folder: of the set.
        told: what the artifact's page shows.
    """

    def store() -> None:
        artifact = wandb.Artifact(f"beats-{logger.version}", type="synthetic-beats", metadata=dict(told))
        artifact.add_dir(str(folder))
        logger.experiment.log_artifact(artifact)

    _safe(logger).attempt(store)


def use_set(logger: WandbLogger, name: str) -> None:
    """Tells W&B which synthetic set a classifier trained with; a set that the server does not have costs one line.

    Offline nothing can be linked: the set's digest is in the run's configuration and provenance.
    """
    if logger.experiment.offline:
        return
    try:
        logger.experiment.use_artifact(name)
    except Exception as error:
        log.info("W&B has no artifact %s (%s): the set's digest is in the provenance alone.", name, _reason(error))


def finish(logger: object, exit_code: int) -> None:
    """Closes a logger's run; never raises, and waits for an upload no longer than `finish_timeout`.

    Args:
        logger: any logger or none; those that are not W&B's are left alone.
        exit_code: 0 for success; anything else marks the run as failed.
    """
    if isinstance(logger, WandbLogger) and logger.version is not None:
        _close(cast(wandb.Run, logger.experiment), exit_code)


def finish_all(exit_code: int) -> None:
    """`finish` for the run that this process has open, if any."""
    if wandb.run is not None:
        _close(wandb.run, exit_code)


def _close(run: wandb.Run, exit_code: int) -> None:
    folder = _folder(run)
    try:
        run.finish(exit_code=exit_code)
    except TimeoutError:
        log.warning("W&B has not received everything in time; upload the rest with: wandb sync %s", folder)
    except Exception as error:
        log.info("W&B does not close its run (%s).", _reason(error))  # what broke it has been told
        _forget_service()


def _forget_service() -> None:
    """Ends W&B's background process, so that the next run and the exit do not meet a dead one."""
    with suppress(Exception, SystemExit):
        wandb.teardown()


def _folder(run: wandb.Run) -> Path:
    return Path(run.dir).parent  # `run.dir` is its sub-folder "files"


def _safe(logger: WandbLogger) -> SafeWandbLogger:
    return logger if isinstance(logger, SafeWandbLogger) else SafeWandbLogger(cast(wandb.Run, logger.experiment))


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
