"""Beats in context: a network encodes each beat, and a bidirectional GRU over the beats classifies them.

    signal (B, L, C, T) --- encoder ---> (B, L, E) --+
                               |                     |--- GRU over L ---> (B, L, 2 hidden) ---> logits
    features (B, L, R) ---- linear ----> (B, L, H) --+
                               |
                        auxiliary logits

Networks that see the waveform fit the training patients' morphology and ignore the rhythm. In training, the encoder's
output and the shape features are therefore set to zero in a random fraction of the sequences, and the encoder has a
loss of its own.

Source of the GRU: Cho et al. 2014, EMNLP, arXiv:1406.1078.

Input: signals (B, L, C, T), features (B, L, R) of L consecutive beats. Output: logits (B, L, n_classes).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ecg.models.network import Network

ENCODE_AT_ONCE = 1024  # beats, in evaluation, where a sequence is a whole record
LARGEST_FEATURE = 5.0  # standard deviations


class BeatSequence(Network):
    """An encoder of beats and a bidirectional GRU over consecutive beats.

    Args:
        encoder: network without RR features that encodes a beat.
        n_rr: number of features, R; at least 1.
        n_rhythm: number of the features that describe the rhythm; they come first, those of the shape follow.
        n_classes: number of classes.
        hidden: width of the GRU in each direction, and of the features' hidden layer, H.
        encoded: number of features that remain of the encoder's, E.
        dropout: dropout probability before the GRU and before the last layer.
        shape_dropout: probability with which the encoder's output and the shape features are zero for a whole sequence
            in training.
    """

    def __init__(
        self,
        encoder: Network,
        *,
        n_rr: int,
        n_rhythm: int,
        n_classes: int,
        hidden: int,
        encoded: int,
        dropout: float,
        shape_dropout: float,
    ) -> None:
        super().__init__()
        self.encoder, self.n_rhythm, self.shape_dropout = encoder, n_rhythm, shape_dropout
        self.norm = nn.BatchNorm1d(n_rr, affine=False)
        self.features = nn.Sequential(nn.Linear(n_rr, hidden), nn.ReLU(), nn.Dropout(dropout))
        self.encoded = nn.Sequential(nn.Linear(encoder.n_embedded, encoded), nn.ReLU())
        self.gru = nn.GRU(hidden + encoded, hidden, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(2 * hidden, n_classes)

    @property
    def min_times(self) -> int:
        """See `Network`."""
        return self.encoder.min_times

    @property
    def n_embedded(self) -> int:
        """See `Network`."""
        return self.linear.in_features

    def embed(self, signal: Tensor, rr: Tensor) -> Tensor:
        """Signals (B, L, C, T), features (B, L, R) -> (B, L, 2 hidden)."""
        return self._embed(self._encode(signal), rr)

    def classify(self, embedded: Tensor) -> Tensor:
        """Features (B, L, 2 hidden) -> logits (B, L, n_classes)."""
        logits: Tensor = self.linear(self.dropout(embedded))
        return logits

    def training_logits(self, signal: Tensor, rr: Tensor) -> tuple[Tensor, ...]:
        """Returns the logits (B, L, n_classes), and those of the encoder alone."""
        waveform = self._encode(signal)
        auxiliary = self.encoder.classify(waveform.flatten(0, 1)).unflatten(0, signal.shape[:2])
        return self.classify(self._embed(waveform, rr)), auxiliary

    def _encode(self, signal: Tensor) -> Tensor:
        """Signals (B, L, C, T) -> features of the encoder (B, L, D)."""
        beats = signal.flatten(0, 1)  # (B L, C, T)
        parts = [beats] if self.training else beats.split(ENCODE_AT_ONCE)
        encoded = torch.cat([self.encoder.embed(part, part.new_empty(len(part), 0)) for part in parts])  # (B L, D)
        return encoded.view(*signal.shape[:2], -1)

    def _embed(self, waveform: Tensor, rr: Tensor) -> Tensor:
        """Features of the encoder (B, L, D), features (B, L, R) -> (B, L, 2 hidden)."""
        # The recurrence adds up rounding errors over the beats, so it is computed in full precision.
        with torch.autocast(rr.device.type, enabled=False):
            standardised = self.norm(rr.flatten(0, 1)).unflatten(0, rr.shape[:2])
            rhythm, shape = standardised.clamp(-LARGEST_FEATURE, LARGEST_FEATURE).tensor_split([self.n_rhythm], dim=2)
            encoded = self.encoded(waveform.float())  # (B, L, E)
            if self.training:
                keep = torch.rand(len(rr), 1, 1, device=rr.device) >= self.shape_dropout
                shape, encoded = shape * keep, encoded * keep
            features = self.features(torch.cat([rhythm, shape], dim=2))  # (B, L, H)
            outputs: Tensor = self.gru(torch.cat([features, encoded], dim=2))[0]
        return outputs
