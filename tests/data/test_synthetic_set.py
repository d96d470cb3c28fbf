from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from beats_factories import SIMULATED, make_protocol
from factories import make_beats
from hypothesis import given, settings
from hypothesis import strategies as st
from wfdb_factories import error_message

from ecg.data.beats import Beats
from ecg.data.physionet import PhysioNet
from ecg.data.protocols.protocol import Split
from ecg.data.synthetic_set import (
    BEATS,
    CSV,
    PROVENANCE,
    Chunk,
    SyntheticSet,
    beat_locations,
    check_compatible,
    read_set,
    sha256,
    write_set,
)
from ecg.data.window import CenteredWindow, KaggleWindow
from ecg.errors import UserError

WINDOW = KaggleWindow("first").settings()
NO_BEATS: dict[str, Any] = {"patients": [], "samples": {}}
PROVENANCE_CONTENT = {
    "classes": list("NSVFQ"),
    "records": ["a", "b"],
    "source": "simulated",
    "window": WINDOW,
    "fitted_on": NO_BEATS,
    "chosen_on": NO_BEATS,
}
REAL_BEATS = make_beats(10, {0: 20, 1: 10, 2: 10, 3: 10, 4: 10})


def make_chunks(sizes: list[int], seed: int = 0) -> list[Chunk]:
    rng = np.random.default_rng(seed)
    signals = [rng.random((n, 1, 187), dtype=np.float32) for n in sizes]
    return [Chunk(signal, rng.integers(0, 5, len(signal)), rng.integers(0, 2, len(signal))) for signal in signals]


def write_example(folder: Path, n: int = 7) -> Path:
    return write_set(folder, make_chunks([n]), n=n, shape=(1, 187), provenance=PROVENANCE_CONTENT)


def make_set(beats: Beats, split: Split, **changes: Any) -> SyntheticSet:
    """A set whose generator was fitted on the training beats and chosen on the validation beats of a split."""
    used = {"fitted_on": beat_locations(beats, split.train), "chosen_on": beat_locations(beats, split.validation)}
    return SyntheticSet(*make_chunks([4])[0], provenance={**PROVENANCE_CONTENT, **used, **changes})


def check(synthetic: SyntheticSet, split: Split) -> None:
    check_compatible(synthetic, REAL_BEATS, split, source="simulated", window=WINDOW)


