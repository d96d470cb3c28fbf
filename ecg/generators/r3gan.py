"""R3GAN: relativistic pairing loss with zero-centred gradient penalties on real and on synthetic beats.

    critic     E[f(D(fake) - D(real))] + gamma/2 (E[|grad D(real)|^2] + E[|grad D(fake)|^2]),  f(t) = log(1 + exp(t))
    generator  E[f(D(real) - D(fake))]

Source: Huang et al. 2024, NeurIPS, "The GAN is dead; long live the GAN!", arXiv:2501.05441. The networks have no
normalisation layers. The critic sees real and synthetic beats through the same random augmentation, which is
differentiable (Zhao et al. 2020, NeurIPS, arXiv:2006.10738), since rare classes have few hundred beats.

Input: labels (B,), styles (B,). Output: canvases (B, C + E, T).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ecg.generators.blocks import ConvCritic, ConvGenerator
from ecg.generators.canvas import Canvas
from ecg.generators.generator import Generator


class R3GAN(Generator):
    """Generator, critic and their losses.

    Args:
        canvas: what is drawn on.
        n_classes: number of classes.
        n_styles: number of styles.
        latent: width of the noise.
        hidden: channels at a quarter of the sampling rate.
        gamma: weight of the gradient penalties.
        penalty_every: steps of the critic from one penalty to the next; it then weighs as much more.
        augment: standard deviation of the stretch and of the offset before the critic, in units of the canvas.
        max_shift: most samples a beat moves before the critic.
    """

    turns = ("critic", "generator")

    def __init__(
        self,
        canvas: Canvas,
        n_classes: int,
        n_styles: int,
        *,
        latent: int = 64,
        hidden: int = 64,
        gamma: float = 0.05,
        penalty_every: int = 4,
        augment: float = 0.05,
        max_shift: int = 2,
    ) -> None:
        super().__init__()
        self.canvas, self.gamma, self.penalty_every = canvas, gamma, penalty_every
        self.augment, self.max_shift = augment, max_shift
        size = (canvas.channels, canvas.n_times, n_classes, n_styles)
        self.generator = ConvGenerator(*size, latent=latent, hidden=hidden)
        seen = (canvas.channels + canvas.n_channels, *size[1:])
        self.critic = ConvCritic(*seen, hidden=hidden)

    def sample(self, label: Tensor, style: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Labels (B,) and styles (B,) -> canvases (B, C+E, T)."""
        return self.canvas.finish(self.generator(label, style, rng))

    def loss(self, turn: str, real: Tensor, label: Tensor, style: Tensor, step: int) -> dict[str, Tensor]:
        """The loss of the player whose turn it is, and what is worth watching, on canvases (B, C+E, T)."""
        if turn == "critic":
            with torch.no_grad():
                fake = self.sample(label, style)
        else:
            fake = self.sample(label, style)
        real, fake = (self.canvas.magnified(self._augment(beats)) for beats in (real, fake))
        penalise = turn == "critic" and (step // 2) % self.penalty_every == 0
        if penalise:
            real, fake = real.requires_grad_(), fake.requires_grad_()
        d_real, d_fake = self.critic(real, label, style).float(), self.critic(fake, label, style).float()
        if turn == "generator":
            return {"loss": F.softplus(d_real - d_fake).mean()}
        loss = F.softplus(d_fake - d_real).mean()
        logs = {"loss": loss, "margin": (d_real - d_fake).mean().detach()}
        if penalise:
            r1, r2 = _squared_gradient(d_real, real), _squared_gradient(d_fake, fake)
            logs["loss"] = loss + self.penalty_every * self.gamma / 2 * (r1 + r2)
            logs |= {"r1": r1.detach(), "r2": r2.detach()}
        return logs

    def _augment(self, canvas: Tensor) -> Tensor:
        """The same random stretch, offset and shift of every channel, for half of the beats each.

        Half of the beats stay as they are, so that the generator cannot take the alterations for the data.
        """
        n, _, n_times = canvas.shape
        some = torch.rand(3, n, 1, 1, device=canvas.device) < 0.5
        noise = torch.randn(2, n, 1, 1, device=canvas.device) * self.augment
        canvas = canvas * (1 + some[0] * noise[0]) + some[1] * noise[1]
        shift = torch.randint(-self.max_shift, self.max_shift + 1, (n, 1), device=canvas.device) * some[2][:, :, 0]
        at = (torch.arange(n_times, device=canvas.device) + shift).clamp(0, n_times - 1)  # (B, T)
        return canvas.gather(2, at[:, None].expand_as(canvas))


def _squared_gradient(score: Tensor, at: Tensor) -> Tensor:
    """E[|grad D(x)|^2]."""
    (gradient,) = torch.autograd.grad(score.sum(), at, create_graph=True)
    return gradient.square().sum(dim=(1, 2)).mean()
