"""The released models: model files with their model cards, part of the package; and where other models are."""

from __future__ import annotations

from pathlib import Path

from ecg import hub
from ecg.errors import UserError

FOLDER = Path(__file__).parent
SUFFIX = ".safetensors"


def released_models(kind: str = "*") -> dict[str, Path]:
    """The released models by name: those of a kind, classifier or generator, or all."""
    return {path.stem: path for path in sorted(FOLDER.glob(f"{kind}/*{SUFFIX}"))}


def model_card(name: str) -> str:
    """The model card of a released model, in Markdown."""
    return released_models()[name].with_suffix(".md").read_text(encoding="utf-8")


def find_model(model: str | Path) -> Path:
    """The file or run folder of a model.

    Args:
        model: name of a released model, a run folder, a model file, or an address hf://USER/NAME, whose model file is
            downloaded; see `ecg.hub.download_model`.

    Raises:
        UserError: there is no such model, or it cannot be downloaded.
    """
    if str(model).startswith(hub.PREFIX):
        return hub.download_model(str(model))
    released, path = released_models(), Path(model)
    if str(model) in released:
        return released[str(model)]
    if path.is_dir() or path.suffix in (SUFFIX, ".onnx"):
        return path
    names = ", ".join(released) or "none"
    raise UserError(
        f"{model} is neither a released model ({names}), nor a run folder, nor a file NAME{SUFFIX} or NAME.onnx, nor "
        f"an address {hub.PREFIX}USER/NAME."
    )
