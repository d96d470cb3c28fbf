"""WGAN-GP: the critic estimates the Wasserstein distance, held to slope 1 by a gradient penalty.

    critic     E[D(fake)] - E[D(real)] + lambda E[(|grad D(x)| - 1)^2],  x between a real and a synthetic beat
    generator  -E[D(fake)]

Source: Gulrajani et al. 2017, NeurIPS, "Improved training of Wasserstein GANs", arXiv:1704.00028. Here one generator
makes all classes, so that the rare ones borrow from the frequent.

Input: labels (B,), styles (B,). Output: canvases (B, C + E, T).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ecg.generators.blocks import ConvCritic, ConvGenerator
from ecg.generators.canvas import Canvas
from ecg.generators.generator import Generator


class WGANGP(Generator):
    """Generator, critic and their losses.

    Args:
        canvas: what is drawn on.
        n_classes: number of classes.
        n_styles: number of styles.
        latent: width of the noise.
        hidden: channels at a quarter of the sampling rate.
        n_critic: steps of the critic for each of the generator.
        penalty: lambda, the weight of the gradient penalty.
    """

    def __init__(
        self,
        canvas: Canvas,
        n_classes: int,
        n_styles: int,
        *,
        latent: int = 64,
        hidden: int = 64,
        n_critic: int = 3,
        penalty: float = 10.0,
    ) -> None:
        super().__init__()
        self.canvas, self.penalty = canvas, penalty
        size = (canvas.channels, canvas.n_times, n_classes, n_styles)
        drawn = (canvas.n_channels, canvas.n_numbers)
        self.generator = ConvGenerator(*drawn, *size[1:], latent=latent, hidden=hidden)
        seen = (canvas.channels + canvas.n_channels, *size[1:])
        self.critic = ConvCritic(*seen, hidden=hidden)
        self.turns = ("critic",) * n_critic + ("generator",)

    def sample(self, label: Tensor, style: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Labels (B,) and styles (B,) -> canvases (B, C+E, T)."""
        return self.canvas.finish(self.generator(label, style, rng))

    def loss(self, turn: str, real: Tensor, label: Tensor, style: Tensor, step: int) -> dict[str, Tensor]:
        """The loss of the player whose turn it is, and what is worth watching, on canvases (B, C+E, T)."""
        if turn == "generator":
            fake = self.canvas.magnified(self.sample(label, style))
            return {"loss": -self.critic(fake, label, style).float().mean()}
        with torch.no_grad():
            real, fake = self.canvas.magnified(real), self.canvas.magnified(self.sample(label, style))
        d_real, d_fake = self.critic(torch.cat([real, fake]), label.repeat(2), style.repeat(2)).float().chunk(2)
        distance = d_real.mean() - d_fake.mean()
        slope = self._slope(real, fake, label, style)
        loss = -distance + self.penalty * (slope - 1).square().mean()
        return {"loss": loss, "distance": distance.detach(), "slope": slope.mean().detach()}

    def _slope(self, real: Tensor, fake: Tensor, label: Tensor, style: Tensor) -> Tensor:
        """|grad D(x)| (B,) at a random point between each real and its synthetic beat."""
        share = torch.rand(len(real), 1, 1, device=real.device)
        between = (real + share * (fake - real)).requires_grad_()
        score = self.critic(between, label, style).float().sum()
        (gradient,) = torch.autograd.grad(score, between, create_graph=True)
        return gradient.flatten(1).norm(dim=1)
