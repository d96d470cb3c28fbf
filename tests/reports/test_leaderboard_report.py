"""The report of a comparison: complete, self-contained, and safe with any text."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from reports_factories import HOSTILE, Page, make_leaderboard, make_run

from ecg.comparison.leaderboard import Difference, Leaderboard, build_leaderboard
from ecg.reports import leaderboard_plots
from ecg.reports.leaderboard_report import write_leaderboard
from ecg.reports.notices import SHARED_PATIENTS


@pytest.fixture(scope="session")
def page(leaderboard_folder: Path) -> Page:
    return Page(leaderboard_folder / "leaderboard.html")


def write(board: Leaderboard, folder: Path) -> Page:
    return Page(write_leaderboard(board, folder)[0])


def test_page_table_and_json_have_the_same_order(leaderboard_folder: Path, page: Page) -> None:
    table = pd.read_csv(leaderboard_folder / "leaderboard.csv")
    content = json.loads((leaderboard_folder / "leaderboard.json").read_text())
    names = [configuration["name"] for configuration in content["configurations"]]
    assert names == ["model=lstm", "model=cnn"]
    assert table["configuration"].tolist()[:2] == names
    assert [row[1] for row in page.rows if row[0] in ("1", "2")] == names


def test_the_report_is_one_file_that_needs_no_other_file(page: Page) -> None:
    assert page.html.endswith("</html>\n")
    assert not {"link", "iframe", "object"} & page.tag_names
    assert not any("src" in attributes for tag, attributes in page.tags if tag == "script")
    assert not re.search(r"https?:|url\(|@import", page.html)
    assert len(page.images) == 4
    assert all((image["src"] or "").startswith("data:image/") and image["alt"] for image in page.images)


def test_the_ranking_has_means_and_intervals_over_seeds(page: Page) -> None:
    best = next(row for row in page.rows if row[0] == "1")
    assert best[1:3] == ["model=lstm", "5"]
    assert best[3].startswith("0.523 0.52")
    assert best[4] == "0.520 0.520 – 0.520"


def test_differences_have_an_interval_and_a_claim(page: Page) -> None:
    row = page.row("model=lstm")
    assert row[1] == "5"
    assert re.fullmatch(r"\+0\.098 \+0\.09\d – \+0\.1\d\d", row[3])
    assert row[4:] == ["< 0.001", "better"]


def test_unfinished_runs_and_differing_keys_are_listed(page: Page) -> None:
    assert page.row("99_lstm") == ["99_lstm", "failed", "out of memory", "model=lstm seed=99"]
    assert page.row("model._target_") == ["model._target_", "ecg.models.cnn", "ecg.models.lstm"]
    assert "Unfinished runs, listed below: 1." in page.text
    assert "Simulated recordings" in page.text


def test_runs_with_a_report_are_linked(page: Page) -> None:
    assert [attributes["href"] for tag, attributes in page.tags if tag == "a"] == ["1_cnn/report.html"]
    assert page.row("1_cnn")[1:3] == ["1", "model=cnn"]


def test_the_script_sorts_the_ranking(page: Page) -> None:
    assert ("script", {}) in page.tags
    assert any(attributes.get("class") == "sortable scroll" for _, attributes in page.tags)


@pytest.mark.usefixtures("blank_figures")
def test_too_few_seeds_are_a_warning(tmp_path: Path) -> None:
    page = write(make_leaderboard(tmp_path, range(1, 3)), tmp_path)
    assert "At least one configuration has only 2 seeds." in page.text
    assert page.row("model=lstm")[-1] == "too few seeds: 2 of 5"


@pytest.mark.usefixtures("blank_figures")
def test_one_configuration_with_one_seed_has_the_interval_of_its_run(tmp_path: Path) -> None:
    page = write(build_leaderboard([make_run(tmp_path / "1_cnn", "cnn", 1, 0.5)]), tmp_path)
    assert next(row for row in page.rows if row[0] == "1")[4] == "0.520 0.500 – 0.540"
    assert "For a configuration with one seed" in page.text
    assert not re.search("Warnings|Difference in|Differing|Unfinished", page.text)


@pytest.mark.usefixtures("blank_figures")
def test_intervals_over_beats_are_a_warning(tmp_path: Path) -> None:
    run = make_run(tmp_path / "1_cnn", "cnn", 1, 0.5)
    assert run.metrics is not None
    subsets = {name: replace(each, interval="bootstrap over beats") for name, each in run.metrics.subsets.items()}
    board = build_leaderboard([replace(run, metrics=replace(run.metrics, subsets=subsets))])
    assert SHARED_PATIENTS in write(board, tmp_path).text


@pytest.mark.usefixtures("blank_figures")
def test_hostile_text_stays_text(tmp_path: Path) -> None:
    board = make_leaderboard(tmp_path, range(1, 3), other=HOSTILE)
    (failed,) = board.unfinished
    page = write(replace(board, unfinished=(replace(failed, reason=HOSTILE),)), tmp_path)
    assert page.html.count("<script") == 1
    assert page.text.count(HOSTILE) >= 8


def test_only_claimed_differences_are_filled() -> None:
    figure = leaderboard_plots.differences(
        {
            "a": Difference(0.1, 0.05, 0.15, 5, 0.01, "better"),
            "b": Difference(0.1, None, None, 1, None, "too few seeds: 1 of 5"),
            "c": Difference(None, None, None, 0, None, "too few seeds: 0 of 5"),
        }
    )
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert [dot.get_markerfacecolor() == "white" for dot in dots] == [False, True]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["a", "b", "c"]


def test_incomplete_histories_have_training_curves() -> None:
    histories = {"a": [[{"epoch": 0, "train/loss": 1.0}], []], "b": [[{"epoch": 0, "val/macro_f1": 0.5}]]}
    figure = leaderboard_plots.training_curves(histories)
    figure.draw_without_rendering()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]
