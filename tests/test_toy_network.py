"""A network from a file outside the package is trained with a YAML file outside the package."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from programs import TINY_TRAIN, folders, run

NETWORK = '''
import torch
from torch import Tensor, nn

from ecg.models.network import Network


class Linear(Network):
    """One linear layer."""

    def __init__(self, *, n_channels: int, n_times: int, n_classes: int, n_rr: int, gain: float) -> None:
        super().__init__()
        self.gain, self.linear = gain, nn.Linear(n_channels * n_times + n_rr, n_classes)

    @property
    def min_times(self) -> int:
        return 1

    def embed(self, signal: Tensor, rr: Tensor) -> Tensor:
        return self.gain * torch.cat([signal.flatten(1), rr], dim=1)

    @property
    def n_embedded(self) -> int:
        return self.linear.in_features

    def classify(self, embedded: Tensor) -> Tensor:
        return self.linear(embedded)
'''


@pytest.mark.slow
def test_a_network_outside_the_package_trains(tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toy_network.py").write_text(NETWORK)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "toy.yaml").write_text("_target_: toy_network.Linear\ngain: 0.5\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    tiny = [override for override in TINY_TRAIN if not override.startswith("model.")]
    ended = run(
        "train", "--config-dir", str(tmp_path), "model=toy", "logger=none", *tiny, *folders(tmp_path, cache_dir)
    )
    assert ended.returncode == 0, ended.stderr
    training = json.loads((tmp_path / "run" / "training.json").read_text())
    assert training["parameters"] == 5 * (2 * 192 + 8 + 1)
    assert "toy_network" in sys.modules
