"""A few files of the program that damages recordings and model files."""

from __future__ import annotations

import pytest
from fuzz_recordings import FORMATS, fuzz


@pytest.mark.slow
def test_a_damaged_file_is_annotated_or_refused() -> None:
    formats = [name for name in FORMATS if name != "onnx"]  # its export takes half of a minute
    outcomes = dict(fuzz(12 * len(formats), formats))
    assert {name: outcome.defects for name, outcome in outcomes.items()} == {name: [] for name in formats}
    assert all(outcome.refused for outcome in outcomes.values())
    assert any(outcome.annotated for outcome in outcomes.values())
