"""LSTM-GAN: an LSTM draws a beat, an LSTM with a sigmoid judges it, and every class has a pair of its own.

    critic     -E[log D(real)] - E[log(1 - D(fake))]
    generator  -E[log D(fake)]

This is the GAN this project takes up, as a baseline. Three things are put right: the critic's dropout ends with the
training, the weights that are kept are the generator's, and the LSTMs run along time. `over="beat"` is the network as
first published: its LSTM gets the whole beat as one step, so that it is no recurrence at all.

Source of the loss: Goodfellow et al. 2014, NeurIPS, arXiv:1406.2661.

Input: labels (B,), styles (B,; not used). Output: canvases (B, C + E, T).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecg.generators.canvas import Canvas
from ecg.generators.generator import Generator


class LSTMGenerator(nn.Module):
    """Noise -> (B, channels, T), for one class."""

    def __init__(self, channels: int, n_times: int, latent: int, hidden: int, over: str) -> None:
        super().__init__()
        self.channels, self.n_times, self.latent, self.over = channels, n_times, latent, over
        self.lstm = nn.LSTM(latent, hidden, num_layers=2, batch_first=True)
        self.last = nn.Linear(hidden, channels if over == "time" else channels * n_times)

    def forward(self, n: int, rng: torch.Generator | None = None) -> Tensor:
        """n beats."""
        steps = self.n_times if self.over == "time" else 1
        noise = torch.randn(n, steps, self.latent, generator=rng, device=self.last.weight.device)
        # Half of the noise is the same at every step: what the beat is; the other half is its texture.
        half = self.latent // 2
        noise = torch.cat([noise[:, :1, :half].expand(-1, steps, -1), noise[:, :, half:]], dim=2)  # (n, steps, latent)
        drawn = self.last(self.lstm(noise)[0])  # (n, T, channels) or (n, 1, channels T)
        return drawn.transpose(1, 2) if self.over == "time" else drawn.reshape(n, self.channels, self.n_times)


class LSTMCritic(nn.Module):
    """Canvas (B, channels, T) -> logit of being real (B,), for one class."""

    def __init__(self, channels: int, n_times: int, hidden: int, dropout: float, over: str) -> None:
        super().__init__()
        self.over = over
        self.lstm = nn.LSTM(channels if over == "time" else channels * n_times, hidden, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.score = nn.Linear(2 * hidden, 1)

    def forward(self, canvas: Tensor) -> Tensor:
        """See the class."""
        steps = canvas.transpose(1, 2) if self.over == "time" else canvas.flatten(1).unsqueeze(1)
        h = self.lstm(steps)[0]  # (B, steps, hidden)
        return self.score(self.dropout(torch.cat([h.mean(dim=1), h[:, -1]], dim=1)))[:, 0]


class LSTMGAN(Generator):
    """A generator and a critic for each class, and their losses.

    Args:
        canvas: what is drawn on.
        n_classes: number of classes.
        n_styles: not used.
        latent: width of the noise at a step.
        hidden: width of the LSTMs.
        dropout: in the critic, in training.
        over: "time", or "beat" for the network as first published.
    """

    turns = ("critic", "generator")

    def __init__(
        self,
        canvas: Canvas,
        n_classes: int,
        n_styles: int,
        *,
        latent: int = 16,
        hidden: int = 64,
        dropout: float = 0.2,
        over: str = "time",
    ) -> None:
        super().__init__()
        self.canvas = canvas
        size = (canvas.channels, canvas.n_times)
        self.generator = nn.ModuleList(LSTMGenerator(*size, latent, hidden, over) for _ in range(n_classes))
        self.critic = nn.ModuleList(LSTMCritic(*size, hidden, dropout, over) for _ in range(n_classes))

    def sample(self, label: Tensor, style: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Labels (B,) -> canvases (B, C+E, T)."""
        order = torch.argsort(label, stable=True)
        counts = torch.bincount(label, minlength=len(self.generator)).tolist()
        drawn = torch.cat([draw(n, rng).float() for draw, n in zip(self.generator, counts, strict=True) if n])
        return self.canvas.finish(drawn[torch.argsort(order)])

    def loss(self, turn: str, real: Tensor, label: Tensor, style: Tensor, step: int) -> dict[str, Tensor]:
        """The loss of the players whose turn it is, on canvases (B, C+E, T)."""
        if turn == "generator":
            return {"loss": F.softplus(-self._score(self.sample(label, style), label)).mean()}
        with torch.no_grad():
            fake = self.sample(label, style)
        d_real, d_fake = self._score(real, label), self._score(fake, label)
        loss = F.softplus(-d_real).mean() + F.softplus(d_fake).mean()
        return {"loss": loss, "margin": (d_real - d_fake).mean().detach()}

    def _score(self, canvas: Tensor, label: Tensor) -> Tensor:
        """Logits (B,), each by the critic of the beat's class."""
        score = canvas.new_zeros(len(label))
        for c, critic in enumerate(self.critic):
            if len(at := torch.nonzero(label == c)[:, 0]):
                score = score.index_put((at,), critic(canvas[at]).float())
        return score
