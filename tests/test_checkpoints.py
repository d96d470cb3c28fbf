from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ecg.checkpoints import AtomicCheckpointIO, load_weights


def test_saved_weights_are_loaded(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"state_dict": {"weight": torch.arange(3)}, "epoch": 1}, path)
    assert load_weights(path)["weight"].tolist() == [0, 1, 2]
    assert [entry.name for entry in path.parent.iterdir()] == ["last.ckpt"]


def test_a_failed_write_keeps_the_previous_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"state_dict": {"weight": torch.zeros(1)}}, path)

    def fail(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(bytes(data)[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="No space left"):
        AtomicCheckpointIO().save_checkpoint({"state_dict": {"weight": torch.ones(1)}}, path)
    assert load_weights(path)["weight"].tolist() == [0]
    assert [entry.name for entry in tmp_path.iterdir()] == ["last.ckpt"]
