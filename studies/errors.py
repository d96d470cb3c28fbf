"""Error analysis: wrong beats of an ensemble by record and by symbol, and pictures of ten of them.

    python studies/errors.py RUN_OR_SWEEP ...

The runs are seeds of one configuration with data=mitbih. Writes `results/errors.json` and `docs/errors/01.png` to
`10.png`. The pictures show one beat of each of the ten largest groups of mistakes: those of one record, one true and
one predicted class. The beat is the one with the median probability of the predicted class.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ecg.comparison.ensembles import mean_predictions
from ecg.comparison.run_records import read_runs
from ecg.data.physionet import PhysioNet
from ecg.data.recording import Recording
from ecg.data.window import CenteredWindow
from ecg.evaluation.predictions import Predictions
from ecg.files import write_json
from ecg.reports.colours import CLASS_COLOURS
from ecg.reports.figure_style import HIGHLIGHT, INK, new_figure, style_figure

ROOT = Path(__file__).parents[1]
N_PICTURES = 10
SECONDS = 4.0  # on each side of the beat
WINDOW = CenteredWindow(lead="MLII", before=0.35, after=0.55, sfreq=120.0, difference=True)


def read_recordings(names: Sequence[str]) -> dict[str, Recording]:
    """The recordings of MIT-BIH."""
    source = PhysioNet(name="mitbih", records=names, dir=None, url=None)
    return {name: source.read(name, WINDOW) for name in names}


def symbols(predictions: Predictions, recordings: dict[str, Recording]) -> NDArray[np.str_]:
    """The symbol (n,) of each beat."""
    symbol = np.empty(len(predictions.label), "U2")
    for name, recording in recordings.items():
        beats = np.flatnonzero(predictions.record == name)
        symbol[beats] = recording.symbol[np.searchsorted(recording.sample, predictions.sample[beats])]
    return symbol


def groups(predictions: Predictions) -> list[tuple[tuple[str, int, int], int]]:
    """Record, true and predicted class of each group of mistakes, with the number of beats, the largest first."""
    predicted = predictions.probability.argmax(axis=1)
    wrong = predicted != predictions.label
    columns = (predictions.record[wrong].tolist(), predictions.label[wrong].tolist(), predicted[wrong].tolist())
    return Counter(zip(*columns, strict=True)).most_common()


def typical_beat(predictions: Predictions, record: str, true: int, predicted: int) -> int:
    """The beat of a group with the median probability of the predicted class."""
    of_group = (predictions.record == record) & (predictions.label == true)
    beats = np.flatnonzero(of_group & (predictions.probability.argmax(axis=1) == predicted))
    order = np.argsort(predictions.probability[beats, predicted])
    return int(beats[order[len(order) // 2]])


def picture(predictions: Predictions, recording: Recording, beat: int) -> Figure:
    """The two leads around a beat; above each beat its true class, and in brackets a wrong predicted one."""
    sample, sfreq = predictions.sample[beat], recording.sfreq
    first, last = sample - round(SECONDS * sfreq), sample + round(SECONDS * sfreq)
    shown = slice(max(0, first), last)
    time = (np.arange(shown.start, min(last, recording.signal.shape[1])) - sample) / sfreq
    figure = new_figure(9, 1.5 * len(recording.leads))
    axes = np.atleast_1d(figure.subplots(len(recording.leads), 1, sharex=True))
    for ax, lead, x in zip(axes, recording.leads, recording.signal, strict=True):
        ax.plot(time, x[shown], color=INK, linewidth=0.8)
        ax.set_ylabel(lead)
        ax.axvline(0, color=HIGHLIGHT, linewidth=6, alpha=0.25)
    inside = np.flatnonzero(
        (predictions.record == recording.name) & (predictions.sample > first) & (predictions.sample < last)
    )
    for i in inside:
        true = predictions.classes[predictions.label[i]]
        predicted = predictions.classes[int(predictions.probability[i].argmax())]
        text = true if predicted == true else f"{true}({predicted})"
        at = (predictions.sample[i] - sample) / sfreq
        axes[0].annotate(
            text, (at, 1.02), xycoords=("data", "axes fraction"), ha="center", fontsize=8, color=CLASS_COLOURS[true]
        )
    axes[-1].set_xlabel(f"record {recording.name}, seconds from sample {sample}")
    return style_figure(figure)


def analyse(predictions: Predictions, recordings: dict[str, Recording]) -> dict[str, Any]:
    """Confusion counts by record and by symbol, and the groups of the pictures."""
    predicted, symbol = predictions.probability.argmax(axis=1), symbols(predictions, recordings)
    n = len(predictions.classes)

    def counts(key: NDArray[np.str_]) -> dict[str, list[list[int]]]:
        return {
            name: np.bincount(predictions.label[key == name] * n + predicted[key == name], minlength=n * n)
            .reshape(n, n)
            .tolist()
            for name in np.unique(key).tolist()
        }

    pictures = []
    for (record, true, wrong), size in groups(predictions)[:N_PICTURES]:
        beat = typical_beat(predictions, record, true, wrong)
        pictures.append(
            {
                "record": record,
                "true": predictions.classes[true],
                "predicted": predictions.classes[wrong],
                "beats": size,
                "sample": int(predictions.sample[beat]),
                "symbol": str(symbol[beat]),
                "position": beat,
            }
        )
    return {
        "classes": list(predictions.classes),
        "by_record": counts(predictions.record),
        "by_symbol": counts(symbol),
        "pictures": pictures,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the tables and the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    predictions = mean_predictions(read_runs(parser.parse_args(arguments).runs, predictions=True))
    recordings = read_recordings(np.unique(predictions.record).tolist())
    content = analyse(predictions, recordings)
    folder = ROOT / "docs" / "errors"
    folder.mkdir(parents=True, exist_ok=True)
    for number, each in enumerate(content["pictures"], start=1):
        figure = picture(predictions, recordings[each["record"]], each.pop("position"))
        figure.savefig(folder / f"{number:02}.png", dpi=80)
        print(f"{number}: {each}")
    write_json(ROOT / "results" / "errors.json", content)


if __name__ == "__main__":
    main()
