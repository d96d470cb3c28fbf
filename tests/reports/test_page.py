"""Pages: number formats, embedded figures, and atomic writes."""

from __future__ import annotations

import shutil
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from reports_factories import NAN, Page, make_classification_report

from ecg.evaluation.scores import Score
from ecg.reports import classification_report, page, plots
from ecg.reports.classification_report import write_classification_report


def test_numbers_have_a_fixed_format_and_missing_numbers_are_dashes() -> None:
    assert [page.fixed(x) for x in (0.12345, -0.5, None, NAN, float("inf"))] == ["0.123", "−0.500", "–", "–", "–"]
    assert page.fixed(0.1, sign=True) == "+0.100"
    assert [page.significant(x) for x in (0.012345, 12, None, NAN)] == ["0.0123", "12", "–", "–"]
    assert [page.percent(x) for x in (0.8765, 0.0012, None, NAN)] == ["87.65", "0.12", "–", "–"]
    assert [page.count(n) for n in (0, 12345, None)] == ["0", "12,345", "–"]


def test_an_interval_needs_both_bounds() -> None:
    assert page.interval(Score(0.5, 0.4, 0.6)) == "0.400 – 0.600"
    assert page.interval(Score(0.0, -0.1, 0.1), sign=True) == "−0.100 – +0.100"
    assert [page.interval(score) for score in (Score(0.5), Score(0.5, NAN, 0.6), Score(0.5, 0.4))] == [""] * 3


def test_large_figures_are_embedded_as_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    figure = plots.confusion_matrix([[1, 0], [0, 1]], ["N", "S"])
    assert page.data_uri(figure).startswith("data:image/svg+xml;base64,")
    monkeypatch.setattr(page, "MAX_SVG_BYTES", 10)
    assert page.data_uri(figure).startswith("data:image/png;base64,")


@pytest.mark.usefixtures("blank_figures")
def test_a_failed_write_leaves_the_old_report_and_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")

    def fail(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="No space left"):
        write_classification_report(make_classification_report(), path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.usefixtures("blank_figures")
def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    shutil.rmtree(folder)
    with pytest.raises(FileNotFoundError):
        write_classification_report(make_classification_report(), folder / "report.html")
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("blank_figures")
def test_a_path_that_is_a_folder_is_an_error_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OSError, match=r"report\.html"):
        write_classification_report(make_classification_report(), tmp_path / "report.html")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_threads_can_write_the_same_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(_: object) -> dict[str, Figure]:
        return defaultdict(lambda: plots.confusion_matrix([[1, 0], [0, 1]], ["N", "S"]))

    monkeypatch.setattr(classification_report, "draw_figures", draw)
    path, report = tmp_path / "report.html", make_classification_report()
    with ThreadPoolExecutor(3) as threads:
        for writing in [threads.submit(write_classification_report, report, path) for _ in range(3)]:
            writing.result()
    assert len(Page(path).images) == 5
    assert list(tmp_path.iterdir()) == [path]
