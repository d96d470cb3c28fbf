"""R3GAN: relativistic pairing loss with zero-centred gradient penalties on real and fake beats.

    critic       E[f(D(fake) - D(real))] + gamma/2 (E[|grad D(real)|^2] + E[|grad D(fake)|^2]),  f(t) = log(1 + exp(t))
    generator    E[f(D(real) - D(fake))]

There are two critics. The input of one is the canvas, that of the other its texture, the amplified fine detail. The
second one has a small weight in the generator's loss. Noise and hum are a hundred times smaller than a QRS complex: a
critic with a gradient penalty ignores them in the canvas, and ignores the rest if the texture is appended.

The critics receive real and fake beats after the same differentiable random augmentation, since rare classes have only
a few hundred beats. Packed critics receive two beats of a class and record at a time, so that they see how much the
beats of a record vary.

Source: Huang et al. 2024, NeurIPS, "The GAN is dead; long live the GAN!", arXiv:2501.05441.
Source of the augmentation: Zhao et al. 2020, NeurIPS, arXiv:2006.10738.
Source of packed critics: Lin et al. 2018, NeurIPS, "PacGAN: the power of two samples", arXiv:1712.04086.

Input: labels (B,), records (B,). Output: canvases (B, C + E, T).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecg.generators.blocks import ConvCritic, ConvGenerator
from ecg.generators.canvas import Canvas
from ecg.generators.generator import Generator


class R3GAN(Generator):
    """R3GAN with convolutional networks.

    Args:
        canvas: converts beats to canvases and back.
        n_classes: number of classes.
        n_records: number of records.
        embedding: of the records: "record", a learned one, or "normal_beats".
        latent: width of the noise.
        hidden: channels at a quarter of the sampling rate.
        gamma: weight of the gradient penalties.
        penalty_every: updates of the critics from one penalty to the next; the penalty is multiplied by this number.
        augment: standard deviation of scale and offset in the augmentation, in units of the canvas.
        max_shift: largest shift in the augmentation, in samples.
        texture: weight of the texture critic in the loss of the generator.
        packed: whether the critics receive two beats at a time. The second half of a batch then has the classes and
            records of the first half, in the same order.
    """

    update_order = ("critic", "generator")

    def __init__(
        self,
        *,
        canvas: Canvas,
        n_classes: int,
        n_records: int,
        embedding: str,
        latent: int,
        hidden: int,
        gamma: float,
        penalty_every: int,
        augment: float,
        max_shift: int,
        texture: float,
        packed: bool,
    ) -> None:
        super().__init__()
        self.canvas, self.gamma, self.penalty_every = canvas, gamma, penalty_every
        self.augment, self.max_shift, self.pack = augment, max_shift, 1 + packed
        self.weights = {"shape": 1.0, "texture": texture}  # of the critics in the loss of the generator
        beat_size = self.beat_size(canvas, embedding)
        self.generator = ConvGenerator(
            canvas=canvas, n_classes=n_classes, n_records=n_records, latent=latent, hidden=hidden, beat_size=beat_size
        )

        def critic(in_channels: int, hidden: int) -> ConvCritic:
            return ConvCritic(
                in_channels=self.pack * in_channels,
                n_times=canvas.n_times,
                n_classes=n_classes,
                n_records=n_records,
                hidden=hidden,
                beat_size=beat_size,
            )

        shape, texture_critic = critic(canvas.n_total, hidden), critic(canvas.n_channels, hidden // 2)
        self.critic = nn.ModuleDict({"shape": shape, "texture": texture_critic})

    def sample(self, label: Tensor, record: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Labels (B,), records (B,) -> canvases (B, C+E, T)."""
        return self.canvas.constrain(self.generator(label, record, rng))

    def loss(self, player: str, real: Tensor, label: Tensor, record: Tensor, step: int) -> dict[str, Tensor]:
        """Returns the loss of a player and, for each critic, the margin and the squared gradients."""
        if player == "generator":
            return self._generator_loss(real, self.sample(label, record), label, record)
        with torch.no_grad():
            fake = self.sample(label, record)
        penalise = (step // len(self.update_order)) % self.penalty_every == 0
        return self._critic_loss(real, fake, label, record, penalise)

    def _generator_loss(self, real: Tensor, fake: Tensor, label: Tensor, record: Tensor) -> dict[str, Tensor]:
        loss = real.new_zeros(())
        for name, (x, y) in self._inputs(real, fake).items():
            d_real, d_fake = self._scores(name, (self._augment(x), self._augment(y)), label, record)
            loss = loss + self.weights[name] * F.softplus(d_real - d_fake).mean()
        return {"loss": loss}

    def _critic_loss(
        self, real: Tensor, fake: Tensor, label: Tensor, record: Tensor, penalise: bool
    ) -> dict[str, Tensor]:
        loss, logs = real.new_zeros(()), {}
        for name, (x, y) in self._inputs(real, fake).items():
            x, y = self._augment(x).requires_grad_(penalise), self._augment(y).requires_grad_(penalise)
            d_real, d_fake = self._scores(name, (x, y), label, record)
            loss = loss + F.softplus(d_fake - d_real).mean()
            logs[f"{name}_margin"] = (d_real - d_fake).mean().detach()
            if penalise:
                r1, r2 = _squared_gradient(d_real, x), _squared_gradient(d_fake, y)
                loss = loss + self.penalty_every * self.gamma / 2 * (r1 + r2)
                logs |= {f"{name}_r1": r1.detach(), f"{name}_r2": r2.detach()}
        return {"loss": loss, **logs}

    def _inputs(self, real: Tensor, fake: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """Returns the real and fake input of each critic."""
        return {"shape": (real, fake), "texture": (self.canvas.texture(real), self.canvas.texture(fake))}

    def _scores(self, name: str, inputs: tuple[Tensor, Tensor], label: Tensor, record: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the scores (B / pack,) of the real and of the fake input of a critic."""
        n = len(label) // self.pack
        # (B, C', T) -> (B / pack, pack C', T); the parts of the batch have the same labels and records
        real, fake = (torch.cat(x[: n * self.pack].split(n), dim=1) for x in inputs)
        label, record = label[:n], record[:n]
        critic = self.critic[name]
        return critic(real, label, record).float(), critic(fake, label, record).float()

    def _augment(self, x: Tensor) -> Tensor:
        """Scales, offsets and shifts beats (B, C', T) at random, all channels alike.

        Each change is applied to half of the beats. The generator would reproduce the changes if all beats had them.
        """
        n, _, n_times = x.shape
        applied = torch.rand(3, n, 1, 1, device=x.device) < 0.5
        noise = torch.randn(2, n, 1, 1, device=x.device) * self.augment
        x = x * (1 + applied[0] * noise[0]) + applied[1] * noise[1]
        shift = torch.randint(-self.max_shift, self.max_shift + 1, (n, 1), device=x.device) * applied[2][:, :, 0]
        index = (torch.arange(n_times, device=x.device) + shift).clamp(0, n_times - 1)  # (B, T)
        return x.gather(2, index[:, None].expand_as(x))  # (B, 1, T) -> (B, C', T)


def _squared_gradient(score: Tensor, x: Tensor) -> Tensor:
    """Returns E[|grad D(x)|^2]."""
    (gradient,) = torch.autograd.grad(score.sum(), x, create_graph=True)
    return gradient.square().sum(dim=(1, 2)).mean()
