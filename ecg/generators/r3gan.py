"""R3GAN: relativistic pairing loss with zero-centred gradient penalties on real and on synthetic beats.

    critic     E[f(D(fake) - D(real))] + gamma/2 (E[|grad D(real)|^2] + E[|grad D(fake)|^2]),  f(t) = log(1 + exp(t))
    generator  E[f(D(real) - D(fake))]

Source: Huang et al. 2024, NeurIPS, "The GAN is dead; long live the GAN!", arXiv:2501.05441. The networks have no
normalisation layers.

There are two critics. One sees the canvas, the other its fine detail alone, magnified, with a small say in the
generator's loss. Noise and hum are a hundred times smaller than a QRS complex: a critic whose gradient is penalised
overlooks them, and one that sees them magnified beside the rest overlooks the rest.

Critics see real and synthetic beats through the same random augmentation, which is differentiable (Zhao et al. 2020,
NeurIPS, arXiv:2006.10738), since rare classes have few hundred beats.

Input: labels (B,), styles (B,). Output: canvases (B, C + E, T).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
        texture: weight of the critic of the fine detail in the generator's loss.
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
        gamma: float = 0.02,
        penalty_every: int = 4,
        augment: float = 0.05,
        max_shift: int = 2,
        texture: float = 0.1,
    ) -> None:
        super().__init__()
        self.canvas, self.gamma, self.penalty_every = canvas, gamma, penalty_every
        self.augment, self.max_shift, self.texture = augment, max_shift, texture
        size = (canvas.channels, canvas.n_times, n_classes, n_styles)
        drawn = (canvas.n_channels, canvas.n_numbers)
        self.generator = ConvGenerator(*drawn, *size[1:], latent=latent, hidden=hidden)
        self.critic = nn.ModuleDict(
            {
                "shape": ConvCritic(*size, hidden=hidden),
                "texture": ConvCritic(canvas.n_channels, *size[1:], hidden=hidden // 2),
            }
        )

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
        penalise = turn == "critic" and (step // 2) % self.penalty_every == 0
        views = {"shape": (real, fake, 1.0)}
        views["texture"] = (self.canvas.texture(real), self.canvas.texture(fake), self.texture)
        total, logs = real.new_zeros(()), {}
        for name, (x, y, weight) in views.items():
            x, y = self._augment(x), self._augment(y)
            if penalise:
                x, y = x.requires_grad_(), y.requires_grad_()
            d_real, d_fake = (self.critic[name](beats, label, style).float() for beats in (x, y))
            if turn == "generator":
                total = total + weight * F.softplus(d_real - d_fake).mean()
                continue
            total = total + F.softplus(d_fake - d_real).mean()
            logs[f"{name}_margin"] = (d_real - d_fake).mean().detach()
            if penalise:
                r1, r2 = _squared_gradient(d_real, x), _squared_gradient(d_fake, y)
                total = total + self.penalty_every * self.gamma / 2 * (r1 + r2)
                logs |= {f"{name}_r1": r1.detach(), f"{name}_r2": r2.detach()}
        return {"loss": total, **logs}

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
