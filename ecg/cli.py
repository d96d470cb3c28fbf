"""The console command `ecg`: trains, synthesises, annotates recordings, shares models, compares finished runs."""

from __future__ import annotations

import runpy
import sys
from dataclasses import asdict
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ecg.errors import UserError, user_errors

if TYPE_CHECKING:
    from ecg.evaluation.beat_matching import Comparison

LOOPBACK = "127.0.0.1"

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
# Hydra reads the arguments of the programs, --help included.
PROGRAM: dict[str, Any] = {
    "add_help_option": False,
    "options_metavar": "[GROUP=OPTION ...] [KEY=VALUE ...] [-m]",
    "context_settings": {"allow_extra_args": True, "ignore_unknown_options": True},
}


@app.callback()
def _main() -> None:
    """Trains and compares classifiers of heartbeats, synthesises heartbeats, annotates recordings."""


@app.command(**PROGRAM)
def train(context: typer.Context) -> None:
    """Trains and tests a classifier, as train.py does.

    ecg train --help lists every group, option and key.
    """
    _run_program("train", context.args)


@app.command(**PROGRAM)
def synth(context: typer.Context) -> None:
    """Fits a generator and writes synthetic beats, as synth.py does.

    ecg synth --help lists every group, option and key.
    """
    _run_program("synth", context.args)


@app.command()
def beats(
    out: Annotated[Path, typer.Option(help="Folder for mitbih_train.csv and mitbih_test.csv.")],
    protocol: Annotated[str, typer.Option(help="Split of the beats: an option of the group protocol.")] = "kaggle",
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder of the MIT-BIH records; default: ECG_DATA_DIR/mitdb or a download.")
    ] = None,
    cache_dir: Annotated[Path | None, typer.Option(help="Folder of prepared beats.")] = None,
) -> None:
    """Writes MIT-BIH in the format of the Kaggle heartbeat set: 187 samples and the label a row, no header.

    With the protocol kaggle these are the two files of the Kaggle set, with the test rows in the original order.
    Validation beats are among the training rows.
    """
    with user_errors():
        _write_beats(out, protocol, data_dir, cache_dir)


@app.command()
def predict(
    recordings: Annotated[
        list[str],
        typer.Argument(help="WFDB records, files .edf, .csv, .npy or .parquet, folders, or patterns ('*.edf')."),
    ],
    model: Annotated[
        str, typer.Option(help="Released model (ecg models), run folder of train.py, model file, or hf://USER/NAME.")
    ] = "inter_patient",
    out: Annotated[Path | None, typer.Option(help="Folder of the results; default: that of each recording.")] = None,
    lead: Annotated[
        str | None, typer.Option(help="Lead with the R peaks; default: lead II by name, else the first.")
    ] = None,
    sfreq: Annotated[float | None, typer.Option(help="Sampling rate in Hz of a file that does not state one.")] = None,
    reference: Annotated[
        str | None, typer.Option(help="Suffix of WFDB annotation files to compare with, such as atr.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing results.")] = False,
    jobs: Annotated[int | None, typer.Option(help="Recordings at a time; default: one on each core.", min=1)] = None,
) -> None:
    """Detects and classifies the beats of recordings.

    Writes NAME.ecg, a WFDB annotation file, NAME.beats.csv with the time, the class and the probabilities of each beat,
    and NAME.html, a report with a strip of the whole recording. A recording that cannot be annotated does not stop the
    others. Not a medical device.
    """
    with user_errors():
        from rich.progress import Progress

        from ecg.annotation import AnnotationSettings, annotate_recordings
        from ecg.data.recording_files import find_recordings

        paths = find_recordings(recordings)
        settings = AnnotationSettings(model, out, lead, sfreq, reference, overwrite)
        comparisons, errors = [], []
        with Progress(transient=True, disable=len(paths) == 1) as progress:
            task = progress.add_task("Annotating recordings", total=len(paths))
            for annotated in annotate_recordings(paths, settings, lambda: progress.advance(task), jobs):
                if annotated.error is not None:
                    errors.append(annotated.error)
                    continue
                counts = ", ".join(f"{name} {n:,}" for name, n in annotated.counts.items())
                typer.echo(f"{annotated.name}: {sum(annotated.counts.values()):,} beats ({counts})")
                if annotated.gaps is not None:
                    typer.echo(f"  without contact: {annotated.gaps}")
                for path in annotated.written:
                    typer.echo(f"  {path}")
                if annotated.comparison is not None:
                    comparisons.append(annotated.comparison)
        if comparisons:
            _print_comparison(sum(comparisons[1:], comparisons[0]))
        for error in errors[:-1]:
            typer.echo(f"Error: {error}", err=True)
        if errors:
            raise UserError(errors[-1])


