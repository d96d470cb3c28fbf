"""Fixtures of the augmentation tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import wfdb


@pytest.fixture(scope="session")
def noise_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root whose noise records are random walks of 20 s at 360 Hz."""
    root = tmp_path_factory.mktemp("data")
    (root / "nstdb").mkdir()
    for seed, name in enumerate(("bw", "em", "ma")):
        walk = np.random.default_rng(seed).normal(size=(7200, 2)).cumsum(axis=0)
        walk -= walk.mean(axis=0)
        signals = {"p_signal": walk, "units": ["mV"] * 2, "sig_name": ["one", "two"]}
        wfdb.wrsamp(name, 360.0, fmt=["16", "16"], write_dir=str(root / "nstdb"), **signals)
    return root


@pytest.fixture(autouse=True)
def _data_root(noise_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECG_DATA_DIR", str(noise_root))
