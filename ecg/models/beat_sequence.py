"""Beats in context: a network encodes each beat, and recurrent layers over the beats classify them.

    rhythm and P waves (B, L, P) --- linear --- GRU over L -------------------------> logit of S
    all features (B, L, R) --------- linear --+
                                              +- GRU over L ------------------------> logits of V, F, Q
    signal (B, L, C, T) --- encoder ----------+
                               |                                       the logit of N is 0
                        auxiliary logits

An S beat differs from an N beat in its time and in its P wave. Few training patients have S beats, so a network could
fit the shapes of these patients instead. The logit of S therefore depends on the features of rhythm and P waves alone.
For the same reason, the P waves and the encoder's output are left out of random training sequences, and the encoder has
a loss of its own.

Source of the GRU: Cho et al. 2014, EMNLP, arXiv:1406.1078.

Input: signals (B, L, C, T), features (B, L, R) of L consecutive beats. Output: logits (B, L, n_classes).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn

from ecg.models.network import Network

AT_ONCE = 1024  # beats, in evaluation, where a sequence is a whole record
LARGEST_FEATURE = 5.0  # standard deviations

State: TypeAlias = tuple[Tensor, Tensor]  # last outputs (1, B, D) of the two GRUs


class BeatSequence(Network):
    """An encoder of beats and two GRUs over consecutive beats, bidirectional unless causal.

    Args:
        encoder: network without RR features that encodes a beat.
        classes: names of the classes: N, S, and at least one more.
        n_rr: number of features, R; at least 1.
        n_rhythm: number of the features that describe the rhythm; they come first.
        n_p_wave: number of the features that describe the P wave; they follow. P is the sum of both.
        hidden: width of the GRUs in each direction, and of the features' hidden layers, H; D is 4 H, if causal 2 H.
        encoded: number of features that remain of the encoder's, E.
        dropout: dropout probability before the GRUs and before the last layers.
        p_wave_dropout: probability with which the P wave features are zero for a whole sequence in training.
        encoder_dropout: probability with which the encoder's output is zero for a whole sequence in training.
        noise: standard deviation of the noise on the standardised features in training.
        causal: whether the GRUs run forward only, so that a beat does not depend on later beats.
    """

    def __init__(
        self,
        encoder: Network,
        *,
        classes: Sequence[str],
        n_rr: int,
        n_rhythm: int,
        n_p_wave: int,
        hidden: int,
        encoded: int,
        dropout: float,
        p_wave_dropout: float,
        encoder_dropout: float,
        noise: float,
        causal: bool = False,
    ) -> None:
        super().__init__()
        self.encoder, self.p_wave = encoder, slice(n_rhythm, n_rhythm + n_p_wave)
        self.p_wave_dropout, self.encoder_dropout, self.noise = p_wave_dropout, encoder_dropout, noise
        self.s = list(classes).index("S")
        self.others = [c for c, name in enumerate(classes) if name not in ("N", "S")]
        self.norm = nn.BatchNorm1d(n_rr, affine=False)
        self.dropout = nn.Dropout(dropout)
        self.rhythm = nn.Sequential(nn.Linear(self.p_wave.stop, hidden), nn.ReLU(), nn.Dropout(dropout))
        self.rhythm_gru = nn.GRU(hidden, hidden, batch_first=True, bidirectional=not causal)
        n_outputs = hidden if causal else 2 * hidden
        self.rhythm_linear = nn.Linear(n_outputs, 1)
        self.features = nn.Sequential(nn.Linear(n_rr, hidden), nn.ReLU(), nn.Dropout(dropout))
        self.encoded = nn.Sequential(nn.Linear(encoder.n_embedded, encoded), nn.ReLU())
        self.gru = nn.GRU(hidden + encoded, hidden, batch_first=True, bidirectional=not causal)
        self.linear = nn.Linear(n_outputs, len(self.others))

    @property
    def min_times(self) -> int:
        """See `Network`."""
        return self.encoder.min_times

    @property
    def n_embedded(self) -> int:
        """See `Network`."""
        return self.rhythm_linear.in_features + self.linear.in_features

    def embed(self, signal: Tensor, rr: Tensor) -> Tensor:
        """Signals (B, L, C, T), features (B, L, R) -> outputs of the two GRUs (B, L, D)."""
        return self._embed(self._encode(signal), rr)[0]

    def classify(self, embedded: Tensor) -> Tensor:
        """Outputs of the two GRUs (B, L, D) -> logits (B, L, n_classes)."""
        rhythm, shape = self.dropout(embedded).chunk(2, dim=-1)
        s, others = self.rhythm_linear(rhythm), self.linear(shape)
        logits: Tensor = others.new_zeros(*others.shape[:-1], 2 + len(self.others))  # that of N remains 0
        logits[..., self.s] = s.squeeze(-1)
        logits[..., self.others] = others
        return logits

    def training_logits(self, signal: Tensor, rr: Tensor) -> tuple[Tensor, ...]:
        """Returns the logits (B, L, n_classes), and those of the encoder alone."""
        waveform = self._encode(signal)
        auxiliary = self.encoder.classify(waveform.flatten(0, 1)).unflatten(0, signal.shape[:2])
        return self.classify(self._embed(waveform, rr)[0]), auxiliary

    def continue_from(self, state: State | None, signal: Tensor, rr: Tensor) -> tuple[Tensor, State]:
        """Returns the logits (B, L, n_classes) of the next L beats of a record, and the state after them.

        The network must be causal.

        Args:
            state: after the beats before; None for the first beats.
            signal: (B, L, C, T).
            rr: (B, L, R).
        """
        embedded, state = self._embed(self._encode(signal), rr, state)
        return self.classify(embedded), state

    def _encode(self, signal: Tensor) -> Tensor:
        """Signals (B, L, C, T) -> features of the encoder (B, L, D)."""
        beats = signal.flatten(0, 1)  # (B L, C, T)
        # An ONNX file cannot have a number of parts that depends on the input.
        whole = self.training or torch.compiler.is_exporting()
        parts = [beats] if whole else beats.split(AT_ONCE)
        encoded = torch.cat([self.encoder.embed(part, part.new_empty(part.shape[0], 0)) for part in parts])  # (B L, D)
        return encoded.view(*signal.shape[:2], -1)

    def _embed(self, waveform: Tensor, rr: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Features of the encoder (B, L, D), features (B, L, R) -> outputs of the two GRUs (B, L, D), their states."""
        # The recurrence adds up rounding errors over the beats, so it is computed in full precision.
        with torch.autocast(rr.device.type, enabled=False):
            features = self.norm(rr.flatten(0, 1)).view_as(rr).clamp(-LARGEST_FEATURE, LARGEST_FEATURE)
            waveform = self.encoded(waveform.float())  # (B, L, E)
            if self.training:
                features = features + self.noise * torch.randn_like(features)
                features[..., self.p_wave] *= torch.rand(len(rr), 1, 1, device=rr.device) >= self.p_wave_dropout
                waveform = waveform * (torch.rand(len(rr), 1, 1, device=rr.device) >= self.encoder_dropout)
            inputs = (
                self.rhythm(features[..., : self.p_wave.stop]),
                torch.cat([self.features(features), waveform], dim=2),
            )
            del features, waveform  # those of a day of beats need much memory
            of_rhythm, of_shape = state or (None, None)
            if self.training or rr.device.type != "cpu" or torch.compiler.is_exporting():
                rhythm, of_rhythm = self.rhythm_gru(inputs[0], of_rhythm)
                shape, of_shape = self.gru(inputs[1], of_shape)
                return torch.cat([rhythm, shape], dim=2), (of_rhythm, of_shape)
            outputs = rr.new_empty(*rr.shape[:2], self.n_embedded)  # (B, L, D)
            n_rhythm = self.rhythm_linear.in_features
            of_rhythm = run_in_parts(self.rhythm_gru, inputs[0], of_rhythm, outputs[..., :n_rhythm])
            of_shape = run_in_parts(self.gru, inputs[1], of_shape, outputs[..., n_rhythm:])
            return outputs, (of_rhythm, of_shape)


def run_in_parts(gru: nn.GRU, x: Tensor, state: Tensor | None, outputs: Tensor) -> Tensor:
    """Computes the outputs of a GRU of one layer as `gru(x, state)` does, and returns the last states.

    For a whole record on a CPU, torch keeps small tensors for each beat. Here each direction is computed in parts of
    the sequence, which continue from the state after the part before.

    Args:
        gru: the GRU.
        x: (B, L, C) inputs.
        state: (directions, B, H) states before them; None for zeros.
        outputs: (B, L, directions H), which the outputs are written to.
    """
    states, width = [], gru.hidden_size
    for direction, weights in enumerate(gru.all_weights):  # forward, and backward if bidirectional
        last = x.new_zeros(1, len(x), width) if state is None else state[direction : direction + 1]
        starts, turn = range(0, x.shape[1], AT_ONCE), (1,) if direction else ()
        for start in reversed(starts) if direction else starts:
            part = x[:, start : start + AT_ONCE].flip(turn)
            output, last = torch.gru(part, last, list(weights), True, 1, 0.0, False, False, True)
            outputs[:, start : start + AT_ONCE, direction * width : (direction + 1) * width] = output.flip(turn)
        states.append(last)
    return torch.cat(states)
