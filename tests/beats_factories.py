"""Sources, protocols and data modules for tests of beats and splits."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from factories import make_beats
from hydra.utils import get_class

from ecg.config.schema import SCHEMAS
from ecg.data import mitbih
from ecg.data.aami import CLASSES
from ecg.data.beats import Beats
from ecg.data.datamodule import BeatDataModule
from ecg.data.physionet import PhysioNet
from ecg.data.protocols.protocol import Protocol, Split
from ecg.data.simulated import Simulated
from ecg.data.window import KaggleWindow

MITBIH = PhysioNet(name="mitbih", records=None, dir=None, url=None)
SIMULATED = Simulated(name="simulated", records=None, n_patients=2, minutes=0.1, seed=0)


def make_protocol(option: str, **settings: Any) -> Protocol:
    """A protocol of the configuration with all classes and the given settings, else with its defaults."""
    config = dataclasses.asdict(SCHEMAS["protocol"][option]())
    protocol = get_class(config["_target_"])
    others = {key: value for key, value in config.items() if key not in ("_target_", "name", "window", "lead")}
    made: Protocol = protocol(**{**others, "classes": list(CLASSES), "keep": {}, **settings})
    return made


def make_data_module(beats: Beats, split: Split, **settings: Any) -> BeatDataModule:
    """A data module of simulated beats with the given settings."""
    origin = {"source": SIMULATED, "window": KaggleWindow("first"), "protocol": make_protocol("random")}
    return BeatDataModule(beats, split, **{**origin, "batch_size": 16, "seed": 0, **settings})


def make_mitbih_beats() -> Beats:
    """Four beats of each class for each of the 48 records of MIT-BIH, of one sample each."""
    beats = make_beats(len(mitbih.RECORDS), dict.fromkeys(range(5), 4), n_times=1)
    record = np.repeat(mitbih.RECORDS, 20)
    patient = np.array([mitbih.PATIENTS.get(name, name) for name in record])
    return dataclasses.replace(beats, record=record, patient=patient)


def assert_disjoint(beats: Beats, split: Split) -> None:
    """Asserts that no beat is in two subsets, and no patient in a split by patient."""
    subsets = [split.train, split.validation, split.test]
    positions = np.concatenate(subsets)
    assert len(np.unique(positions)) == len(positions), "a beat is in two subsets"
    if split.by_patient:
        patients = np.concatenate([np.unique(beats.patient[subset]) for subset in subsets])
        assert len(np.unique(patients)) == len(patients), "a patient is in two subsets"
