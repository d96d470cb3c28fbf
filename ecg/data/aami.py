"""The AAMI EC57 classes of heartbeats and their PhysioNet annotation symbols.

Source: ANSI/AAMI EC57:2012; annotation symbols: https://physionet.org/physiobank/annotations.shtml.
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
# EC57 counts bundle branch block beats and atrial or nodal escape beats as normal. Ventricular flutter waves "!" and
# blocked P waves "x" are not beats.
SYMBOLS: dict[str, str] = {"N": "NLRBej", "S": "AaJS", "V": "VE", "F": "F", "Q": "/fQ"}

_LABELS = {symbol: CLASSES.index(name) for name, symbols in SYMBOLS.items() for symbol in symbols}


def labels_from_symbols(symbols: NDArray[np.str_]) -> NDArray[np.int64]:
    """Returns the class index 0..4 of each annotation, -1 for an annotation that is not a beat.

    Args:
        symbols: (n,) PhysioNet annotation symbols.

    Returns:
        (n,) int64, index into `CLASSES`.
    """
    unique, inverse = np.unique(symbols, return_inverse=True)
    return np.array([_LABELS.get(str(symbol), -1) for symbol in unique], dtype=np.int64)[inverse]
