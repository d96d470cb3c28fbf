"""WGAN-GP: the critic estimates the Wasserstein distance; a gradient penalty keeps its slope near 1.

    critic       E[D(fake)] - E[D(real)] + lambda E[(|grad D(x)| - 1)^2],  x between a real and a fake beat
    generator    -E[D(fake)]

One generator is fitted to all classes, so that the rare classes profit from the frequent ones.

Source: Gulrajani et al. 2017, NeurIPS, "Improved training of Wasserstein GANs", arXiv:1704.00028.

Input: labels (B,), records (B,). Output: canvases (B, C + E, T).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ecg.generators.blocks import ConvCritic, ConvGenerator
from ecg.generators.canvas import Canvas
from ecg.generators.generator import Generator


class WGANGP(Generator):
    """WGAN-GP with convolutional networks.

    Args:
        canvas: converts beats to canvases and back.
        n_classes: number of classes.
        n_records: number of records.
        embedding: of the records: "record", a learned one, or "normal_beats".
        latent: width of the noise.
        hidden: channels at a quarter of the sampling rate.
        n_critic: updates of the critic for each update of the generator.
        penalty: weight of the gradient penalty, lambda.
    """

    def __init__(
        self,
        *,
        canvas: Canvas,
        n_classes: int,
        n_records: int,
        embedding: str,
        latent: int,
        hidden: int,
        n_critic: int,
        penalty: float,
    ) -> None:
        super().__init__()
        self.canvas, self.penalty = canvas, penalty
        beat_size = self.beat_size(canvas, embedding)
        self.generator = ConvGenerator(
            canvas=canvas, n_classes=n_classes, n_records=n_records, latent=latent, hidden=hidden, beat_size=beat_size
        )
        self.critic = ConvCritic(
            in_channels=canvas.n_total + canvas.n_channels,
            n_times=canvas.n_times,
            n_classes=n_classes,
            n_records=n_records,
            hidden=hidden,
            beat_size=beat_size,
        )
        self.update_order = ("critic",) * n_critic + ("generator",)

    def sample(self, label: Tensor, record: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Labels (B,), records (B,) -> canvases (B, C+E, T)."""
        return self.canvas.constrain(self.generator(label, record, rng))

    def loss(self, player: str, real: Tensor, label: Tensor, record: Tensor, step: int) -> dict[str, Tensor]:
        """Returns the loss of a player and, for the critic, the estimated distance and the mean slope."""
        if player == "generator":
            fake = self.canvas.with_texture(self.sample(label, record))
            return {"loss": -self.critic(fake, label, record).float().mean()}
        with torch.no_grad():
            real, fake = self.canvas.with_texture(real), self.canvas.with_texture(self.sample(label, record))
        scores = self.critic(torch.cat([real, fake]), label.repeat(2), record.repeat(2)).float()  # (2 B,)
        d_real, d_fake = scores.chunk(2)  # each (B,)
        distance = d_real.mean() - d_fake.mean()
        slope = self._slope(real, fake, label, record)
        loss = -distance + self.penalty * (slope - 1).square().mean()
        return {"loss": loss, "distance": distance.detach(), "slope": slope.mean().detach()}

    def _slope(self, real: Tensor, fake: Tensor, label: Tensor, record: Tensor) -> Tensor:
        """Returns |grad D(x)| (B,) at a random point x between each real beat and its fake one."""
        epsilon = torch.rand(len(real), 1, 1, device=real.device)
        x = (real + epsilon * (fake - real)).requires_grad_()
        score = self.critic(x, label, record).float().sum()
        (gradient,) = torch.autograd.grad(score, x, create_graph=True)
        slope: Tensor = gradient.flatten(1).norm(dim=1)  # (B, C', T) -> (B, C' T) -> (B,)
        return slope
