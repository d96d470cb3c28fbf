"""LSTM-GAN: an LSTM generator and an LSTM critic for each class, with the non-saturating loss. A baseline.

    critic       -E[log D(real)] - E[log(1 - D(fake))]
    generator    -E[log D(fake)]

This is the original LSTM-GAN, corrected: the dropout of the critic is off outside training, the generator's weights
are saved. `over="beat"` is the network as first published: the LSTM receives the beat as a single step, so that it has
no recurrence. With `over="time"` the LSTMs run along time.

Source of the loss: Goodfellow et al. 2014, NeurIPS, arXiv:1406.2661.

Input: labels (B,), records (B,), which are ignored. Output: canvases (B, C + E, T).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecg.generators.canvas import Canvas
from ecg.generators.generator import Generator
from ecg.models.blocks import LSTM


class LSTMGenerator(nn.Module):
    """Generates the beats of one class.

    Args:
        n_channels: channels of a canvas.
        n_times: samples of a beat, T.
        latent: width of the noise at a step.
        hidden: width of the LSTM.
        over: "time" or "beat".
    """

    def __init__(self, *, n_channels: int, n_times: int, latent: int, hidden: int, over: str) -> None:
        super().__init__()
        self.n_channels, self.n_times, self.latent, self.over = n_channels, n_times, latent, over
        self.lstm = LSTM(latent, hidden, num_layers=2, batch_first=True)
        self.last = nn.Linear(hidden, n_channels if over == "time" else n_channels * n_times)

    def forward(self, n: int, rng: torch.Generator | None = None) -> Tensor:
        """Number of beats n -> canvases (n, n_channels, T)."""
        steps = self.n_times if self.over == "time" else 1
        noise = torch.randn(n, steps, self.latent, generator=rng, device=self.last.weight.device)
        # The first half of the noise is the same at all steps, as a beat has one morphology. The other half varies.
        half = self.latent // 2
        constant = noise[:, :1, :half].expand(-1, steps, -1)  # (n, 1, half) -> (n, steps, half)
        outputs = self.lstm(torch.cat([constant, noise[:, :, half:]], dim=2))[0]  # (n, steps, hidden)
        canvas: Tensor = self.last(outputs)  # (n, T, n_channels) or (n, 1, n_channels T)
        if self.over == "time":
            return canvas.transpose(1, 2)  # (n, n_channels, T)
        return canvas.reshape(n, self.n_channels, self.n_times)  # (n, 1, n_channels T) -> (n, n_channels, T)


class LSTMCritic(nn.Module):
    """Scores canvases of one class; the score is the logit of being real.

    Args:
        n_channels: channels of a canvas.
        n_times: samples of a beat, T.
        hidden: width of the LSTM.
        dropout: dropout probability of the features.
        over: "time" or "beat".
    """

    def __init__(self, *, n_channels: int, n_times: int, hidden: int, dropout: float, over: str) -> None:
        super().__init__()
        self.over = over
        self.lstm = LSTM(n_channels if over == "time" else n_channels * n_times, hidden, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.score = nn.Linear(2 * hidden, 1)

    def forward(self, canvas: Tensor) -> Tensor:
        """Canvases (B, n_channels, T) -> logits (B,)."""
        # (B, T, n_channels) or (B, 1, n_channels T)
        sequence = canvas.transpose(1, 2) if self.over == "time" else canvas.flatten(1).unsqueeze(1)
        h = self.lstm(sequence)[0]  # (B, steps, hidden)
        features = torch.cat([h.mean(dim=1), h[:, -1]], dim=1)  # (B, 2 hidden)
        score: Tensor = self.score(self.dropout(features))[:, 0]
        return score


class ClassOrder(NamedTuple):
    """The beats of a batch, ordered by class.

    Attributes:
        order: (B,) positions of the beats, ordered by class.
        inverse: (B,) the permutation that restores the order of the batch.
        counts: number of beats of each class.
    """

    order: Tensor
    inverse: Tensor
    counts: list[int]


class LSTMGAN(Generator):
    """LSTM-GAN.

    Args:
        canvas: converts beats to canvases and back.
        n_classes: number of classes.
        n_records: ignored.
        latent: width of the noise at a step.
        hidden: width of the LSTMs.
        dropout: dropout probability of the critics.
        over: axis that the LSTMs run along: "beat" for the network as first published, or "time".
    """

    update_order = ("critic", "generator")

    def __init__(
        self, *, canvas: Canvas, n_classes: int, n_records: int, latent: int, hidden: int, dropout: float, over: str
    ) -> None:
        super().__init__()
        self.canvas = canvas
        n_channels, n_times = canvas.n_total, canvas.n_times
        self.generator = nn.ModuleList(
            LSTMGenerator(n_channels=n_channels, n_times=n_times, latent=latent, hidden=hidden, over=over)
            for _ in range(n_classes)
        )
        self.critic = nn.ModuleList(
            LSTMCritic(n_channels=n_channels, n_times=n_times, hidden=hidden, dropout=dropout, over=over)
            for _ in range(n_classes)
        )

    def sample(self, label: Tensor, record: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Labels (B,), records (B,), which are ignored -> canvases (B, C+E, T)."""
        return self._generate(self._by_class(label), rng)

    def loss(self, player: str, real: Tensor, label: Tensor, record: Tensor, step: int) -> dict[str, Tensor]:
        """Returns the loss of a player and, for the critic, the mean difference of real and fake logits."""
        by_class = self._by_class(label)
        if player == "generator":
            return {"loss": F.softplus(-self._score(self._generate(by_class), by_class)).mean()}
        with torch.no_grad():
            fake = self._generate(by_class)
        d_real, d_fake = self._score(real, by_class), self._score(fake, by_class)
        loss = F.softplus(-d_real).mean() + F.softplus(d_fake).mean()
        return {"loss": loss, "margin": (d_real - d_fake).mean().detach()}

    def _by_class(self, label: Tensor) -> ClassOrder:
        """Orders beats by class. Reading the counts makes the CPU wait for the GPU, once a step."""
        order = torch.argsort(label, stable=True)
        counts = torch.bincount(label, minlength=len(self.generator)).tolist()
        return ClassOrder(order, torch.argsort(order), counts)

    def _generate(self, by_class: ClassOrder, rng: torch.Generator | None = None) -> Tensor:
        """Returns canvases (B, C+E, T), each by the generator of its class."""
        networks = zip(self.generator, by_class.counts, strict=True)
        canvas = torch.cat([generate(n, rng).float() for generate, n in networks if n])
        return self.canvas.constrain(canvas[by_class.inverse])

    def _score(self, canvas: Tensor, by_class: ClassOrder) -> Tensor:
        """Returns the logit (B,) of each beat by the critic of its class."""
        networks = zip(self.critic, canvas[by_class.order].split(by_class.counts), strict=True)
        return torch.cat([critic(beats).float() for critic, beats in networks if len(beats)])[by_class.inverse]
