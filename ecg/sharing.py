"""Shares fitted models: a model as one file, and a model on the Hugging Face Hub."""

from __future__ import annotations

import tempfile
from pathlib import Path

from omegaconf import DictConfig

from ecg import build_network, hub, onnx_files
from ecg.config.schema import SCHEMAS
from ecg.config.stored import TARGET
from ecg.data.databases import DATABASES
from ecg.errors import UserError
from ecg.model_files import ModelFile, read_model_file
from ecg.prediction import export_classifier
from ecg.pretrained import SUFFIX, find_model, model_card, released_models
from ecg.sampling import export_generator
from ecg.synthesis import FITTED

# The header of a model card, which the Hub reads.
HEADER = """---
library_name: ecg-synthesis-classification
tags:
- ecg
- {tag}
---
"""
TAGS = {"classifier": "heartbeat-classification", "generator": "heartbeat-synthesis"}
PURPOSES = {
    "classifier": "Classifies the beats of an ECG recording as {classes}.",
    "generator": "Draws synthetic heartbeats of the classes {classes}. They are not recordings of a patient.",
}
CALLS = {
    "classifier": 'beats = ecg.load("{address}").predict(signal, sfreq=360, leads=["MLII"])',
    "generator": 'beats = ecg.sample("{name}", 100, model="{address}")  # an array (n, C, T)',
}


def export_model(source: Path, path: Path, *, int8: bool = False) -> onnx_files.Int8Effect | None:
    """Writes a network and its configuration to a file.

    Args:
        source: run folder of train.py or synth.py, or model file of a classifier.
        path: NAME.safetensors for a model file, or of a classifier NAME.onnx.
        int8: whether the weights of an ONNX file are stored as int8.

    Returns:
        What the int8 weights change; None without them.

    Raises:
        UserError: the suffix is another one, the source holds no fitted network, or a file is damaged.
    """
    generator = (source / FITTED).is_file()
    valid = (SUFFIX,) if generator else (SUFFIX, onnx_files.SUFFIX)
    if path.suffix not in valid:
        raise UserError(f"{path} does not end in {' or '.join(valid)}.")
    if int8 and path.suffix != onnx_files.SUFFIX:
        raise UserError(f"--int8 needs a file NAME{onnx_files.SUFFIX}, not {path}.")
    if generator:
        export_generator(source, path)
        return None
    return export_classifier(source, path, int8=int8)


def push_model(model: str, repository: str, *, private: bool | None = None, card: Path | None = None) -> str:
    """Uploads a model to the Hugging Face Hub, and returns the address of its page.

    Args:
        model: run folder, model file, or name of a released model.
        repository: USER/NAME; created if missing.
        private: see `ecg.hub.upload_model`.
        card: Markdown file with the model card. None for the card that the repository has, else for that of the
            released model, else for one that is made from the model file.

    Raises:
        UserError: there is no such model or card, a file is damaged, or the upload fails; see `ecg.hub.upload_model`.
    """
    given = None if card is None else _read_card(card)
    with tempfile.TemporaryDirectory() as folder:
        path = find_model(model)
        if path.is_dir():
            run, path = path, Path(folder) / hub.MODEL
            export_model(run, path)
        elif path.suffix != SUFFIX:
            raise UserError(f"{path} is not a model file. Use the run folder, or a file NAME{SUFFIX}.")
        file = read_model_file(path)
        text = given or _card_of_released(model, file) or describe_model(file, repository)
        return hub.upload_model(path, text, repository, private=private, replace_card=given is not None)


def describe_model(file: ModelFile, repository: str) -> str:
    """Returns a model card in Markdown with what a model file states.

    Args:
        file: the model file.
        repository: USER/NAME of the model.
    """
    cfg, kind = file.config, file.kind
    window, classes = build_network.window(cfg), list(cfg.protocol.classes)
    address = f"{hub.PREFIX}{repository}"
    settings = ", ".join(f"{key}={value}" for key, value in window.settings().items() if key != "name")
    context, second = cfg.data.get("context", 0), cfg.protocol.get("test")
    group = {"classifier": "model", "generator": "generator"}[kind]
    return f"""{HEADER.format(tag=TAGS[kind])}
# {repository}

{PURPOSES[kind].format(classes=", ".join(classes))}

* **Kind**: {kind}, {_described(cfg, group)}
* **Classes**: {", ".join(classes)}, as in AAMI EC57.
* **Window**: `{window.name}` ({settings}), beats of {window.n_channels} x {window.n_times} (channels x samples)\
{f", with {context} beats before and after each" if context else ""}.
* **Data**: {_described(cfg, "data")}
* **Protocol**: {_described(cfg, "protocol")}{f" The other database is `{second}`." if second else ""}
* **Not a medical device**: not for diagnosis, monitoring or treatment.

This card was made from the model file, which holds no scores and no licence. Please add both, and the limits of the
model.

```python
# pip install "ecg-synthesis-classification[hub]"
import ecg

{CALLS[kind].format(address=address, name=classes[-1])}
```
"""


def _described(cfg: DictConfig, group: str) -> str:
    """The option of a group and what it is."""
    target, name = cfg[group][TARGET], cfg[group].get("name")
    options = {option: schema for option, schema in SCHEMAS[group].items() if getattr(schema, TARGET) == target}
    option = name if name in options else next(iter(options))
    if group == "data" and option in DATABASES:
        return f"`{option}`, the {DATABASES[option].title}."
    return f"`{option}`. {(options[option].__doc__ or '').strip().splitlines()[0]}"


def _card_of_released(model: str, file: ModelFile) -> str | None:
    return HEADER.format(tag=TAGS[file.kind]) + model_card(model) if model in released_models() else None


def _read_card(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UserError(f"Cannot read the model card {path} ({reason}). Choose another file with --card.") from error
