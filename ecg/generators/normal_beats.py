"""An embedding of records by their normal beats.

A learned embedding exists only for the records that the generator was fitted on, and it mixes what is specific to the
record with which classes the record has. An embedding of normal beats exists for every record that has some. The
generator can then draw a beat of a class that the record does not have.

Input: records (B,). Output: (B, width).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

N_KEPT = 32  # normal beats of each record
N_AVERAGED = 8  # of them, at random, in training: the mean then differs from step to step, as that of a new record does
MIN_NORMAL = 5  # normal beats of a record that can be embedded


class NormalBeats(nn.Module):
    """Embeds records by the mean of their normal beats.

    Args:
        n_records: number of records.
        beat_size: values of a beat, C T.
        width: width of the embedding.
    """

    beats: Tensor
    known: Tensor

    def __init__(self, n_records: int, beat_size: int, width: int) -> None:
        super().__init__()
        self.register_buffer("beats", torch.zeros(n_records, N_KEPT, beat_size))
        self.register_buffer("known", torch.zeros(n_records, dtype=torch.bool))
        self.layers = nn.Sequential(nn.Linear(beat_size, width), nn.SiLU(), nn.Linear(width, width))

    def fit(self, signal: Tensor, record: Tensor) -> None:
        """Keeps the signals (n, C, T) of normal beats of the given records (n,)."""
        rng = torch.Generator().manual_seed(0)
        for r in record.unique().tolist():
            own = signal[record == r].flatten(1)  # (m, C T)
            if len(own) >= MIN_NORMAL:
                order = torch.randperm(len(own), generator=rng)
                self.beats[r], self.known[r] = own[order[torch.arange(N_KEPT) % len(own)]], True

    def forward(self, record: Tensor) -> Tensor:
        """Records (B,) -> (B, width)."""
        if self.training:
            chosen = torch.randint(N_KEPT, (len(record), N_AVERAGED), device=record.device)
            mean = self.beats[record[:, None], chosen].mean(dim=1)  # (B, N_AVERAGED, C T) -> (B, C T)
        else:
            mean = self.beats.mean(dim=1)[record]  # (B, C T)
        embedding: Tensor = self.layers(mean)
        return embedding
