"""Random amplitude."""

from __future__ import annotations

from dataclasses import replace

from ecg.augmentation.transforms.transform import Stage, Transform, WaveformBatch, random_amount


class Scale(Transform):
    """Multiplies a beat by a constant.

    Args:
        limit: largest relative change of the amplitude; 0 switches the transform off.
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
        """Returns the scaled batch."""
        return replace(batch, signal=batch.signal * (1 + random_amount(batch.signal, self.limit)))