@app.command()
def serve(
    model: Annotated[
        str | None,
        typer.Option(help="Run folder of train.py, model file, or hf://USER/NAME, besides the released models."),
    ] = None,
    host: Annotated[str, typer.Option(help="Interface. The default cannot be reached from other machines.")] = LOOPBACK,
    port: Annotated[int, typer.Option(help="TCP port; 0: a free one.", min=0, max=65535)] = 8000,
    max_mb: Annotated[int, typer.Option(help="Largest upload in MB.", min=1, max=100_000)] = 500,
) -> None:
    """Serves a page that annotates an uploaded recording, as ecg predict does, until Ctrl-C.

    For one user: there is no password and no encryption. Not a medical device. Needs
    pip install "ecg-synthesis-classification[serve]".
    """
    with user_errors():
        try:
            from ecg.server import serve as serve_page
        except ModuleNotFoundError as error:
            if error.name != "aiohttp":
                raise
            raise UserError('ecg serve needs: pip install "ecg-synthesis-classification[serve]".') from error

        if host not in (LOOPBACK, "localhost", "::1"):
            typer.echo("Everyone who reaches this address can use the page: there is no password.", err=True)
        typer.echo("Loading the model ...", err=True)
        serve_page(model, host, port, max_mb, lambda address: typer.echo(f"Open {address} (Ctrl-C ends the program)."))


@app.command()
def models() -> None:
    """Lists the released models, which are part of the package."""
    with user_errors():
        from ecg.pretrained import model_card, released_models

        for name, path in released_models().items():
            size = f"{path.stat().st_size / 1e6:.1f} MB"
            typer.echo(f"{name} ({path.parent.name}, {size}): {model_card(name).splitlines()[2]}")


