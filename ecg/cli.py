"""The console command `ecg`: what is done to data and to finished runs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ecg.errors import one_sentence

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Heartbeats for experiments.")


class ProtocolName(StrEnum):
    """The options of the group `protocol`."""

    kaggle = "kaggle"
    inter_patient = "inter_patient"
    patient_kfold = "patient_kfold"
    random = "random"


@app.callback()
def _main() -> None:
    """Heartbeats for experiments."""


@app.command()
def beats(
    out: Annotated[Path, typer.Option(help="Folder for mitbih_train.csv and mitbih_test.csv.")],
    protocol: Annotated[ProtocolName, typer.Option(help="How the beats are divided.")] = ProtocolName.kaggle,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder of the MIT-BIH records; else ECG_DATA_DIR/mitdb, downloaded if absent.")
    ] = None,
    cache_dir: Annotated[Path | None, typer.Option(help="Folder for prepared beats.")] = None,
) -> None:
    """Writes MIT-BIH as Kaggle has it: 187 samples and the label a row, no header.

    With the protocol kaggle these are the two files of the Kaggle heartbeat set, the test rows in their order;
    with another one the same beats are divided otherwise. Validation beats are among the training rows.
    """
    with one_sentence():
        _write_beats(out, protocol, data_dir, cache_dir)


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run folders of train.py, or folders of sweeps.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for leaderboard.html, .csv and .json; else nothing is written.")
    ] = None,
) -> None:
    """Says which configuration is better, from finished runs.

    Runs that differ in the seed alone are one cell of the table, folds are read together, and each cell is compared
    with the first one, paired by seed.
    """
    with one_sentence():
        from ecg.evaluation import leaderboard

        board = leaderboard.leaderboard(leaderboard.read(runs))
        leaderboard.show(board)
        for key, values in leaderboard.differing(board).items():
            typer.echo(f"{key}: {', '.join(str(value) for value in dict.fromkeys(map(str, values.values())))}")
        if out:
            out.mkdir(parents=True, exist_ok=True)
            typer.echo(f"Leaderboard: {leaderboard.write(board, out)[0]}")


@app.command("wandb-report")
def wandb_report(
    project: Annotated[str, typer.Option(help="W&B project of the runs.")] = "ecg",
    entity: Annotated[str | None, typer.Option(help="User or team; else the account's own.")] = None,
    group: Annotated[str | None, typer.Option(help="Sweep whose runs are compared; else all of the project.")] = None,
) -> None:
    """Builds a comparison of runs as a report on W&B's site."""
    with one_sentence():
        from ecg.wandb_report import publish

        typer.echo(publish(project, entity, group))


def _write_beats(out: Path, protocol: ProtocolName, data_dir: Path | None, cache_dir: Path | None) -> None:
    from omegaconf import OmegaConf

    from ecg import build
    from ecg.config import SCHEMAS, PathsConfig
    from ecg.data.kaggle import FILES, write_csv

    paths = PathsConfig(run_dir="", cache_dir=str(cache_dir) if cache_dir else None)
    schemas = {"data": SCHEMAS["data"]["mitbih"], "protocol": SCHEMAS["protocol"][protocol.value], "paths": paths}
    cfg = OmegaConf.create({name: OmegaConf.structured(schema) for name, schema in schemas.items()})
    cfg.data.window, cfg.data.dir = "kaggle", str(data_dir) if data_dir else None
    divide = build.protocol(cfg)
    found = build.source(cfg).beats(build.cache_dir(cfg), exclude=divide.excluded("mitbih"))
    out.mkdir(parents=True, exist_ok=True)
    for name, side in zip(FILES, divide.sides(found, "mitbih"), strict=True):
        path = out / f"{name}.csv"
        write_csv(found.take(side), path)
        typer.echo(f"{path}: {len(side):,} beats")
