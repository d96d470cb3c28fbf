"""Builds windows and networks from the configuration.

`ecg predict` needs no more than these. Without Lightning, which `ecg.build` imports, it starts faster and needs 100 MB
less.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from ecg.config.schema import WindowName
from ecg.data.window import CenteredWindow, KaggleWindow, Window
from ecg.errors import UserError
from ecg.models.beat_sequence import BeatSequence
from ecg.models.network import Network


def window(cfg: DictConfig) -> Window:
    """The window that cuts beats."""
    data = cfg.data
    if data.window == WindowName.kaggle:
        return KaggleWindow(lead=data.get("lead", "first"))
    of_beats = {name: data[name] for name in ("lead", "before", "after", "sfreq", "difference", "leads", "causal")}
    return CenteredWindow(**of_beats, features=data.features.value)


def network(cfg: DictConfig, window: Window, classes: Sequence[str]) -> Network:
    """The network for the beats of a window; in context, with the sequence layer."""
    sizes: dict[str, Any] = {"n_channels": window.n_channels, "n_times": window.n_times, "n_classes": len(classes)}
    if not cfg.data.get("context", 0):
        single: Network = instantiate_node(cfg.model, **sizes, n_rr=window.n_rr)
        return single
    features = {"n_rr": window.n_rr, "n_rhythm": window.n_rhythm, "n_p_wave": window.n_p_wave}
    encoder = instantiate_node(cfg.model, **sizes, n_rr=0)
    return BeatSequence(encoder, classes=classes, **features, causal=cfg.data.causal, **cfg.sequence)


def instantiate_node(node: DictConfig, drop: tuple[str, ...] = (), **objects: Any) -> Any:
    """The object of a config node, created from plain Python values without the keys in `drop`."""
    container: Any = OmegaConf.to_container(node, resolve=True, throw_on_missing=True, enum_to_str=True)
    arguments = {key: value for key, value in container.items() if key not in drop and key not in objects}
    try:
        return instantiate({**arguments, "_convert_": "all"}, **objects)
    except InstantiationException as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        if str(error).startswith("Error locating target"):
            raise UserError(
                f"The class {node._target_} cannot be imported. Check its name, and that PYTHONPATH has its folder."
            ) from error
        raise
