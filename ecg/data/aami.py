"""The AAMI EC57 classes of heartbeats, and which PhysioNet annotation symbols belong to each.

Source: ANSI/AAMI EC57:2012, and the annotation codes at https://physionet.org/physiobank/annotations.shtml.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CLASSES: tuple[str, ...] = ("N", "S", "V", "F", "Q")
CLASS_NAMES: dict[str, str] = {
    "N": "normal",
    "S": "supraventricular ectopic",
    "V": "ventricular ectopic",
    "F": "fusion of ventricular and normal",
    "Q": "unknown or paced",
}
# Bundle branch block beats and atrial or nodal escape beats count as normal under EC57. The ventricular
# flutter wave "!" and the blocked P wave "x" are not beats.
SYMBOLS: dict[str, str] = {"N": "NLRej", "S": "AaJS", "V": "VE", "F": "F", "Q": "/fQ"}

_LABEL_OF = {symbol: CLASSES.index(name) for name, symbols in SYMBOLS.items() for symbol in symbols}


def labels_of(symbols: NDArray[np.str_]) -> NDArray[np.int64]:
    """Class index 0..4 of each annotation symbol, -1 where the annotation is not a beat.

    Args:
        symbols: (n,) PhysioNet annotation symbols.

    Returns:
        (n,) int64.
    """
    known, inverse = np.unique(symbols, return_inverse=True)
    return np.array([_LABEL_OF.get(str(s), -1) for s in known], dtype=np.int64)[inverse]