@app.command()
def export(
    model: Annotated[
        str, typer.Argument(help="Run folder of train.py or synth.py, released model (ecg models), or model file.")
    ],
    out: Annotated[Path, typer.Argument(help="File NAME.safetensors, or of a classifier NAME.onnx.")],
    int8: Annotated[
        bool, typer.Option("--int8", help="Store the weights of an ONNX file as int8; prints what this changes.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
) -> None:
    """Writes a network and its configuration to one file, for ecg predict and ecg synthesize.

    ONNX files (pip install "ecg-synthesis-classification\\[onnx]") can also be used without this package: the metadata
    describe inputs and outputs.
    """
    with user_errors():
        from ecg.pretrained import find_model
        from ecg.sharing import export_model

        if out.exists() and not overwrite:
            raise UserError(f"{out} exists. Add --overwrite, or choose another file.")
        effect = export_model(find_model(model), out, int8=int8)
        typer.echo(f"{out}: {out.stat().st_size / 1e6:.2f} MB")
        if effect:
            typer.echo(
                f"With float32 weights: {effect.float32_bytes / 1e6:.2f} MB. On {effect.n_beats:,} simulated beats, "
                f"{effect.n_equal:,} labels are equal ({effect.n_equal / effect.n_beats:.2%}), and a probability "
                f"differs by at most {effect.largest_difference:.2g}."
            )


@app.command()
def push(
    model: Annotated[str, typer.Argument(help="Run folder of train.py or synth.py, model file, or released model.")],
    repository: Annotated[str, typer.Argument(help="USER/NAME on the Hugging Face Hub; created if missing.")],
    private: Annotated[
        bool | None,
        typer.Option("--private/--public", help="Whether a new repository is private; default: as in huggingface_hub."),
    ] = None,
    card: Annotated[
        Path | None, typer.Option(help="Model card in Markdown; default: that of the repository, else a new one.")
    ] = None,
) -> None:
    """Uploads a model to the Hugging Face Hub, for --model hf://USER/NAME.

    The repository holds model.safetensors, with weights and configuration, and the model card README.md. A new one is
    public, unless --private is given or the organisation has another default. Log in with `hf auth login` or HF_TOKEN.
    Needs pip install "ecg-synthesis-classification\\[hub]".
    """
    with user_errors():
        from ecg.sharing import push_model

        typer.echo(push_model(model, repository, private=private, card=card))


@app.command()
def explain(
    recording: Annotated[Path, typer.Argument(help="WFDB record, or file .edf, .csv, .npy or .parquet.")],
    at: Annotated[float, typer.Option(help="Time of the beat in s from the start of the recording.")],
    out: Annotated[Path, typer.Option(help="File .png.")],
    model: Annotated[
        str, typer.Option(help="Released model (ecg models), run folder of train.py, model file, or hf://USER/NAME.")
    ] = "inter_patient",
    name: Annotated[str | None, typer.Option("--class", help="Class to explain; default: the predicted one.")] = None,
    lead: Annotated[str | None, typer.Option(help="Lead with the R peaks; default: as in ecg predict.")] = None,
    sfreq: Annotated[float | None, typer.Option(help="Sampling rate in Hz of a file that does not state one.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
) -> None:
    """Draws what the network used to classify a beat: parts of the beat and its neighbours, and the features.

    Orange parts and coloured bars speak for the class, purple parts and grey bars against it, relative to the mean beat
    of the recording (integrated gradients). Needs pip install "ecg-synthesis-classification\\[explain]".
    """
    with user_errors():
        from ecg.data.recording_files import read_recording
        from ecg.explanation import explain_beat, write_explanation
        from ecg.prediction import load_classifier

        if out.exists() and not overwrite:
            raise UserError(f"{out} exists. Add --overwrite, or choose another file.")
        beat = explain_beat(load_classifier(model), read_recording(recording, sfreq=sfreq, lead=lead), at, name)
        write_explanation(beat, recording.name, out)
        typer.echo(f"{out}: beat at {beat.time:.2f} s, class {beat.class_name}, probability {beat.probability:.3f}")


@app.command()
def synthesize(
    out: Annotated[
        Path,
        typer.Option(
            help="File .csv (rows of the Kaggle set), file .npy (array (n, C, T)), or folder (synthetic set)."
        ),
    ],
    names: Annotated[list[str], typer.Option("--class", help="Class of the beats: N, S, V, F or Q; may be repeated.")],
    model: Annotated[
        str,
        typer.Option(help="Released generator (ecg models), run folder of synth.py, model file, or hf://USER/NAME."),
    ] = "kaggle_generator",
    n: Annotated[int, typer.Option("-n", help="Number of beats of each class.")] = 100,
    record: Annotated[str | None, typer.Option(help="Draw beats for one record only.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the noise and of the records.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file or set.")] = False,
) -> None:
    """Draws synthetic beats. They are not recordings of a patient.

    train.py reads a folder with augmentation=synthetic, which trains on these beats alone, or with augmentation=gan.
    """
    with user_errors():
        from ecg.sampling import load_generator, write_beats

        if out.exists() and not overwrite:
            raise UserError(f"{out} exists. Add --overwrite, or choose another file.")
        generator = load_generator(model)
        write_beats(generator, dict.fromkeys(names, n), out, seed=seed, record=record)
        counts = ", ".join(f"{name} {n:,}" for name in dict.fromkeys(names))
        typer.echo(f"{out}: {counts} beats, {generator.fitted.sfreq:g} Hz")


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run folders of train.py, or folders of sweeps.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for leaderboard.html, .csv and .json; default: print only.")
    ] = None,
    ensemble: Annotated[
        bool, typer.Option("--ensemble", help="Also evaluate the mean probabilities of the seeds, and of all runs.")
    ] = False,
) -> None:
    """Ranks and compares the configurations of finished runs.

    Runs that differ in the seed only are one configuration. Folds are evaluated together. Each configuration is
    compared with the first one, paired by seed.
    """
    with user_errors():
        from ecg.comparison.console import print_ensembles, print_leaderboard
        from ecg.comparison.ensembles import build_ensembles
        from ecg.comparison.leaderboard import build_leaderboard, differing_keys
        from ecg.comparison.run_records import read_runs

        board = build_leaderboard(read_runs(runs, predictions=ensemble))
        ensembles = build_ensembles(board) if ensemble else []
        print_leaderboard(board)
        if ensembles:
            print_ensembles(ensembles)
        for key, values in differing_keys(board).items():
            typer.echo(f"{key}: {', '.join(dict.fromkeys(map(str, values.values())))}")
        if out:
            from ecg.reports.leaderboard_report import write_leaderboard

            out.mkdir(parents=True, exist_ok=True)
            typer.echo(f"Leaderboard: {write_leaderboard(board, out, ensembles)[0]}")


@app.command()
def calibrate(
    runs: Annotated[list[Path], typer.Argument(help="Folds of cross-validations, or folders of sweeps over them.")],
    classes: Annotated[
        str | None, typer.Option(help="Classes whose logits are shifted, such as V,F; default: all but the first.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File for the result as JSON; default: print only.")] = None,
) -> None:
    """Chooses prediction.shifts and prediction.temperature on the test beats of a cross-validation.

    The test beats of all folds are one set, in which every patient takes part. With several seeds, each gives a set,
    and all sets are used.
    """
    with user_errors():
        from ecg.comparison.calibration import calibrate
        from ecg.comparison.run_records import read_runs
        from ecg.files import write_json

        result = calibrate(read_runs(runs), classes.split(",") if classes else None)
        for title, scores in (("without shifts", result.before), ("with shifts", result.after)):
            f1 = ", ".join(f"{name} {value:.3f}" for name, value in scores.items())
            typer.echo(f"macro-F1 {title}: {sum(scores.values()) / len(scores):.3f} ({f1})")
        typer.echo(" ".join(f"'{override}'" for override in result.overrides))
        if out:
            write_json(out, asdict(result))


@app.command("wandb-report")
def wandb_report(
    project: Annotated[str, typer.Option(help="W&B project of the runs.")] = "ecg",
    entity: Annotated[str | None, typer.Option(help="W&B user or team; default: that of the account.")] = None,
    group: Annotated[str | None, typer.Option(help="Sweep to compare; default: all runs of the project.")] = None,
) -> None:
    """Publishes a comparison of runs as a W&B report."""
    with user_errors():
        from ecg.tracking.workspace_report import publish

        typer.echo(publish(project, entity, group))


def _run_program(name: str, arguments: list[str]) -> None:
    # As `python -m ecg.programs.NAME` does: Lightning starts further processes of a run with the module of __main__.
    sys.argv[1:] = arguments
    runpy.run_module(f"ecg.programs.{name}", run_name="__main__", alter_sys=True)


def _print_comparison(comparison: Comparison) -> None:
    """Prints the rates of detected and classified beats, by the rules of EC57."""
    found = f"Se {comparison.sensitivity:.2%}, +P {comparison.positive_predictive_value:.2%}"
    typer.echo(f"Beats within 150 ms of an annotated one: {found}")
    for name in comparison.classes:
        se, ppv = ("–" if isnan(rate) else f"{rate:.1%}" for rate in comparison.rates(name))
        typer.echo(f"  {name}: Se {se}, +P {ppv}")


def _write_beats(out: Path, protocol_name: str, data_dir: Path | None, cache_dir: Path | None) -> None:
    from ecg.config.schema import SCHEMAS, PathsConfig, PhysioNetConfig, WindowName

    if protocol_name not in SCHEMAS["protocol"]:
        raise UserError(f"Unknown protocol {protocol_name}. Valid protocols: {', '.join(SCHEMAS['protocol'])}.")
    from omegaconf import OmegaConf

    from ecg import build
    from ecg.data.kaggle import FILES, write_csv

    data = PhysioNetConfig(name="mitbih", window=WindowName.kaggle, dir=str(data_dir) if data_dir else None)
    paths = PathsConfig(run_dir="", cache_dir=str(cache_dir) if cache_dir else None)
    schemas = {"data": data, "protocol": SCHEMAS["protocol"][protocol_name], "paths": paths}
    cfg = OmegaConf.create({name: OmegaConf.structured(schema) for name, schema in schemas.items()})
    source, protocol = build.source(cfg), build.protocol(cfg)
    beats = source.load_beats(build.window(cfg), build.cache_dir(cfg), exclude=protocol.excluded_records(source))
    out.mkdir(parents=True, exist_ok=True)
    for name, positions in zip(FILES, protocol.partition(beats, source), strict=True):
        path = out / f"{name}.csv"
        write_csv(beats.take(positions), path)
        typer.echo(f"{path}: {len(positions):,} beats")
