"""Properties of the sequence layer with every network of the configuration as encoder."""

from __future__ import annotations

import pytest
import torch
from model_factories import make, variants

from ecg.losses import CrossEntropy, Focal
from ecg.models import beat_sequence
from ecg.models.beat_sequence import BeatSequence

NETWORKS = variants("model")
B, L, C, T, R, RHYTHM, P_WAVE = 6, 7, 2, 64, 6, 3, 1


def make_network(
    name: str = "cnn",
    *,
    p_wave_dropout: float = 0.0,
    encoder_dropout: float = 0.0,
    noise: float = 0.0,
    causal: bool = False,
) -> BeatSequence:
    encoder = make({**NETWORKS[name], "n_channels": C, "n_times": T, "n_classes": 3, "n_rr": 0})
    torch.manual_seed(0)
    sizes = {"n_rr": R, "n_rhythm": RHYTHM, "n_p_wave": P_WAVE, "hidden": 8, "encoded": 4}
    dropouts = {
        "dropout": 0.0,
        "p_wave_dropout": p_wave_dropout,
        "encoder_dropout": encoder_dropout,
        "noise": noise,
    }
    return BeatSequence(encoder, classes=["N", "S", "V"], **sizes, **dropouts, causal=causal)


@pytest.fixture
def beats() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.randn(B, L, C, T), torch.randn(B, L, R)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_beat_has_logits_and_every_parameter_a_gradient(
    name: str, beats: tuple[torch.Tensor, torch.Tensor]
) -> None:
    network = make_network(name)
    logits, auxiliary = network.training_logits(*beats)
    assert logits.shape == auxiliary.shape == (B, L, 3)
    (logits.square().sum() + auxiliary.square().sum()).backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.abs().sum() > 0, key


def test_logits_depend_on_earlier_and_later_beats(beats: tuple[torch.Tensor, torch.Tensor]) -> None:
    network = make_network().eval()
    signal, rr = beats
    expected = network(signal, rr)
    for changed in (0, L - 1):
        other = rr.clone()
        other[:, changed] += 2
        assert (network(signal, other)[:, L // 2] - expected[:, L // 2]).abs().max() > 1e-5


def test_logits_of_a_causal_network_depend_on_earlier_beats_only(beats: tuple[torch.Tensor, torch.Tensor]) -> None:
    network = make_network(causal=True).eval()
    signal, rr = beats
    expected = network(signal, rr)
    other_signal, other_rr = signal.clone(), rr.clone()
    other_signal[:, 3] += 2
    other_rr[:, 3] += 2
    logits = network(other_signal, other_rr)
    torch.testing.assert_close(logits[:, :3], expected[:, :3])
    assert (logits[:, 3:] - expected[:, 3:]).abs().amax(dim=(0, 2)).min() > 1e-5


def test_sequences_of_a_batch_are_independent_in_evaluation(beats: tuple[torch.Tensor, torch.Tensor]) -> None:
    network = make_network().eval()
    signal, rr = beats
    torch.testing.assert_close(network(signal, rr)[2:3], network(signal[2:3], rr[2:3]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_parts_of_a_gru_give_its_outputs_states_and_gradients(
    bidirectional: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beat_sequence, "AT_ONCE", 3)
    gru = torch.nn.GRU(4, 5, batch_first=True, bidirectional=bidirectional)
    x, before = torch.randn(2, 10, 4, requires_grad=True), torch.randn(1 + bidirectional, 2, 5)
    for state in (None, before):
        expected, last = gru(x, state)
        outputs = torch.empty_like(expected)
        torch.testing.assert_close(beat_sequence.run_in_parts(gru, x, state, outputs), last)
        torch.testing.assert_close(outputs, expected)
        (gradient,), (of_gru,) = (torch.autograd.grad(y.square().sum(), x) for y in (outputs, expected))
        torch.testing.assert_close(gradient, of_gru)


def test_a_long_record_is_classified_in_parts(
    beats: tuple[torch.Tensor, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = make_network().eval()
    expected = network(*beats)
    monkeypatch.setattr(beat_sequence, "AT_ONCE", 5)
    torch.testing.assert_close(network(*beats), expected, atol=1e-5, rtol=1e-4)


def test_the_logit_of_s_depends_on_rhythm_and_p_waves_only_and_that_of_n_is_0(
    beats: tuple[torch.Tensor, torch.Tensor],
) -> None:
    network = make_network().eval()
    signal, rr = beats
    expected = network(signal, rr)
    assert not expected[..., 0].any()
    kept = RHYTHM + P_WAVE
    shape = torch.cat([rr[:, :, :kept], torch.randn(B, L, R - kept)], dim=2)
    changed = network(torch.randn_like(signal), shape)
    torch.testing.assert_close(changed[..., 1], expected[..., 1])
    assert not torch.allclose(changed[..., 2], expected[..., 2])
    for feature in range(kept):
        other = rr.clone()
        other[:, :, feature] += 1
        assert not torch.allclose(network(signal, other)[..., 1], expected[..., 1])


def test_sequences_without_waveform_depend_on_the_features_only(beats: tuple[torch.Tensor, torch.Tensor]) -> None:
    network = make_network(encoder_dropout=0.9999999)
    signal, rr = beats
    expected = network.embed(signal, rr)
    torch.testing.assert_close(network.embed(torch.randn_like(signal), rr), expected)
    assert not torch.allclose(network.embed(signal, torch.randn_like(rr)), expected)


def test_sequences_without_p_waves_depend_on_the_other_features_only(
    beats: tuple[torch.Tensor, torch.Tensor],
) -> None:
    network = make_network(p_wave_dropout=0.9999999)
    signal, rr = beats
    other = rr.clone()
    other[:, :, RHYTHM : RHYTHM + P_WAVE] = torch.randn(B, L, P_WAVE)
    torch.testing.assert_close(network.embed(signal, other), network.embed(signal, rr))
    assert not torch.allclose(network.eval().embed(signal, other), network.embed(signal, rr))


def test_noise_is_for_training_only(beats: tuple[torch.Tensor, torch.Tensor]) -> None:
    network = make_network(noise=1.0)
    assert not torch.allclose(network.embed(*beats), network.embed(*beats))
    network.eval()
    torch.testing.assert_close(network.embed(*beats), network.embed(*beats))


@pytest.mark.parametrize("loss", [CrossEntropy, Focal])
def test_beats_without_a_label_do_not_enter_the_loss(loss: type[CrossEntropy]) -> None:
    settings = {"gamma": 2.0} if loss is Focal else {}
    made = loss(counts=torch.tensor([8, 4, 2]), class_weights="log", label_smoothing=0.05, **settings)
    logits, label = torch.randn(6, 3), torch.tensor([0, 1, 2, 1, 0, 2])
    masked = torch.where(torch.arange(6) < 4, label, -100)
    torch.testing.assert_close(made(logits, masked), made(logits[:4], label[:4]))


@pytest.mark.parametrize("cuts", [[1], [3, 4], [1, 2, 3, 4, 5, 6]])
def test_a_record_in_parts_has_the_logits_of_the_whole_record(
    beats: tuple[torch.Tensor, torch.Tensor], cuts: list[int]
) -> None:
    network = make_network(causal=True).eval()
    signal, rr = beats
    state, parts = None, []
    for start, end in zip([0, *cuts], [*cuts, L], strict=True):
        logits, state = network.continue_from(state, signal[:, start:end], rr[:, start:end])
        parts.append(logits)
    torch.testing.assert_close(torch.cat(parts, dim=1), network(signal, rr))
