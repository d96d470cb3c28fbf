"""What differs between a clone and an installed wheel: the folder of the YAML files, the commands, the version."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
IN_WHEEL = (_PACKAGE / "conf").is_dir()

# A wheel contains conf/ inside the package. In a clone it is next to the package.
CONF = _PACKAGE / "conf" if IN_WHEEL else _PACKAGE.parent / "conf"


def program(name: str) -> str:
    """The command of a program, as typed.

    Args:
        name: train or synth.
    """
    return f"ecg {name}" if IN_WHEEL else f"python {name}.py"


def package_version() -> str:
    """The version of the package: the git tag that it was installed from, or the commits since then."""
    from importlib.metadata import PackageNotFoundError, version  # slow to import, and `ecg --help` does not need it

    try:
        return version("ecg-synthesis-classification")
    except PackageNotFoundError:  # `python train.py` in a clone needs no installation
        return "0+unknown"
