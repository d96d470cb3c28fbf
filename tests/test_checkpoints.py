from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from mutations import mutate
from torch import nn

from ecg.callbacks import RunCheckpoint
from ecg.checkpoints import load_weights, read_checkpoint, write_checkpoint
from ecg.errors import UserError


def saved(path: Path, weight: float = 1.0) -> Path:
    module = nn.Linear(1, 2)
    nn.init.constant_(module.weight, weight)
    write_checkpoint({"state_dict": module.state_dict(), "epoch": 1}, path)
    return path


def loaded_weight(path: Path) -> list[list[float]]:
    module = nn.Linear(1, 2)
    load_weights(path, module)
    return module.weight.tolist()  # type: ignore[no-any-return]


def test_saved_weights_are_loaded(tmp_path: Path) -> None:
    path = saved(tmp_path / "checkpoints" / "last.ckpt", weight=3)
    assert loaded_weight(path) == [[3], [3]]
    assert torch.load(path, weights_only=True)["epoch"] == 1
    assert [entry.name for entry in path.parent.iterdir()] == ["last.ckpt"]


def test_a_failed_write_keeps_the_previous_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "last.ckpt", weight=0)

    def fail(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(bytes(data)[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="No space left"):
        write_checkpoint({"state_dict": {"weight": torch.ones(1)}}, path)
    assert loaded_weight(path) == [[0], [0]]
    assert [entry.name for entry in tmp_path.iterdir()] == ["last.ckpt"]


class Payload:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return Path.touch, (Path("executed"),)  # type: ignore[return-value]


def write_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps(Payload()))


def write_sealed_payload(path: Path) -> None:
    write_checkpoint({"state_dict": Payload()}, path)


def write_other_types(path: Path) -> None:
    torch.save({"state_dict": 3, "callbacks": "text", "loops": []}, path)


def write_other_values(path: Path) -> None:
    content = torch.load(path, weights_only=True)
    torch.save(content | {"epoch": "text"}, path)


@pytest.mark.parametrize(
    "change",
    [write_pickle, write_sealed_payload, write_other_types, write_other_values, lambda path: path.write_text("")],
)
def test_what_this_program_did_not_write_is_refused(
    change: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = saved(tmp_path / "best.ckpt")
    change(path)
    with pytest.raises(UserError, match=r"best.ckpt (is damaged|was written by another version).* Start a new run"):
        loaded_weight(path)
    assert not (tmp_path / "executed").exists()


def test_any_damage_is_detected(tmp_path: Path) -> None:
    path = saved(tmp_path / "best.ckpt")
    content = path.read_bytes()
    for i in range(200):
        path.write_bytes(damaged := mutate(content, np.random.default_rng(i)))
        if damaged != content:
            with pytest.raises(UserError, match="is damaged"):
                read_checkpoint(path)


@pytest.mark.parametrize("other", [nn.Linear(2, 2), nn.Linear(1, 2, bias=False), nn.Conv1d(1, 2, 1)])
def test_the_weights_of_another_network_are_refused(other: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"best.ckpt does not match the config.yaml of its run folder"):
        load_weights(saved(tmp_path / "best.ckpt"), other)


def test_the_state_of_a_run_checkpoint_moves_with_its_folder(tmp_path: Path) -> None:
    before, after = (RunCheckpoint(tmp_path / name, filename="best", monitor="val") for name in ("a", "b"))
    best = str(tmp_path / "a" / "best.ckpt")
    before.best_model_path = before.kth_best_model_path = best
    before.best_k_models, before.best_model_score = {best: torch.tensor(0.5)}, torch.tensor(0.5)
    state = before.state_dict()
    assert str(tmp_path) not in str(state)
    after.load_state_dict(state)
    assert after.best_model_path == after.kth_best_model_path == str(tmp_path / "b" / "best.ckpt")
    assert after.best_k_models == {after.best_model_path: torch.tensor(0.5)}
    assert after.best_model_score == 0.5
    assert after.last_model_path == ""
