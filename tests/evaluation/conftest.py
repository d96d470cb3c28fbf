"""Fixtures for the tests of the fidelity of synthetic beats."""

from __future__ import annotations

import pytest
from evaluation_factories import STEPS, TRAIN

from ecg.evaluation.networks import FitSettings, fit_classifier
from ecg.models.network import Network


@pytest.fixture(scope="session")
def classifier() -> Network:
    """A classifier fitted on TRAIN."""
    return fit_classifier(TRAIN, 2, FitSettings(steps=STEPS, seed=0))
