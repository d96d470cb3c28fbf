from __future__ import annotations

import numpy as np
import pytest

from ecg.data.aami import CLASSES, SYMBOLS, labels_from_symbols


@pytest.mark.parametrize(("name", "symbols"), SYMBOLS.items())
def test_symbols_of_a_class_get_its_label(name: str, symbols: str) -> None:
    assert labels_from_symbols(np.array(list(symbols))).tolist() == [CLASSES.index(name)] * len(symbols)


def test_annotations_that_are_not_beats_get_minus_one() -> None:
    assert labels_from_symbols(np.array(["+", "N", "!", "x", "~", "V"])).tolist() == [-1, 0, -1, -1, -1, 2]


def test_no_annotations_give_no_labels() -> None:
    assert labels_from_symbols(np.array([], dtype="U1")).shape == (0,)
