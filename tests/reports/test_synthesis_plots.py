"""Figures of real and synthetic beats."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from reports_factories import CLASSES, NAN, make_beat_set, make_fidelity

from ecg.evaluation.fidelity import GATES
from ecg.reports import synthesis_plots as plots


@pytest.mark.parametrize(
    "history",
    [
        {"epoch": [0.0]},
        {"train/critic_loss": [NAN], "val/frechet": [NAN], "val/coverage": [NAN]},
        {"train/flow_loss": [2.0, 1.0]},
        {"val/frechet": [3.0, float("inf")]},
    ],
)
def test_training_curves_of_an_incomplete_history(history: dict[str, list[float]]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plots.training_curves(history, None).draw_without_rendering()


def test_training_curves_mark_the_best_epoch() -> None:
    figure = plots.training_curves({"train/a_loss": [1.0, 2.0, 3.0], "val/frechet": [9.0, 3.0, 4.0]}, 1)
    lines = [np.asarray(line.get_xdata()).tolist() for axes in figure.axes for line in axes.lines]
    assert [1, 1] in lines


def test_a_copy_coincides_with_its_nearest_training_beat() -> None:
    train = make_beat_set(seed=2)
    grid = np.array(plots.real_and_synthetic(train, train, CLASSES).axes).reshape(len(CLASSES), -1)
    for axes in grid[:, plots.N_EACH :].flat:
        neighbour, beat = (np.asarray(line.get_ydata()) for line in axes.lines)
        np.testing.assert_array_equal(neighbour, beat)


def test_beats_of_a_class_have_one_scale() -> None:
    train = make_beat_set(seed=2)
    loud = replace(train, signal=5 * train.signal)
    grid = np.array(plots.real_and_synthetic(loud, train, CLASSES).axes).reshape(len(CLASSES), -1)
    for row in grid:
        assert len({axes.get_ylim() for axes in row}) == 1
        assert row[0].get_ylim()[1] > 4


def test_channels_are_drawn_one_below_the_other() -> None:
    beats = make_beat_set(seed=2, channels=2)
    for axes in plots.real_and_synthetic(beats, beats, CLASSES).axes[: plots.N_EACH]:
        first, second = (np.asarray(line.get_ydata()) for line in axes.lines)
        assert second.max() < first.min()
    assert len(plots.median_and_spectrum(beats, beats, CLASSES, 120.0).axes) == 3 * len(CLASSES)


def test_the_feature_map_contains_every_beat() -> None:
    rng = np.random.default_rng(0)
    real, synthetic = rng.normal(size=(300, 4)), rng.normal(size=(200, 4))
    synthetic[0] += 1e3  # an outlier
    real[-3:] += 8  # a small class far from the other one
    labels = np.repeat([0, 1], [297, 3]), np.zeros(200, np.int64)
    axes = plots.feature_map(real, synthetic, *labels, ("N", "F")).axes
    drawn = [np.asarray(dots.get_offsets()) for panel in axes for dots in panel.collections]
    assert [len(points) for points in drawn] == [297, 200, 3, 0]
    low, high = np.transpose([axes[0].get_xlim(), axes[0].get_ylim()])
    for points in drawn:
        assert ((points > low) & (points < high)).all()


def test_passed_gates_are_on_the_right_of_failed_ones_and_of_their_controls() -> None:
    figure = plots.gates(make_fidelity(value=0.95, reference=0.5, control=0.2, failed=("discriminative",)))
    (axes,) = figure.axes
    of_gate = {y: {} for y in range(len(GATES))}
    for line in axes.lines:
        if line.get_marker() in ("o", "x"):
            of_gate[int(line.get_ydata()[0])].setdefault(line.get_marker(), []).append(float(line.get_xdata()[0]))
    for y, gate in enumerate(GATES):
        assert len(of_gate[y]["o"]) == 1
        assert len(of_gate[y].get("x", [])) == len(gate.detects)
        if gate.at_least:
            assert all(control < of_gate[y]["o"][0] for control in of_gate[y].get("x", []))
    f1 = next(y for y, gate in enumerate(GATES) if gate.measure == "tstr_macro_f1")
    assert of_gate[f1]["o"] == [1.0]
    assert of_gate[f1]["x"][0] == pytest.approx(0.2 / 0.5 / 0.95)


def test_a_row_of_unseen_pairs_has_normal_generated_and_real_beats() -> None:
    normal, drawn, real = (make_beat_set(seed=seed).take(np.arange(6)) for seed in range(3))
    grid = np.array(plots.unseen_pairs({"V:1": (normal, drawn, real), "S:2": (drawn, real, normal)}, CLASSES).axes)
    row = grid.reshape(2, -1)[0]
    assert len(row) == 3 * plots.N_EACH
    lines = [axes.lines[0].get_ydata() for axes in row]
    expected = np.concatenate([beats.signal[: plots.N_EACH, 0] for beats in (normal, drawn, real)])
    np.testing.assert_array_equal(lines, expected)