@settings(max_examples=20)
@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_a_set_is_read_as_it_was_written(sizes: list[int], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("set")
    chunks = make_chunks(sizes)
    write_set(folder / "synthetic", chunks, n=sum(sizes), shape=(1, 187), provenance=PROVENANCE_CONTENT)
    read = read_set(folder)
    np.testing.assert_array_equal(read.signal, np.concatenate([chunk.signal for chunk in chunks]))
    np.testing.assert_array_equal(read.label, np.concatenate([chunk.label for chunk in chunks]))
    np.testing.assert_array_equal(read.record, np.concatenate([chunk.record for chunk in chunks]))
    assert sum(read.provenance["counts"].values()) == read.provenance["n"] == sum(sizes)


def test_the_csv_has_188_columns(tmp_path: Path) -> None:
    (chunk,) = make_chunks([3])
    write_set(tmp_path, [chunk], n=3, shape=(1, 187), provenance=PROVENANCE_CONTENT, csv=True)
    table = np.loadtxt(tmp_path / CSV, delimiter=",")
    np.testing.assert_array_equal(table[:, :187].astype(np.float32), chunk.signal[:, 0])
    np.testing.assert_array_equal(table[:, 187], chunk.label)


def test_beats_of_another_window_have_no_csv(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="window kaggle"):
        write_set(tmp_path, [], n=0, shape=(2, 192), provenance=PROVENANCE_CONTENT, csv=True)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / BEATS).unlink(), "contains no synthetic set"),
        (lambda folder: (folder / PROVENANCE).unlink(), "provenance.json is missing"),
        (lambda folder: (folder / PROVENANCE).write_text("{"), "is not a JSON object"),
        (lambda folder: (folder / PROVENANCE).write_text("[]"), "is not a JSON object"),
        (lambda folder: (folder / PROVENANCE).write_text("[" * 100_000), "is not a JSON object"),
        (lambda folder: (folder / PROVENANCE).write_text("{}"), "lacks sha256"),
        (lambda folder: (folder / BEATS).write_bytes((folder / BEATS).read_bytes()[:-100]), "sha256 differs"),
        (lambda folder: (folder / BEATS).write_bytes((folder / BEATS).read_bytes() + b"x"), "sha256 differs"),
    ],
)
def test_a_damaged_set_is_refused(damage: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    write_example(tmp_path)
    damage(tmp_path)
    with pytest.raises(UserError, match=message):
        read_set(tmp_path)


def change_provenance(folder: Path, **changes: Any) -> None:
    content = json.loads((folder / PROVENANCE).read_text())
    (folder / PROVENANCE).write_text(json.dumps({**content, **changes}))


def change_arrays(folder: Path, *, save: Callable[..., None] = np.savez, **changes: Any) -> None:
    """Replaces arrays of a set and makes its sha256 match."""
    with np.load(folder / BEATS) as arrays:
        save(folder / BEATS, **{**arrays, **changes})
    change_provenance(folder, sha256=sha256(folder / BEATS))


WRONG_VALUES = [None, True, 1.5, -1, 10**30, "text", ["x"], [1, 2, 3, 4], [None], {"a": 1}, float("nan")]


@pytest.mark.parametrize("key", ["sha256", "n", "shape", "counts", "classes", "source", "window"])
def test_a_wrong_value_in_the_provenance_is_refused(key: str, tmp_path: Path) -> None:
    write_example(tmp_path)
    split = make_protocol("random").split(REAL_BEATS, SIMULATED)
    right = (tmp_path / PROVENANCE).read_text()
    for value in WRONG_VALUES:
        (tmp_path / PROVENANCE).write_text(right)
        change_provenance(tmp_path, **{key: value})
        message = error_message(lambda: check(read_set(tmp_path), split))
        assert key in message or "instead of" in message  # `check_compatible` compares source and window


@pytest.mark.parametrize("key", ["fitted_on", "chosen_on"])
@pytest.mark.parametrize(
    "value",
    [
        *WRONG_VALUES,
        {"patients": [], "samples": []},
        {"patients": "p0", "samples": {}},
        {"patients": [0], "samples": {}},
        {"patients": [["p0"]], "samples": {}},
        {"samples": {}},
        {"patients": []},
        *({"patients": [], "samples": {"p0a": wrong}} for wrong in (None, 1, "1", [1.5], ["1"], [True], [-1], [2**63])),
    ],
    ids=str,
)
def test_wrong_locations_in_the_provenance_are_refused(key: str, value: object, tmp_path: Path) -> None:
    write_example(tmp_path)
    change_provenance(tmp_path, **{key: value})
    message = error_message(lambda: read_set(tmp_path))
    assert f"{tmp_path / PROVENANCE}: {key} is " in message
    assert "which is not {patients: [names]" in message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": np.zeros(8, np.int64)}, r"label is int64 \(8,\) instead of int64 \(7,\)"),
        ({"signal": np.zeros((6, 1, 187), np.float32)}, r"signal is float32 \(6, 1, 187\) instead of"),
        ({"signal": np.zeros((7, 187), np.float32)}, r"signal is float32 \(7, 187\)"),
        ({"signal": np.zeros((7, 1, 187))}, "signal is float64"),
        ({"record": np.zeros((7, 1), np.int64)}, r"record is int64 \(7, 1\)"),
        ({"record": np.full(7, 2)}, "the values of record are between 2 and 2. Valid: 0 to 1"),
        ({"label": np.zeros(7, np.int32)}, "label is int32"),
        ({"label": np.full(7, 5)}, "the values of label are between 5 and 5. Valid: 0 to 4"),
        ({"label": np.full(7, -1)}, "the values of label are between -1 and -1"),
        ({"label": np.full(7, 3)}, "it contains the beats {'F': 7}, which differ"),
        *(
            ({"signal": np.full((7, 1, 187), value, np.float32)}, "the values of signal are between")
            for value in (np.nan, np.inf, -np.inf, 1e30, -1e30, 1001)
        ),
        ({"label": np.array([object()] * 7)}, "cannot be read"),
        ({"save": np.savez_compressed}, "compressed"),
    ],
)
def test_arrays_that_cannot_be_trained_on_are_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    write_example(tmp_path)
    change_arrays(tmp_path, **changes)
    with pytest.raises(UserError, match=message):
        read_set(tmp_path)


def test_an_array_that_states_an_enormous_shape_does_not_exhaust_the_memory(tmp_path: Path) -> None:
    write_example(tmp_path)
    with zipfile.ZipFile(tmp_path / BEATS) as archive:
        arrays = {name: archive.read(name) for name in archive.namelist()}
    for shape in ("10**15, 1, 187", "1000000000000, 1, 187", "2" * 300):
        header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape},), }}\n".encode()
        prefix = np.lib.format.magic(1, 0) + len(header).to_bytes(2, "little")
        with zipfile.ZipFile(tmp_path / BEATS, "w") as archive:
            for name, content in {**arrays, "signal.npy": prefix + header}.items():
                archive.writestr(name, content)
        change_provenance(tmp_path, sha256=sha256(tmp_path / BEATS))
        assert "cannot be read" in error_message(lambda: read_set(tmp_path))


