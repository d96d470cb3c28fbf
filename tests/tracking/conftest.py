"""Isolation from the W&B account of the user."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tracking_factories import isolated_wandb


@pytest.fixture(autouse=True)
def home(tmp_path: Path) -> Iterator[Path]:
    """An empty home folder, and W&B without credentials, settings and background process."""
    with isolated_wandb(tmp_path / "home"):
        yield tmp_path / "home"


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """The warnings that the package has logged so far."""

    def messages() -> list[str]:
        records = [record for record in caplog.records if record.name.startswith("ecg.")]
        return [record.getMessage() for record in records if record.levelno >= logging.WARNING]

    return messages
