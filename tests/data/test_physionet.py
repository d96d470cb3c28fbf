from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import wfdb
from wfdb_factories import Server, error_message, run_server, write_recording

from ecg.data import aami
from ecg.data.databases import DATABASES, Database
from ecg.data.physionet import PhysioNet
from ecg.data.recording import Recording
from ecg.data.window import CenteredWindow, KaggleWindow

WINDOW = CenteredWindow(lead="auto", before=0.3, after=0.4, sfreq=120.0, difference=False)
RECORDS = ["102", "201", "202"]


def recording(name: str, leads: tuple[str, str] = ("V5", "MLII")) -> Recording:
    """30 beats in 10 s of noise."""
    signal = np.random.default_rng(int(name)).integers(0, 2048, (2, 3600)).astype(np.int16)
    sample = np.arange(50, 3550, 120)
    return Recording(name, name, 360.0, leads, signal, sample, np.full(len(sample), "N"))


def physionet(name: str = "mitbih", **options: object) -> PhysioNet:
    arguments = {"records": RECORDS, "dir": None, "url": None, **options}
    return PhysioNet(name=name, **arguments)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Files of three short records with the names of MIT-BIH, and of an older annotation of 102."""
    folder = tmp_path_factory.mktemp("server")
    for name in RECORDS:
        write_recording(folder, recording(name))
    older = recording("102")
    wfdb.wrann("102-0", "atr", older.sample + 5, list(older.symbol), write_dir=str(folder))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def server(files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    with run_server(files) as server:
        yield server


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> str:
    """An address that refuses connections."""
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_missing_records_are_downloaded_once(tmp_path: Path, server: Server) -> None:
    source = physionet(dir=str(tmp_path / "records"), url=server.url)
    beats = source.load_beats(WINDOW, tmp_path / "cache")
    assert sorted(set(beats.record)) == RECORDS
    n_requests = len(server.requests)
    assert source.load_beats(WINDOW, tmp_path / "cache").digest() == beats.digest()
    assert len(server.requests) == n_requests


def test_only_the_selected_records_are_downloaded(tmp_path: Path, server: Server) -> None:
    source = physionet(records=["201"], dir=str(tmp_path / "records"), url=server.url)
    source.load_beats(WINDOW, tmp_path / "cache")
    assert [name for name, _ in server.requests] == ["201.hea", "201.dat", "201.atr"]


def test_records_of_one_patient_share_its_name(tmp_path: Path, server: Server) -> None:
    beats = physionet(dir=str(tmp_path / "records"), url=server.url).load_beats(WINDOW, tmp_path / "cache")
    assert {record: set(beats.patient[beats.record == record]) for record in RECORDS} == {
        "102": {"102"},
        "201": {"201"},
        "202": {"201"},
    }


def test_older_annotations_are_used_by_the_window_that_requires_them(tmp_path: Path, server: Server) -> None:
    source = physionet(records=["102"], dir=str(tmp_path / "records"), url=server.url)
    sample = recording("102").sample
    assert source.load_beats(WINDOW, tmp_path / "cache").sample.tolist() == sample.tolist()
    kaggle = KaggleWindow(lead="first")
    older = source.load_beats(kaggle, tmp_path / "cache")
    assert older.sample.tolist() == (sample[:-1] + 5).tolist()
    (tmp_path / "records" / "102-0.atr").unlink()
    assert source.load_beats(kaggle, tmp_path / "cache").sample.tolist() == sample[:-1].tolist()


def test_records_are_in_the_folder_of_the_database_in_the_data_root(
    tmp_path: Path, offline: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ECG_DATA_DIR", str(tmp_path))
    write_recording(tmp_path / "svdb", recording("800", ("ECG1", "ECG2")))
    source = physionet("svdb", records=["800"], url=offline)
    assert set(source.load_beats(WINDOW, tmp_path / "cache").record) == {"800"}


def test_offline_the_missing_records_and_the_remedies_are_named(tmp_path: Path, offline: str) -> None:
    for name in ("800", "802"):
        write_recording(tmp_path / "svdb", recording(name))
    source = physionet("svdb", records=None, dir=str(tmp_path / "svdb"), url=offline)
    message = error_message(lambda: source.load_beats(WINDOW, tmp_path / "cache"))
    assert f"76 of 78 records of data=svdb are missing in {tmp_path / 'svdb'}: 801, 803, 804, " in message
    assert "810, 811, .... The download failed:" in message  # the first ten
    assert f"{offline}/801.hea is not reachable" in message
    for remedy in ("Go online", "ECG_DATA_DIR", "svdb/", "data.dir", "'data.records=[800,802]'"):
        assert remedy in message


def test_without_any_present_record_no_subset_is_proposed(tmp_path: Path, offline: str) -> None:
    source = physionet(records=["201", "202"], dir=str(tmp_path / "records"), url=offline)
    message = error_message(lambda: source.load_beats(WINDOW, tmp_path / "cache"))
    assert "2 of 2 records of data=mitbih are missing" in message
    assert ": 201, 202. " in message
    assert "data.records" not in message


def test_a_record_that_the_server_lacks_is_named(tmp_path: Path, server: Server) -> None:
    del server.files["202.dat"]
    source = physionet(dir=str(tmp_path / "records"), url=server.url)
    message = error_message(lambda: source.load_beats(WINDOW, tmp_path / "cache"))
    assert "1 of 3 records of data=mitbih are missing" in message
    assert "answers 404" in message
    assert "'data.records=[102,201]'" in message


def test_a_new_database_needs_a_table_entry_only(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "server"
    write_recording(folder, recording("1", ("I", "II")), annotator="ecg")
    write_recording(folder, recording("2", ("II", "I")), annotator="ecg")
    server.files = {path.name: path.read_bytes() for path in folder.iterdir()}
    toy = Database("toydb", "1.2.3", "Toy Database", ("1", "2"), "II", annotator="ecg", patients={"2": "1"})
    monkeypatch.setitem(DATABASES, "toy", toy)
    monkeypatch.setenv("ECG_DATA_DIR", str(tmp_path))
    source = physionet("toy", records=None, url=server.url)
    beats = source.load_beats(WINDOW, tmp_path / "cache")
    assert set(beats.record) == {"1", "2"}
    assert set(beats.patient) == {"1"}
    assert (tmp_path / "toydb" / "2.ecg").is_file()
    named = source.load_beats(CenteredWindow("II", 0.3, 0.4, 120.0, False), tmp_path / "cache")
    assert beats.digest() == named.digest()
    assert toy.url == "https://physionet.org/files/toydb/1.2.3"


def test_an_unknown_database_is_an_error_that_lists_the_valid_ones(tmp_path: Path) -> None:
    message = error_message(lambda: physionet("edb").load_beats(WINDOW, tmp_path))
    assert message == f"data.name is edb. Valid databases: {', '.join(DATABASES)}."


def test_only_the_database_of_the_kaggle_set_has_its_split(tmp_path: Path, server: Server) -> None:
    source = physionet(dir=str(tmp_path / "records"), url=server.url)
    beats = source.load_beats(KaggleWindow(lead="first"), tmp_path / "cache")
    assert "100" in error_message(lambda: source.kaggle_split(beats))  # needs all records
    assert "does not apply to data=svdb" in error_message(lambda: physionet("svdb").kaggle_split(beats))


@pytest.mark.parametrize("name", DATABASES)
def test_the_facts_about_a_database_are_consistent(name: str) -> None:
    database = DATABASES[name]
    records = set(database.records)
    assert len(database.records) == len(records)
    assert set(database.patients) | set(database.patients.values()) <= records
    assert set(database.older_annotations) <= records
    assert physionet(name).published_split == database.published_split
    if split := database.published_split:
        used = [*split.train, *split.test, *split.paced]
        assert set(used) <= records
        assert len(used) == len(set(used))
        assert all(set(left_out) < set(split.test) for left_out in split.test_subsets.values())


def test_the_databases_have_their_published_sizes() -> None:
    mitbih, svdb = DATABASES["mitbih"], DATABASES["svdb"]
    assert len(mitbih.records) == 48
    assert len({mitbih.patients.get(record, record) for record in mitbih.records}) == 47
    assert len(svdb.records) == 78


@pytest.fixture
def svdb(real_svdb: Path) -> tuple[Path, list[str]]:
    """The folder of the Supraventricular Arrhythmia Database and its present records."""
    return real_svdb, [name for name in DATABASES["svdb"].records if (real_svdb / f"{name}.hea").is_file()]


@pytest.mark.real
def test_a_real_annotation_at_the_end_of_the_signal_is_left_out_with_one_warning(
    svdb: tuple[Path, list[str]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, _ = svdb
    beats = physionet("svdb", records=["860"], dir=str(folder)).load_beats(WINDOW, tmp_path)
    assert len(beats) == 2417
    (warning,) = caplog.messages
    assert warning.startswith(f"1 of 2463 annotations in {folder / '860.atr'} lie outside the signal")


@pytest.mark.real
@pytest.mark.slow
def test_the_supraventricular_arrhythmia_database_is_loaded(svdb: tuple[Path, list[str]], tmp_path: Path) -> None:
    folder, present = svdb
    beats = physionet("svdb", records=present, dir=str(folder)).load_beats(WINDOW, tmp_path)
    assert sorted(set(beats.record)) == sorted(set(beats.patient)) == present
    assert len(beats) > 2000 * len(present)
    if len(present) == 40:  # the records of even number
        counts = dict(zip(aami.CLASSES, np.bincount(beats.label), strict=True))
        assert counts == {"N": 85_407, "S": 4_680, "V": 5_025, "F": 3, "Q": 25}


@pytest.mark.real
@pytest.mark.parametrize("name", ["mitbih", "svdb"])
def test_the_preferred_lead_is_in_the_real_records(real_data: Path, real_svdb: Path, name: str) -> None:
    database = DATABASES[name]
    headers = list((real_data / database.slug).glob("*.hea"))
    assert headers
    assert any(database.preferred_lead in header.read_text() for header in headers)
    assert {header.stem for header in headers} <= set(database.records)
