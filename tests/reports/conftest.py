"""Reports that several tests read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import programs
import pytest
from reports_factories import (
    Page,
    make_classification_report,
    make_leaderboard,
    make_synthesis_report,
)

from ecg.reports.classification_report import write_classification_report
from ecg.reports.leaderboard_report import write_leaderboard
from ecg.reports.synthesis_report import write_synthesis_report


@pytest.fixture(scope="session")
def classification_page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """A classification report with its figures."""
    path = tmp_path_factory.mktemp("classification") / "report.html"
    write_classification_report(make_classification_report(), path)
    return Page(path)


@pytest.fixture(scope="session")
def synthesis_page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """A synthesis report with its figures."""
    path = tmp_path_factory.mktemp("synthesis") / "report.html"
    write_synthesis_report(make_synthesis_report(), path)
    return Page(path)


@pytest.fixture(scope="session")
def leaderboard_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the three files of a leaderboard; one of its runs has a report."""
    folder = tmp_path_factory.mktemp("leaderboard")
    (folder / "1_cnn").mkdir()
    (folder / "1_cnn" / "report.html").touch()
    write_leaderboard(make_leaderboard(folder), folder)
    return folder


@pytest.fixture
def blank_figures() -> Iterator[None]:
    """Replaces the figures, for tests of text and tables."""
    with programs.blank_figures():
        yield
