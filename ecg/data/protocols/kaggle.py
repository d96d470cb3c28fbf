"""The split of the Kaggle heartbeat set."""

from __future__ import annotations

from dataclasses import dataclass

from ecg.data.beats import Beats, Positions
from ecg.data.protocols.protocol import Protocol
from ecg.data.source import Source


@dataclass(frozen=True, kw_only=True)
class Kaggle(Protocol):
    """The split of the Kaggle heartbeat set: 87,554 training and 21,892 test beats of the same 47 patients."""

    def partition(self, beats: Beats, source: Source) -> tuple[Positions, Positions]:
        """See `Protocol.partition`."""
        return source.kaggle_split(beats)
