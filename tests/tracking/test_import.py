"""The cost of importing ecg.tracking."""

from __future__ import annotations

import importlib
import sys

import pytest

import ecg
from ecg import tracking


def test_ecg_tracking_does_not_import_wandb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ecg, "tracking", tracking)
    for name in [name for name in sys.modules if name.startswith("ecg.tracking")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "wandb", None)  # importing it is an error
    importlib.import_module("ecg.tracking.loggers")
    importlib.import_module("ecg.tracking").finish_all(exit_code=0)
