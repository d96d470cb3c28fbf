from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import make_beats
from hypothesis import given, settings
from hypothesis import strategies as st

from ecg.data.beats import Beats
from ecg.data.splits import Kaggle, PatientKFold, Random, Split
from ecg.data.synthetic import BEATS, CSV, PROVENANCE, Chunk, SyntheticSet, places, read, require_fit, window_of, write
from ecg.errors import UserError

CLASSES = ["N", "S", "V", "F", "Q"]
WINDOW = {"window": "kaggle", "lead": "first"}
NOTHING = {"patients": [], "samples": {}}
TOLD = {"classes": CLASSES, "source": "mitbih", "window": WINDOW, "fitted_on": NOTHING, "chosen_on": NOTHING}


def chunks(sizes: list[int], seed: int = 0) -> list[Chunk]:
    rng = np.random.default_rng(seed)
    n = sum(sizes)
    whole = Chunk(rng.random((n, 1, 187), dtype=np.float32), np.zeros((n, 0), np.float32), rng.integers(0, 5, n))
    ends = np.cumsum(sizes)[:-1]
    return [Chunk(*parts) for parts in zip(*(np.split(column, ends) for column in whole), strict=True)]


def written(folder: Path, n: int = 7) -> Path:
    return write(folder, chunks([n]), n=n, shape=(1, 187, 0), provenance=TOLD)


@settings(max_examples=20, deadline=None)
@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_a_set_comes_back_however_it_was_cut(sizes: list[int], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("set")
    parts = chunks(sizes)
    write(folder / "synthetic", parts, n=sum(sizes), shape=(1, 187, 0), provenance=TOLD)
    found = read(folder)
    np.testing.assert_array_equal(found.signal, np.concatenate([part.signal for part in parts]))
    np.testing.assert_array_equal(found.label, np.concatenate([part.label for part in parts]))
    assert found.rr.shape == (sum(sizes), 0)
    assert sum(found.provenance["counts"].values()) == found.provenance["n"] == sum(sizes)


def test_the_csv_has_188_columns(tmp_path: Path) -> None:
    (part,) = chunks([3])
    write(tmp_path, [part], n=3, shape=(1, 187, 0), provenance=TOLD, csv=True)
    table = np.loadtxt(tmp_path / CSV, delimiter=",")
    np.testing.assert_array_equal(table[:, :187].astype(np.float32), part.signal[:, 0])
    np.testing.assert_array_equal(table[:, 187], part.label)


def test_no_csv_of_another_window(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="window kaggle"):
        write(tmp_path, [], n=0, shape=(2, 192, 8), provenance=TOLD, csv=True)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / BEATS).unlink(), "no synthetic set"),
        (lambda f: (f / PROVENANCE).unlink(), "provenance.json is missing"),
        (lambda f: (f / PROVENANCE).write_text("{"), "not JSON"),
        (lambda f: (f / PROVENANCE).write_text("{}"), "lacks sha256"),
        (lambda f: (f / BEATS).write_bytes((f / BEATS).read_bytes()[:-100]), "sha256 differs"),
        (lambda f: (f / BEATS).write_bytes((f / BEATS).read_bytes() + b"x"), "sha256 differs"),
    ],
)
def test_a_spoilt_set_is_refused(spoil: object, message: str, tmp_path: Path) -> None:
    written(tmp_path)
    spoil(tmp_path)  # type: ignore[operator]
    with pytest.raises(UserError, match=message):
        read(tmp_path)


def test_pickles_are_refused(tmp_path: Path) -> None:
    from ecg.data.synthetic import sha256

    written(tmp_path)
    np.savez(tmp_path / BEATS, signal=np.array([object()]), rr=np.zeros(1), label=np.zeros(1))
    told = json.loads((tmp_path / PROVENANCE).read_text())
    (tmp_path / PROVENANCE).write_text(json.dumps({**told, "sha256": sha256(tmp_path / BEATS)}))
    with pytest.raises(UserError, match="cannot be read"):
        read(tmp_path)


def test_an_interrupted_write_leaves_the_earlier_set(tmp_path: Path) -> None:
    before = read(written(tmp_path))

    def broken():  # type: ignore[no-untyped-def]
        yield chunks([3])[0]
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write(tmp_path, broken(), n=9, shape=(1, 187, 0), provenance=TOLD)
    with pytest.raises(ValueError, match="announced"):
        write(tmp_path, chunks([3]), n=9, shape=(1, 187, 0), provenance=TOLD)
    np.testing.assert_array_equal(read(tmp_path).signal, before.signal)
    assert sorted(path.name for path in tmp_path.iterdir()) == [BEATS, PROVENANCE]


