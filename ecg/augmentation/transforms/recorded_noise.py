"""Recorded noise of the MIT-BIH Noise Stress Test Database."""

from __future__ import annotations

import torch
from torch import Tensor

from ecg.augmentation.transforms.noise import Noise
from ecg.augmentation.transforms.transform import BeatFormat
from ecg.data.noise import noise_folder, read_noise


class RecordedNoise(Noise):
    """Adds a random segment of recorded noise.

    Args:
        snr: lowest signal-to-noise ratio in dB; None switches the transform off.
        dir: folder of the noise records; None for their folder in the data root.
    """

    recording: Tensor

    def __init__(self, *, snr: float | None, dir: str | None) -> None:
        super().__init__(snr=snr)
        self.dir = dir

    def prepare(self, beat_format: BeatFormat) -> None:
        """Reads the noise records, with the sampling rate and the filter of the beats.

        Raises:
            UserError: the records are missing, damaged or shorter than a beat.
        """
        super().prepare(beat_format)
        noise = read_noise(
            noise_folder(self.dir), beat_format.sfreq, beat_format.n_times, beat_format.highpass_hz
        )  # (n_leads, n)
        self.register_buffer("recording", torch.from_numpy(noise), persistent=False)  # not part of a checkpoint

    def noise(self, signal: Tensor) -> Tensor:
        """See `Noise`."""
        (n_leads, n), n_times = self.recording.shape, signal.shape[2]
        start = torch.randint(n - n_times + 1, (len(signal), 1), device=signal.device)
        lead = torch.randint(n_leads, (len(signal), 1), device=signal.device)
        segment = self.recording[lead, start + torch.arange(n_times, device=signal.device)][:, None]  # (B, 1, T)
        segment = segment - segment.mean(dim=2, keepdim=True)
        return segment / segment.square().mean(dim=2, keepdim=True).sqrt().clamp(min=1e-6)
