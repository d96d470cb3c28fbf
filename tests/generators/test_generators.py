"""Properties of every generator of the configuration."""

from __future__ import annotations

import io

import pytest
import torch
from model_factories import WINDOWS, make, make_canvas, make_signals, variants

from ecg.generators.generator import Generator
from ecg.generators.r3gan import R3GAN
from ecg.generators.rectified_flow import RectifiedFlow

N_CLASSES, N_RECORDS = 3, 4
GENERATORS = variants("generator")
for conv in ("wgan_gp", "r3gan", "rectified_flow"):
    GENERATORS[f"{conv} embedding=normal_beats"] = {**GENERATORS[conv], "embedding": "normal_beats"}
GENERATORS["lstm_gan over=time"] = {**GENERATORS["lstm_gan"], "over": "time"}
GENERATORS["r3gan packed=true"] = {**GENERATORS["r3gan"], "packed": True}
GENERATORS["rectified_flow guidance=2"] = {**GENERATORS["rectified_flow"], "guidance": 2.0}
LABEL, RECORD = torch.arange(12) % N_CLASSES, torch.arange(12) % N_RECORDS


def make_generator(name: str, window: str = "kaggle") -> Generator:
    canvas = make_canvas(window)
    generator: Generator = make(GENERATORS[name], canvas=canvas, n_classes=N_CLASSES, n_records=N_RECORDS)
    generator.prepare(make_signals(window), LABEL, RECORD)
    generator.embed_records(make_signals(window)[:N_RECORDS].repeat(5, 1, 1), torch.arange(N_RECORDS).repeat(5))
    return generator


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("name", GENERATORS)
def test_the_loss_of_each_player_has_finite_gradients(name: str, window: str) -> None:
    generator = make_generator(name, window)
    real = generator.canvas.encode(make_signals(window))
    for step, player in enumerate(generator.update_order):
        logs = generator.loss(player, real, LABEL, RECORD, step)
        assert all(value.ndim == 0 for value in logs.values())
        generator.zero_grad()
        logs["loss"].backward()
        gradients = [p.grad for p in getattr(generator, player).parameters() if p.grad is not None]
        assert gradients
        assert all(gradient.isfinite().all() for gradient in gradients)
        assert any((gradient != 0).any() for gradient in gradients)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("name", GENERATORS)