def set_of(beats: Beats, split: Split, **told: object) -> SyntheticSet:
    seen = {"fitted_on": places(beats, split.train), "chosen_on": places(beats, split.validation)}
    part = chunks([4])[0]
    return SyntheticSet(*part, provenance={**TOLD, **seen, **told})


BEATS_HERE = make_beats(10, {0: 20, 1: 10, 2: 10, 3: 10, 4: 10})


def test_a_set_of_this_split_fits(caplog: pytest.LogCaptureFixture) -> None:
    split = Random(CLASSES, [], 0.2, 0).split(BEATS_HERE, "mitbih")
    require_fit(set_of(BEATS_HERE, split), BEATS_HERE, split, source="mitbih", window=WINDOW)
    assert not caplog.records


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"source": "kaggle_csv"}, "source kaggle_csv"),
        ({"window": {"window": "centered"}}, "centered"),
        ({"classes": ["N", "S", "V", "F"]}, "classes"),
    ],
)
def test_another_kind_of_beats_is_refused(told: dict[str, object], message: str) -> None:
    split = Random(CLASSES, [], 0.2, 0).split(BEATS_HERE, "mitbih")
    with pytest.raises(UserError, match=message):
        require_fit(set_of(BEATS_HERE, split, **told), BEATS_HERE, split, source="mitbih", window=WINDOW)


def test_a_leak_is_refused() -> None:
    split = Random(CLASSES, [], 0.2, 0).split(BEATS_HERE, "mitbih")
    other = Random(CLASSES, [], 0.2, 1).split(BEATS_HERE, "mitbih")
    with pytest.raises(UserError, match=r"fitted on .* validation beats"):
        require_fit(set_of(BEATS_HERE, split), BEATS_HERE, other, source="mitbih", window=WINDOW)
    only_test = replace(other, validation=other.validation[:0])
    with pytest.raises(UserError, match=r"fitted on .* test beats"):
        require_fit(set_of(BEATS_HERE, split), BEATS_HERE, only_test, source="mitbih", window=WINDOW)
    swapped = Split(split.train, split.test, split.validation, split.classes, by_patient=False)
    with pytest.raises(UserError, match="epoch was chosen"):
        require_fit(set_of(BEATS_HERE, split), BEATS_HERE, swapped, source="mitbih", window=WINDOW)


def test_other_beats_of_a_test_patient_are_a_leak_where_patients_are_apart() -> None:
    split = PatientKFold(CLASSES, [], 0.2, 0).split(BEATS_HERE, "mitbih")
    made = set_of(BEATS_HERE, split)
    made.provenance["fitted_on"]["patients"].append(str(BEATS_HERE.patient[split.test[0]]))
    with pytest.raises(UserError, match="test patients"):
        require_fit(made, BEATS_HERE, split, source="mitbih", window=WINDOW)


def test_fewer_training_beats_than_the_generator_had_are_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    split = Random(CLASSES, [], 0.2, 0).split(BEATS_HERE, "mitbih")
    fewer = replace(split, train=split.train[::2])
    require_fit(set_of(BEATS_HERE, split), BEATS_HERE, fewer, source="mitbih", window=WINDOW)
    assert "unfair" in caplog.text


def test_the_window_is_what_decides_a_beat() -> None:
    data = {"window": "centered", "lead": "auto", "before": 0.7, "after": 0.9, "sfreq": 120.0, "difference": True}
    assert window_of({**data, "dir": "x"}) == data
    assert window_of({**data, "window": "kaggle"}) == {"window": "kaggle", "lead": "auto"}


@pytest.mark.real
def test_on_the_real_records_only_the_same_split_fits(real_data: Path, tmp_path: Path) -> None:
    from ecg.data.sources import MitBih

    source = MitBih(
        name="mitbih", window="kaggle", lead="first", before=0.7, after=0.9, sfreq=120.0, difference=True,
        dir=str(real_data / "mitdb"), url="",
    )  # fmt: skip
    beats = source.beats(tmp_path, exclude=[])
    split = Kaggle(CLASSES, [], 0.1, 0).split(beats, "mitbih")
    made = set_of(beats, split)
    require_fit(made, beats, split, source="mitbih", window=WINDOW)
    others = (Kaggle(CLASSES, [], 0.1, 1), PatientKFold(CLASSES, [], 0.2, 0), Random(CLASSES, [], 0.1, 0))
    for protocol in others:
        with pytest.raises(UserError, match="fitted on"):
            require_fit(made, beats, protocol.split(beats, "mitbih"), source="mitbih", window=WINDOW)
