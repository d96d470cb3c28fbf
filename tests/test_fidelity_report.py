"""The report of synthetic beats: complete, self-contained, and it survives whatever a fit leaves behind."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from test_report import Page

from ecg.evaluation import fidelity_plots as plots
from ecg.evaluation import page
from ecg.evaluation.fidelity import GATES, MEASURES
from ecg.evaluation.fidelity_report import CEILINGS, FidelityReport, write_fidelity_report
from ecg.evaluation.judges import Cohort
from ecg.models.cnn import CNN

CLASSES = ("N", "S", "V", "F", "Q")
T = 64
FIGURES = ("side_by_side", "mean_and_spread", "maps", "course", "gallery")


def cohort(counts: tuple[int, ...], seed: int, channels: int = 1) -> Cohort:
    """Bumps at a place of their class, over a little noise."""
    rng = np.random.default_rng(seed)
    label = np.repeat(np.arange(len(counts)), counts)
    t = np.arange(T)
    bump = np.exp(-((t - 10 - 8 * label[:, None]) ** 2) / 20) * rng.uniform(0.8, 1, (len(label), 1))
    signal = bump[:, None] + 0.02 * rng.normal(size=(len(label), channels, T))
    return Cohort(signal.astype(np.float32), np.zeros((len(label), 0), np.float32), label.astype(np.int64))


def row(value: float | None, floor: float | None = 0.5) -> dict[str, Any]:
    return {"value": value, "floor": floor, "ceilings": dict.fromkeys(CEILINGS, 0.25)}


def side(counts: tuple[int, ...], missed: tuple[str, ...] = (), value: float | None = 0.4321) -> dict[str, Any]:
    """What `fidelity.judge` returns of one side; the gates of the measures in `missed` are missed."""
    n = dict(zip(CLASSES, counts, strict=True))
    gates = [
        {
            "measure": gate.measure,
            "class": gate.class_name,
            "value": value,
            "floor": 0.5,
            "reached": value,
            "limit": gate.limit,
            "bound": f"at most {gate.limit:g}",
            "passed": gate.measure not in missed,
            "blind": [],
            "sentence": f"{MEASURES[gate.measure].title}: said in words",
        }
        for gate in GATES
    ]
    return {
        "classes": list(CLASSES),
        "n": {name: dict(n) for name in ("synthetic", "train", "held_out")},
        "measures": {
            key: {
                "title": known.title,
                "what": known.what,
                "better": known.better,
                "overall": row(value),
                "per_class": {name: row(value) for name in CLASSES},
            }
            for key, known in MEASURES.items()
        },
        "gates": gates,
        "trusted": not missed,
    }


def report_of(channels: int = 1, counts: tuple[int, ...] = (40,) * 5, **changes: Any) -> FidelityReport:
    whole = FidelityReport(
        title="wgan_gp on mitbih",
        simulated=False,
        facts={"Generator": "wgan_gp"},
        warnings=[],
        judged={"validation": side(counts), "test": side(counts)},
        synthetic=cohort(counts, 1, channels),
        train=cohort((40,) * 5, 2, channels),
        held_out=cohort((40,) * 5, 3, channels),
        classifier=CNN(channels, T, len(CLASSES), hidden=8).eval(),
        classes=CLASSES,
        sfreq=120.0,
        fitted_in=12.0,
        history={
            "epoch": [0, 1, 2],
            "train/critic_loss": [3.0, 2.0, 1.0],
            "train/generator_loss": [1.0, 2.0, 1.5],
            "val/frechet": [9.0, 3.0, 4.0],
            "val/coverage": [0.1, 0.6, 0.5],
        },
        best_epoch=1,
        gallery=[(epoch, cohort((3,) * 5, epoch).signal[:, 0].reshape(5, 3, T)) for epoch in range(3)],
        overrides=["generator=wgan_gp"],
        command="python synth.py generator=wgan_gp",
    )
    return replace(whole, **changes)


def written(report: FidelityReport, folder: Path) -> Page:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # what matplotlib or numpy complain of is a figure with a hole in it
        write_fidelity_report(report, folder / "report.html")
    assert [path.name for path in folder.iterdir()] == ["report.html"]
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert len(html) < 3_000_000
    return Page(html)


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spares the tests of text and tables the time to draw."""
    monkeypatch.setattr(page, "data_uri", lambda figure: "data:,")
    for name in FIGURES:
        monkeypatch.setattr(plots, name, lambda *_: Figure())


