from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from ecg.models.cnn import CNN
from ecg.models.cnn_lstm import CNNLSTM
from ecg.models.cnn_lstm_attn import CNNLSTMAttention

NETWORKS = {
    "cnn": (CNN, {}),
    "cnn_lstm": (CNNLSTM, {}),
    "cnn_lstm channels": (CNNLSTM, {"over": "channels"}),
    "cnn_lstm_attn": (CNNLSTMAttention, {}),
    "cnn_lstm_attn channels": (CNNLSTMAttention, {"over": "channels"}),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    ("n_channels", "n_times", "n_classes", "n_rr"), [(1, 187, 5, 0), (2, 192, 4, 8), (1, 24, 2, 3)]
)
def test_shape_gradient_save_and_load(
    name: str, n_channels: int, n_times: int, n_classes: int, n_rr: int, tmp_path: Path
) -> None:
    cls, options = NETWORKS[name]

    def make() -> nn.Module:
        return cls(n_channels, n_times, n_classes, n_rr, hidden=16, **options)

    torch.manual_seed(0)
    network = make()
    signal, rr = torch.randn(64, n_channels, n_times), torch.randn(64, n_rr)
    logits = network(signal, rr)
    assert logits.shape == (64, n_classes)
    logits.square().sum().backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.abs().sum() > 0, key
    torch.save(network.state_dict(), tmp_path / "w.pt")
    other = make()
    other.load_state_dict(torch.load(tmp_path / "w.pt", weights_only=True))
    torch.testing.assert_close(other.eval()(signal, rr), network.eval()(signal, rr))


@pytest.mark.parametrize(
    ("name", "n"), [("cnn", 269_061), ("cnn_lstm channels", 161_541), ("cnn_lstm_attn channels", 136_965)]
)
def test_parameters_of_the_published_networks(name: str, n: int) -> None:
    cls, options = NETWORKS[name]
    assert sum(p.numel() for p in cls(1, 187, 5, **options).parameters()) == n


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_return_logits_not_probabilities(name: str) -> None:
    cls, options = NETWORKS[name]
    torch.manual_seed(0)
    network = cls(1, 187, 5, **options).eval()
    nn.init.constant_(network.head.linear.bias, 3.0)
    assert not torch.allclose(network(torch.randn(8, 1, 187), torch.zeros(8, 0)).sum(dim=1), torch.ones(8))


@pytest.mark.parametrize("name", NETWORKS)
def test_eval_does_not_depend_on_the_batch(name: str) -> None:
    cls, options = NETWORKS[name]
    torch.manual_seed(0)
    network = cls(1, 187, 5, 8, dropout=0.5, **options).eval()
    signal, rr = torch.randn(8, 1, 187), torch.randn(8, 8)
    torch.testing.assert_close(network(signal, rr)[3:4], network(signal[3:4], rr[3:4]), atol=1e-5, rtol=1e-4)


def test_attention_can_be_read_out_and_follows_the_signal() -> None:
    torch.manual_seed(0)
    network = CNNLSTMAttention(1, 187, 5).eval()
    weights = network.attention(torch.randn(4, 1, 187))
    assert weights.shape == (4, 2, 46)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(4, 2))
    assert not torch.allclose(weights[0], weights[1])


def test_rr_features_reach_the_logits() -> None:
    torch.manual_seed(0)
    network = CNN(1, 187, 5, 8).eval()
    signal = torch.randn(2, 1, 187)
    assert not torch.allclose(network(signal, torch.zeros(2, 8)), network(signal, torch.ones(2, 8)))


def test_rhythm_branch_is_trained_alone_for_a_share_of_the_beats() -> None:
    torch.manual_seed(0)
    head = CNN(1, 187, 5, 8).head.train()
    rr = torch.randn(1, 8).expand(4000, 8)
    features = torch.randn(1, 32).expand(4000, 32)
    logits = head(features, rr)
    alone = (logits - head.rhythm(rr)).abs().sum(dim=1) < 1e-5
    assert 0.2 < alone.float().mean() < 0.3
