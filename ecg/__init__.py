"""Experiment framework for ECG heartbeats: classification, synthesis of rare classes, comparison.

>>> import ecg
>>> beats = ecg.load("inter_patient").predict(signal, sfreq=360)  # a DataFrame with a row for each beat
>>> signal = ecg.sample("F", 100)  # an array (100, 1, 187) of fusion beats
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ecg.prediction import BeatClassifier


def __getattr__(name: str) -> str:
    """Returns `__version__`, that of the installed package."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ecg.config.installation import package_version

    return package_version()


def load(model: str | Path = "inter_patient") -> BeatClassifier:
    """Returns a fitted classifier of beats.

    Args:
        model: name of a released model (`ecg models`), a run folder of train.py, a model file, or hf://USER/NAME or
            hf://USER/NAME@REVISION for a model on the Hugging Face Hub.

    Raises:
        UserError: there is no such model, it is not a classifier, or a file is damaged.
    """
    from ecg.prediction import load_classifier  # imports torch, which takes seconds

    return load_classifier(model)


def sample(
    name: str, n: int, *, model: str | Path = "kaggle_generator", seed: int = 0, record: str | None = None
) -> NDArray[np.float32]:
    """Returns synthetic beats (n, C, T).

    Args:
        name: the class: N, S, V, F or Q.
        n: number of beats.
        model: name of a released generator, a run folder of synth.py, a model file, or hf://USER/NAME as for `load`.
        seed: seed of the noise and of the records; the same seed gives the same beats.
        record: the record that the beats are drawn for; None for the records of the training beats of the class.

    Raises:
        UserError: there is no such model, or it cannot draw these beats.
    """
    from ecg.sampling import load_generator  # imports torch, which takes seconds

    return load_generator(model).sample(name, n, seed=seed, record=record)