def test_samples_depend_on_the_random_generator_only(name: str, window: str) -> None:
    generator = make_generator(name, window).eval()
    first, same, other = (generator.sample(LABEL, RECORD, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert first.shape == generator.canvas.encode(make_signals(window)).shape
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("name", GENERATORS)
def test_samples_meet_the_constraints_of_the_window(name: str, window: str) -> None:
    generator = make_generator(name, window).eval()
    canvas = generator.sample(LABEL, RECORD, torch.Generator().manual_seed(1)).detach()
    torch.testing.assert_close(generator.canvas.constrain(canvas), canvas, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", GENERATORS)
def test_reloaded_weights_give_the_same_samples(name: str) -> None:
    generator = make_generator(name).eval()
    file = io.BytesIO()
    torch.save(generator.state_dict(), file)
    file.seek(0)
    other = make(GENERATORS[name], canvas=make_canvas("kaggle"), n_classes=N_CLASSES, n_records=N_RECORDS).eval()
    other.load_state_dict(torch.load(file, weights_only=True))
    samples = [g.sample(LABEL, RECORD, torch.Generator().manual_seed(1)) for g in (generator, other)]
    assert torch.equal(*samples)


def test_lstm_gan_updates_the_pair_of_the_batch_classes_only() -> None:
    generator = make_generator("lstm_gan")
    real = generator.canvas.encode(make_signals("kaggle"))
    label = torch.ones(12, dtype=torch.int64)
    generator.loss("critic", real, label, label, 0)["loss"].backward()
    with_gradient = {name for name, p in generator.named_parameters() if p.grad is not None and p.grad.any()}
    assert with_gradient
    assert all(name.startswith("critic.1.") for name in with_gradient)


def test_wgan_gp_updates_the_critic_n_critic_times_for_each_update_of_the_generator() -> None:
    settings = {**GENERATORS["wgan_gp"], "n_critic": 2}
    generator = make(settings, canvas=make_canvas("kaggle"), n_classes=N_CLASSES, n_records=N_RECORDS)
    assert generator.update_order == ("critic", "critic", "generator")
    assert generator.players == ["critic", "generator"]


def test_r3gan_penalises_the_gradient_in_every_nth_update_of_the_critics() -> None:
    settings = {**GENERATORS["r3gan"], "penalty_every": 2}
    generator: R3GAN = make(settings, canvas=make_canvas("kaggle"), n_classes=N_CLASSES, n_records=N_RECORDS)
    real = generator.canvas.encode(make_signals("kaggle"))
    penalised = ["shape_r1" in generator.loss("critic", real, LABEL, RECORD, step) for step in (0, 2, 4, 6)]
    assert penalised == [True, False, True, False]


def test_packed_critics_score_two_beats_together() -> None:
    generator: R3GAN = make(
        {**GENERATORS["r3gan"], "packed": True, "augment": 0.0, "max_shift": 0},
        canvas=make_canvas("kaggle"),
        n_classes=N_CLASSES,
        n_records=N_RECORDS,
    )
    real = generator.canvas.encode(make_signals("kaggle"))
    label, record = LABEL[:6].repeat(2), RECORD[:6].repeat(2)
    scores = generator._scores("shape", (real, real), label, record)[0]
    assert scores.shape == (6,)
    changed = real.clone()
    changed[7] = real[8]  # the partner of beat 1
    different = generator._scores("shape", (changed, real), label, record)[0] != scores
    assert different.tolist() == [False, True, False, False, False, False]


@pytest.mark.parametrize("name", [name for name in GENERATORS if "normal_beats" in name])
def test_a_record_is_embedded_by_its_normal_beats(name: str) -> None:
    generator = make_generator(name, "centered").eval()
    assert generator.known_records is not None
    assert generator.known_records[:N_RECORDS].all()
    label, record = torch.zeros(2, dtype=torch.int64), torch.tensor([0, 1])
    before = generator.sample(label, record, torch.Generator().manual_seed(0))
    of_record_0 = make_signals("centered")[:1].repeat(5, 1, 1)
    generator.embed_records(of_record_0, torch.ones(5, dtype=torch.int64))
    alike = [module.record_embedding for module in generator.modules() if hasattr(module, "record_embedding")]
    assert all(torch.allclose(*embed(record), atol=1e-4) for embed in alike)
    after = generator.sample(label, record, torch.Generator().manual_seed(0))
    assert torch.equal(before[0], after[0])


def test_records_with_few_normal_beats_stay_unknown() -> None:
    settings = {**GENERATORS["r3gan embedding=normal_beats"]}
    generator = make(settings, canvas=make_canvas("centered"), n_classes=N_CLASSES, n_records=N_RECORDS)
    generator.embed_records(make_signals("centered"), torch.tensor([0] * 4 + [2] * 8))
    assert generator.known_records.tolist() == [False, False, True, False]
    assert make_generator("r3gan").known_records is None


@pytest.mark.slow
def test_rectified_flow_reproduces_a_single_beat() -> None:
    canvas = make_canvas("kaggle")
    signal = torch.zeros(1, 1, 187)
    signal[0, 0, :100] = ((torch.linspace(0, 6, 100).cos() / 2 + 0.5) * 300).round() / 300
    real = canvas.encode(signal).expand(32, -1, -1)
    torch.manual_seed(0)
    settings = {"embedding": "record", "hidden": 16, "steps": 10, "guidance": 1.0, "unconditional": 0.0}
    flow = RectifiedFlow(canvas=canvas, n_classes=1, n_records=1, **settings)
    optimizer = torch.optim.Adam(flow.parameters(), 3e-3)
    zero = torch.zeros(32, dtype=torch.int64)

    def error() -> float:
        with torch.no_grad():
            sample = flow.sample(zero, zero, torch.Generator().manual_seed(0))
            return float((sample - real)[:, 0].abs().mean())

    before = error()
    for step in range(200):
        optimizer.zero_grad()
        flow.loss("velocity", real, zero, zero, step)["loss"].backward()
        optimizer.step()
    assert error() < before / 2
