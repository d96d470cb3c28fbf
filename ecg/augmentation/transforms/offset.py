"""Random offset."""

from __future__ import annotations

from dataclasses import replace

from ecg.augmentation.transforms.transform import Stage, Transform, WaveformBatch, random_amount


class Offset(Transform):
    """Adds a constant to a beat.

    Args:
        limit: largest offset, in standard deviations of the beat; 0 switches the transform off.
    """

    stage = Stage.AMPLITUDE

    def __init__(self, *, limit: float) -> None:
        super().__init__()
        self.limit = limit

    @property
    def active(self) -> bool:
        """Whether the transform changes any beat."""
        return self.limit > 0

    def forward(self, batch: WaveformBatch) -> WaveformBatch:
        """Returns the batch with offsets."""
        return replace(batch, signal=batch.signal + batch.spread * random_amount(batch.signal, self.limit))