def images(found: Page) -> list[dict[str, str | None]]:
    return [attributes for tag, attributes in found.tags if tag == "img"]


def test_report_is_one_file_that_needs_no_other(tmp_path: Path) -> None:
    found = written(report_of(), tmp_path)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in found.tags}
    assert len(images(found)) == len(FIGURES)
    assert all((image["src"] or "").startswith("data:image/") and image["alt"] for image in images(found))
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|url\(|@import", html)
    assert html.endswith("</html>\n")


@pytest.mark.usefixtures("no_figures")
def test_trusted_beats_are_called_so(tmp_path: Path) -> None:
    found = written(report_of(), tmp_path)
    assert f"✓ These beats passed all {len(GATES)} gates" in found.text
    assert not re.search("missed|could be read", found.text)
    for text in ("python synth.py generator=wgan_gp", "Generatorwgan_gp", "N 40, S 40"):
        assert text in found.text


@pytest.mark.usefixtures("no_figures")
def test_missed_and_blind_gates_are_said_in_words(tmp_path: Path) -> None:
    test = side((40,) * 5, missed=("coverage", "frechet"))
    blind = next(gate for gate in test["gates"] if gate["measure"] == "frechet")
    blind["blind"] = ["noise", "flat"]
    found = written(report_of(judged={"test": test}), tmp_path)
    assert f"✗ These beats missed 2 of {len(GATES)} gates" in found.text
    for key in MEASURES:
        assert (f"{MEASURES[key].title}: said in words" in found.text) == (key in ("coverage", "frechet"))
    assert found.row("Coverage all classes")[3] == "✗ missed"
    assert found.row("Fréchet distance all classes")[3] == "✗ blind : noise, flat would pass"
    assert found.row("Discriminative score F")[2:] == ["0.432", "✓ passed", "–"]


@pytest.mark.usefixtures("no_figures")
def test_the_validation_side_stands_beside_the_test_side(tmp_path: Path) -> None:
    judged = {"validation": side((40,) * 5, value=0.111), "test": side((40,) * 5)}
    assert written(report_of(judged=judged), tmp_path).row("Coverage all classes")[-1] == "0.111"


@pytest.mark.usefixtures("no_figures")
def test_every_measure_stands_between_its_floor_and_its_ceilings(tmp_path: Path) -> None:
    found = written(report_of(), tmp_path)
    for known in MEASURES.values():
        assert found.row(f"{known.title} {known.what}")[2:] == ["0.432", "0.5", *["0.25"] * len(CEILINGS)]


@pytest.mark.usefixtures("no_figures")
def test_unknown_values_are_dashes(tmp_path: Path) -> None:
    test = side((40,) * 5, value=None) | {"gates": [], "trusted": False}
    for measure in test["measures"].values():
        for known in (measure["overall"], *measure["per_class"].values()):
            known["floor"], known["ceilings"] = None, dict.fromkeys(CEILINGS)
    found = written(report_of(judged={"test": test}), tmp_path)
    assert "✗ No gate could be read" in found.text
    assert found.row(MEASURES["coverage"].title + " Share")[2:] == ["–"] * 7
    assert "None" not in found.text
    assert "nan" not in found.text


@pytest.mark.usefixtures("no_figures")
def test_hostile_text_stays_text(tmp_path: Path) -> None:
    bad = "<script>alert('\"&')</script>"
    test = side((40,) * 5)
    test["gates"][0] |= {"class": bad, "bound": bad, "blind": [bad]}
    test["classes"] = [bad]
    for n in (*test["n"].values(), *(measure["per_class"] for measure in test["measures"].values())):
        n[bad] = n.pop("N")
    hostile = report_of(
        judged={"test": test}, title=bad, facts={bad: bad}, warnings=[bad], overrides=[bad], command=bad
    )
    found = written(hostile, tmp_path)
    assert "script" not in {tag for tag, _ in found.tags}
    assert found.text.count(bad) >= 10


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("counts", [(40, 40, 40, 3, 0), (1, 0, 0, 0, 0)])
def test_few_and_missing_beats_make_a_report(tmp_path: Path, counts: tuple[int, ...], channels: int) -> None:
    found = written(report_of(channels, counts), tmp_path)
    assert len(images(found)) == len(FIGURES)
    assert found.row("Beats, synthetic")[1:] == [str(n) for n in counts]


def test_classes_without_real_beats_make_a_report(tmp_path: Path) -> None:
    real = {"train": cohort((40, 0, 2, 40, 40), 2), "held_out": cohort((40, 0, 40, 1, 40), 3)}
    assert len(images(written(report_of(**real), tmp_path))) == len(FIGURES)


def test_collapsed_beats_make_a_report(tmp_path: Path) -> None:
    flat = cohort((40,) * 5, 1)
    flat = replace(flat, signal=np.zeros_like(flat.signal))
    assert len(images(written(report_of(synthetic=flat), tmp_path))) == len(FIGURES)


@pytest.mark.parametrize(
    "history",
    [
        {"epoch": [0.0]},
        {"train/critic_loss": [float("nan")], "val/frechet": [float("nan")], "val/coverage": [float("nan")]},
        {"train/flow_loss": [2.0, 1.0]},
        {"val/frechet": [3.0, float("inf")]},
    ],
)
def test_history_with_holes(history: dict[str, list[float]]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plots.course(history, None).draw_without_rendering()


@pytest.mark.usefixtures("no_figures")
def test_a_set_without_a_fit_shows_no_course(tmp_path: Path) -> None:
    found = written(report_of(history={}, gallery=[], best_epoch=None), tmp_path)
    assert len(images(found)) == len(FIGURES) - 2


def test_the_best_epoch_is_marked() -> None:
    figure = plots.course({"train/a_loss": [1.0, 2.0, 3.0], "val/frechet": [9.0, 3.0, 4.0]}, 1)
    assert any(list(np.asarray(line.get_xdata())) == [1, 1] for axes in figure.axes for line in axes.lines)


def test_a_copy_lies_on_its_nearest_training_beat() -> None:
    train = cohort((40,) * 5, 2)
    grid = np.array(plots.side_by_side(train, train, CLASSES).axes).reshape(len(CLASSES), -1)
    for axes in grid[:, plots.EACH :].flat:
        twin, beat = (np.asarray(line.get_ydata()) for line in axes.lines)
        np.testing.assert_array_equal(twin, beat)


def test_beats_of_a_wrong_height_look_so() -> None:
    train = cohort((40,) * 5, 2)
    loud = replace(train, signal=5 * train.signal)
    grid = np.array(plots.side_by_side(loud, train, CLASSES).axes).reshape(len(CLASSES), -1)
    for row_of_axes in grid:
        assert len({axes.get_ylim() for axes in row_of_axes}) == 1
        assert row_of_axes[0].get_ylim()[1] > 4


def test_channels_stand_apart_below_each_other() -> None:
    beats = cohort((40,) * 5, 2, channels=2)
    for axes in plots.side_by_side(beats, beats, CLASSES).axes[: plots.EACH]:
        first, second = (np.asarray(line.get_ydata()) for line in axes.lines)
        assert second.max() < first.min()
    assert len(plots.mean_and_spread(beats, beats, CLASSES, 120.0).axes) == 3 * len(CLASSES)


def test_the_map_shows_every_beat_however_far_out() -> None:
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(300, 4)), rng.normal(size=(200, 4))
    fake[0] += 1e3
    # The few beats of the last class lie where no other does.
    real[-3:] += 8
    labels = np.repeat([0, 1], [297, 3]), np.zeros(200, np.int64)
    axes = plots.maps(real, fake, *labels, ("N", "F")).axes
    shown = [np.asarray(dots.get_offsets()) for one in axes for dots in one.collections]
    assert [len(points) for points in shown] == [297, 200, 3, 0]
    low, high = np.transpose([axes[0].get_xlim(), axes[0].get_ylim()])
    for points in shown:
        assert ((points > low) & (points < high)).all()


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("simulated", [True, False])
def test_banner_where_the_recordings_are_simulated(tmp_path: Path, simulated: bool) -> None:
    assert ("Simulated recordings" in written(report_of(simulated=simulated), tmp_path).text) == simulated