def test_an_interrupted_write_keeps_the_previous_set(tmp_path: Path) -> None:
    before = read_set(write_example(tmp_path))

    def full_disk() -> Iterator[Chunk]:
        yield make_chunks([3])[0]
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_set(tmp_path, full_disk(), n=9, shape=(1, 187), provenance=PROVENANCE_CONTENT)
    with pytest.raises(ValueError, match="3 beats instead of 9"):
        write_set(tmp_path, make_chunks([3]), n=9, shape=(1, 187), provenance=PROVENANCE_CONTENT)
    np.testing.assert_array_equal(read_set(tmp_path).signal, before.signal)
    assert sorted(path.name for path in tmp_path.iterdir()) == [BEATS, PROVENANCE]


def test_the_first_beats_of_each_class_are_selected() -> None:
    label = np.array([0, 1, 1, 0, 1, 2])
    synthetic = SyntheticSet(np.zeros((6, 1, 187), np.float32), label, np.zeros(6, np.int64), provenance={})
    assert synthetic.first({"S": 2, "N": 1}, "runs/1").tolist() == [1, 2, 0]
    assert synthetic.first({}, "runs/1").tolist() == []
    with pytest.raises(UserError, match=r"has 1 beats of class V, but 2 are needed.*checkpoint=runs/1.*\{V: 2\}"):
        synthetic.first({"V": 2}, "runs/1")


def test_a_set_of_the_same_split_is_accepted(caplog: pytest.LogCaptureFixture) -> None:
    split = make_protocol("random").split(REAL_BEATS, SIMULATED)
    check(make_set(REAL_BEATS, split), split)
    assert not caplog.records


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": "kaggle_csv"}, "source kaggle_csv instead of simulated"),
        ({"window": CenteredWindow("auto", 0.7, 0.9, 120.0, True).settings()}, "window name=centered"),
        ({"classes": list("NSVF")}, "classes N, S, V, F instead of N, S, V, F, Q"),
    ],
)
def test_a_set_of_other_beats_is_refused(changes: dict[str, object], message: str) -> None:
    split = make_protocol("random").split(REAL_BEATS, SIMULATED)
    with pytest.raises(UserError, match=message):
        check(make_set(REAL_BEATS, split, **changes), split)


def test_beats_of_another_shape_are_refused() -> None:
    split = make_protocol("random").split(REAL_BEATS, SIMULATED)
    synthetic = make_set(REAL_BEATS, split)
    with pytest.raises(UserError, match="have shape"):
        check(replace(synthetic, signal=synthetic.signal[..., :100]), split)


def test_leakage_is_refused() -> None:
    split = make_protocol("random").split(REAL_BEATS, SIMULATED)
    other = make_protocol("random", split_seed=1).split(REAL_BEATS, SIMULATED)
    with pytest.raises(UserError, match=r"Leakage: .* fitted on .* validation beats"):
        check(make_set(REAL_BEATS, split), other)
    with pytest.raises(UserError, match=r"Leakage: .* fitted on .* test beats"):
        check(make_set(REAL_BEATS, split), replace(other, validation=other.validation[:0]))
    swapped = replace(split, validation=split.test, test=split.validation)
    with pytest.raises(UserError, match=r"Leakage: .* epoch was chosen on .* test beats"):
        check(make_set(REAL_BEATS, split), swapped)


def test_other_beats_of_a_test_patient_are_leakage_in_a_split_by_patient() -> None:
    split = make_protocol("patient_kfold").split(REAL_BEATS, SIMULATED)
    synthetic = make_set(REAL_BEATS, split)
    synthetic.provenance["fitted_on"]["patients"].append(str(REAL_BEATS.patient[split.test[0]]))
    with pytest.raises(UserError, match="test patients"):
        check(synthetic, split)


def test_a_generator_fitted_on_more_beats_than_the_training_beats_is_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    split = make_protocol("random").split(REAL_BEATS, SIMULATED)
    check(make_set(REAL_BEATS, split), replace(split, train=split.train[::2]))
    assert "unfair" in caplog.text


@pytest.mark.real
@pytest.mark.slow
def test_on_real_records_only_the_same_split_is_accepted(real_data: Path, cache_dir: Path) -> None:
    source = PhysioNet(name="mitbih", records=None, dir=str(real_data / "mitdb"), url=None)
    beats = source.load_beats(KaggleWindow("first"), cache_dir)
    split = make_protocol("kaggle").split(beats, source)
    synthetic = make_set(beats, split, source="mitbih")
    check_compatible(synthetic, beats, split, source="mitbih", window=WINDOW)
    others = (make_protocol("kaggle", split_seed=1), make_protocol("patient_kfold"), make_protocol("random"))
    for protocol in others:
        with pytest.raises(UserError, match="fitted on"):
            check_compatible(synthetic, beats, protocol.split(beats, source), source="mitbih", window=WINDOW)
