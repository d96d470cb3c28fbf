"""Properties of every network of the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from model_factories import defaults, make, variants

from ecg.models.network import Network

NETWORKS = variants("model")
SHAPE = {"n_channels": 1, "n_times": 187, "n_classes": 5, "n_rr": 8}


def make_network(name: str, **overrides: Any) -> Network:
    network: Network = make({**NETWORKS[name], **SHAPE, **overrides})
    return network


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    ("n_channels", "n_times", "n_classes", "n_rr"), [(1, 187, 5, 0), (2, 192, 4, 8), (1, None, 2, 3)]
)
def test_logits_gradients_and_reloaded_weights(
    name: str, n_channels: int, n_times: int | None, n_classes: int, n_rr: int, tmp_path: Path
) -> None:
    n_times = n_times or make_network(name).min_times
    shape = {"n_channels": n_channels, "n_times": n_times, "n_classes": n_classes, "n_rr": n_rr}
    network = make_network(name, **shape)
    signal, rr = torch.randn(64, n_channels, n_times), torch.randn(64, n_rr)
    logits = network(signal, rr)
    assert logits.shape == (64, n_classes)
    logits.square().sum().backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.abs().sum() > 0, key
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    other = make_network(name, **shape)
    other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    torch.testing.assert_close(other.eval()(signal, rr), network.eval()(signal, rr))


@pytest.mark.parametrize("kernel_size", [3, 7])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_sample_of_the_shortest_beats_influences_the_logits(name: str, kernel_size: int) -> None:
    n_times = make_network(name, kernel_size=kernel_size).min_times
    network = make_network(name, kernel_size=kernel_size, n_times=n_times).eval()
    signal = torch.randn(64, 1, n_times, requires_grad=True)
    network(signal, torch.zeros(64, 8)).square().sum().backward()
    assert signal.grad is not None
    assert (signal.grad.abs().sum(dim=(0, 1)) > 0).all()


@pytest.mark.parametrize("name", NETWORKS)
def test_shortest_length_is_known_for_beats_that_are_too_short(name: str) -> None:
    assert make_network(name, n_times=2).min_times == make_network(name).min_times


@pytest.mark.parametrize(("option", "min_times"), [("cnn", 16), ("cnn_lstm", 8), ("cnn_lstm_attn", 8)])
def test_shortest_length(option: str, min_times: int) -> None:
    assert make_network(option).min_times == min_times


@pytest.mark.parametrize("option", NETWORKS)
def test_number_of_parameters_of_the_default_networks(option: str) -> None:
    network = make(defaults("model", option), n_channels=1, n_times=187, n_classes=5, n_rr=0)
    n = sum(p.numel() for p in network.parameters())
    assert n == {"cnn": 210_061, "cnn_lstm": 121_365, "cnn_lstm_attn": 127_765}[option]


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_return_logits_not_probabilities(name: str) -> None:
    logits = make_network(name).eval()(torch.randn(8, 1, 187), torch.zeros(8, 8))
    assert not torch.allclose(logits.sum(dim=1), torch.ones(8))
    assert (logits < 0).any()


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_of_a_beat_do_not_depend_on_the_batch_in_evaluation_mode(name: str) -> None:
    dropout = {"dropout": 0.5} if "dropout" in NETWORKS[name] else {}
    network = make_network(name, **dropout).eval()
    signal, rr = torch.randn(8, 1, 187), torch.randn(8, 8)
    torch.testing.assert_close(network(signal, rr)[3:4], network(signal[3:4], rr[3:4]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_signal_and_rr_features_influence_the_logits(name: str) -> None:
    network = make_network(name).eval()
    signal, rr = torch.randn(2, 1, 187), torch.zeros(2, 8)
    assert not torch.allclose(network(signal, rr), network(signal, rr + 1))
    assert not torch.allclose(network(signal, rr), network(signal + torch.randn(2, 1, 187), rr))


@pytest.mark.parametrize("name", NETWORKS)
def test_embedding_is_the_waveform_features_and_the_standardised_rr_features(name: str) -> None:
    signal, rr = torch.randn(64, 1, 187), 3 + 2 * torch.randn(64, 8)
    waveform = make_network(name, n_rr=0).train().embed(signal, rr[:, :0])
    embedding = make_network(name).train().embed(signal, rr)
    assert embedding.shape == (64, waveform.shape[1] + 8)
    torch.testing.assert_close(embedding[:, :-8], waveform)
    torch.testing.assert_close(
        embedding[:, -8:], (rr - rr.mean(dim=0)) / rr.std(dim=0, correction=0), atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_waveform_features_depend_on_the_signal(name: str) -> None:
    network = make_network(name).eval()
    rr = torch.zeros(2, 8)
    first, second = network.embed(torch.randn(2, 1, 187), rr), network.embed(torch.randn(2, 1, 187), rr)
    assert not torch.allclose(first[:, :-8], second[:, :-8])


def test_attention_weights_sum_to_one_and_depend_on_the_signal() -> None:
    network = make_network("cnn_lstm_attn").eval()
    weights = network.attention(torch.randn(4, 1, 187))
    assert weights.shape == (4, 2, 47)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(4, 2))
    assert not torch.allclose(weights[0], weights[1])
