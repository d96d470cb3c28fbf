"""The name of a run, which is part of the name of its folder."""

from __future__ import annotations

from omegaconf import OmegaConf

from ecg.errors import UserError

# File systems allow 255 bytes for a folder; the time or the number of a job precedes the name.
MAX_BYTES = 120


def check_run_name(name: str) -> str:
    """Returns the name of a run.

    Raises:
        UserError: the name cannot be part of the name of a folder.
    """
    reason = ""
    if not name.strip():
        reason = "is empty"
    elif not name.isprintable():
        reason = f"has a character that cannot be printed: {name!r}"
    elif "/" in name or "\\" in name:
        reason = f"has a path separator: {name!r}. To choose the folder, use hydra.run.dir=FOLDER"
    elif name.startswith((".", "-")):
        reason = f"starts with a dot or a dash: {name!r}"
    elif (n_bytes := len(name.encode())) > MAX_BYTES:
        reason = f"has {n_bytes} bytes, and a letter outside ASCII has several. At most {MAX_BYTES} are valid"
    if reason:
        raise UserError(f"name {reason}. Choose another name, such as \"name='my run'\".")
    return name


# For the run folder in conf/train.yaml and conf/synth.yaml, which Hydra creates before the configuration is checked.
OmegaConf.register_new_resolver("run_name", check_run_name, replace=True)
