"""The rows of a stream are those of the finished recording."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from programs import TINY_TRAIN
from wfdb_factories import error_message

from ecg.data.aami import labels_from_symbols
from ecg.data.recording import Recording
from ecg.data.simulated import Simulated
from ecg.data.window import KaggleWindow
from ecg.prediction import BeatClassifier, load_classifier
from ecg.streaming import DETECTION_DELAY, DETECTION_STEP, BeatStream

CAUSAL = ["data.context=5", "data.features=rhythm_and_shape", "data.leads=2", "data.before=0.35", "data.after=0.55"]
CAUSAL += ["data.causal=true", "protocol.classes=[N,S,V,F]"]


@pytest.fixture(scope="module")
def model(finished_run: Callable[..., Path]) -> BeatClassifier:
    classifier = load_classifier(finished_run("train", *TINY_TRAIN, *CAUSAL, "logger=none"))
    return replace(classifier, shifts={"V": 0.5}, temperature=1.5)


@pytest.fixture(scope="module")
def recording() -> Recording:
    """A simulated recording that is not one of the fit; its annotations are beats."""
    source = Simulated(name="simulated", records=None, n_patients=1, minutes=2, seed=7)
    recording = source.read(source.record_names()[0], KaggleWindow("first"))
    beats = labels_from_symbols(recording.symbol) >= 0
    return replace(recording, sample=recording.sample[beats], symbol=recording.symbol[beats])


def stream(
    model: BeatClassifier, recording: Recording, cuts: Sequence[int], *, r_peaks: bool, late: int = 0
) -> list[pd.DataFrame]:
    """The tables of a recording in blocks that end at `cuts`, with its annotations as R peaks, `late` samples late."""
    made = BeatStream(model, recording.sfreq, recording.leads, recording.preferred_lead)
    n, sample, tables = recording.signal.shape[1], recording.sample, []
    for start, end in zip([0, *cuts], [*cuts, n], strict=True):
        known = sample[(sample >= start - late) & (sample < (end - late if end < n else n))]
        tables.append(made.push(recording.signal[:, start:end], known if r_peaks else None))
    return [*tables, made.finish()]


def joined(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat([table for table in tables if len(table)], ignore_index=True)


def beginning(recording: Recording, duration: float) -> Recording:
    """The first seconds of a recording."""
    n = round(duration * recording.sfreq)
    of_part = recording.sample < n
    return replace(
        recording,
        signal=recording.signal[:, :n],
        sample=recording.sample[of_part],
        symbol=recording.symbol[of_part],
    )


def seconds(recording: Recording, step: float = 1.0) -> list[int]:
    block = round(step * recording.sfreq)
    return list(range(block, recording.signal.shape[1], block))


@pytest.mark.parametrize("late", [0, 300])
def test_rows_are_those_of_the_finished_recording(model: BeatClassifier, recording: Recording, late: int) -> None:
    expected = model.classify(model.cut(recording))
    found = joined(stream(model, recording, seconds(recording), r_peaks=True, late=late))
    assert found["class"].tolist() == expected["class"].tolist()
    assert found["class"].nunique() > 1
    pd.testing.assert_frame_equal(found, expected, atol=1e-5)


def test_detected_beats_are_nearly_those_of_the_finished_recording(model: BeatClassifier, recording: Recording) -> None:
    found = joined(stream(model, recording, seconds(recording), r_peaks=False))
    expected = model.predict_recording(recording)
    assert np.isin(found["sample"], expected["sample"]).mean() > 0.97
    assert np.isin(expected["sample"], found["sample"]).mean() > 0.97
    assert found.columns.tolist() == expected.columns.tolist()
    np.testing.assert_allclose(found["rr"][1:], np.diff(found["time"]))


@settings(max_examples=10)
@given(st.data(), st.booleans())
def test_blocks_of_any_length_give_the_same_rows(
    model: BeatClassifier, recording: Recording, data: st.DataObject, r_peaks: bool
) -> None:
    part = beginning(recording, 20)
    n = part.signal.shape[1]
    cuts = sorted(data.draw(st.lists(st.integers(0, n), max_size=12)))
    whole = joined(stream(model, part, [], r_peaks=r_peaks))
    assert len(whole) > 10
    pd.testing.assert_frame_equal(joined(stream(model, part, cuts, r_peaks=r_peaks)), whole, check_exact=True)


def test_a_beat_is_returned_after_its_delay(model: BeatClassifier, recording: Recording) -> None:
    recording = beginning(recording, 40)
    cuts = seconds(recording, 0.25)
    for r_peaks, delay in ((True, model.window.delay), (False, DETECTION_DELAY + DETECTION_STEP)):  # type: ignore[attr-defined]
        *tables, _ = stream(model, recording, cuts, r_peaks=r_peaks)
        ends = np.array([*cuts, recording.signal.shape[1]]) / recording.sfreq
        waited = np.concatenate([end - table["time"] for end, table in zip(ends, tables, strict=True) if len(table)])
        assert waited[5:].max() <= delay + 0.25 + 1e-9  # the detector starts after 2 s


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_a_part_without_contact_has_no_beats(model: BeatClassifier, recording: Recording, value: float) -> None:
    signal = recording.signal.astype(np.float64)
    signal[:, round(30 * recording.sfreq) : round(50 * recording.sfreq)] = value
    table = joined(stream(model, replace(recording, signal=signal), seconds(recording), r_peaks=False))
    assert not ((table["time"] > 30.5) & (table["time"] < 49.5)).any()
    assert (table["time"] < 30).sum() > 20
    assert (table["time"] > 50).sum() > 40
    assert np.isfinite(table.filter(like="p_")).all(axis=None)


@pytest.mark.slow
def test_the_memory_does_not_grow(model: BeatClassifier, recording: Recording) -> None:
    made = BeatStream(model, recording.sfreq, recording.leads)
    block, n = round(4 * recording.sfreq), recording.signal.shape[1]
    kept = []
    tracemalloc.start()
    for repetition in range(5):  # of 2 minutes; the last 401 beats are those of 6 minutes
        for start in range(0, n, block):
            known = recording.sample[(recording.sample >= start) & (recording.sample < start + block)]
            made.push(recording.signal[:, start : start + block], repetition * n + known)
        kept.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert kept[4] - kept[3] < 50_000
    assert kept[4] < 5_000_000


def test_a_stream_without_beats_has_empty_tables(model: BeatClassifier) -> None:
    made = BeatStream(model, 360)
    tables = [made.push(np.zeros((2, 3600))), made.push(np.zeros((2, 0))), made.finish()]
    assert [len(table) for table in tables] == [0, 0, 0]
    assert tables[0].columns.tolist() == ["sample", "time", "rr", "class", "p_N", "p_S", "p_V", "p_F"]
    assert len(BeatStream(model, 360).finish()) == 0


def test_the_first_block_may_be_empty(model: BeatClassifier, recording: Recording) -> None:
    empty = BeatStream(model, 360)
    assert [len(empty.push(np.zeros((2, 0)))), len(empty.finish()), len(empty.finish())] == [0, 0, 0]
    n = round(20 * recording.sfreq)
    made = BeatStream(model, recording.sfreq, recording.leads)
    made.push(recording.signal[:, :0])
    assert len(joined([made.push(recording.signal[:, :n]), made.finish()])) > 10


def test_a_classifier_that_needs_later_beats_is_refused(model: BeatClassifier) -> None:
    message = error_message(lambda: BeatStream(replace(model, window=replace(model.window, causal=False)), 360))
    assert message.startswith("This classifier uses later beats")
    message = error_message(lambda: BeatStream(replace(model, network=lambda signal, features: signal), 360))
    assert message.startswith("An ONNX file keeps no state")


def test_samples_and_peaks_that_are_not_valid_are_refused(model: BeatClassifier) -> None:
    block = np.zeros((2, 720))

    def message(*pushes: tuple[object, ...], sfreq: float = 360) -> str:
        made = BeatStream(model, sfreq)
        for push in pushes[:-1]:
            made.push(*push)  # type: ignore[arg-type]
        return error_message(lambda: made.push(*pushes[-1]))  # type: ignore[arg-type]

    assert message((block,), sfreq=5).startswith("sfreq is 5.")
    assert message((np.array(["a"]),)).startswith("The signal is <U1")
    assert message((block,), (block[:1],)) == (
        "The samples are float64 (1, 720). Valid: numbers (n_leads, n) of 2 leads, as in the first block."
    )
    assert message((block, [3, 2])).startswith("The R peaks are 3, 2. Valid: ascending samples from 0 to 719.")
    assert message((block, [720])).startswith("The R peaks are 720. Valid")
    assert message((block, [5]), (block, [5])).endswith("samples from 6 to 1439.")
    assert message(*[(block, [])] * 7, (block, [5])).endswith("samples from 1440 to 5759.")
    assert message((block, [0.5])).startswith("The R peaks are float64 (1,).")
    assert message((block, [5]), (block,)).startswith("R peaks are given for some blocks")
    assert message((block,), (block, [])).startswith("R peaks are given for some blocks")


def test_a_refused_block_leaves_the_stream_as_it_was(model: BeatClassifier, recording: Recording) -> None:
    made = BeatStream(model, recording.sfreq, recording.leads)
    error_message(lambda: made.push(recording.signal, [10**9]))
    found = [made.push(recording.signal, recording.sample), made.finish()]
    pd.testing.assert_frame_equal(joined(found), joined(stream(model, recording, [], r_peaks=True)))


def test_a_finished_stream_takes_no_samples(model: BeatClassifier) -> None:
    made = BeatStream(model, 360)
    made.finish()
    assert error_message(lambda: made.push(np.zeros((2, 10)))).startswith("This stream is finished.")
