from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from ecg.models.blocks import Head, ResidualBlock, ResidualStages


@pytest.mark.parametrize("n_times", [1, 10, 11, 187])
@pytest.mark.parametrize("n_stages", [1, 2, 3])
def test_the_convolution_and_each_later_stage_halve_the_time_axis(n_stages: int, n_times: int) -> None:
    stages = ResidualStages(2, (4, 6, 8)[:n_stages], kernel_size=3)
    shape = (3, (4, 6, 8)[n_stages - 1], math.ceil(n_times / 2**n_stages))
    assert stages(torch.randn(3, 2, n_times)).shape == shape


def test_a_residual_block_equals_its_one_dimensional_definition() -> None:
    torch.manual_seed(0)
    block = ResidualBlock(2, 4, kernel_size=5, stride=2).eval()
    signal = torch.randn(3, 2, 41)

    def convolve(x: torch.Tensor, conv: torch.nn.Module, stride: int = 1) -> torch.Tensor:
        assert isinstance(conv, torch.nn.Conv2d)
        return F.conv1d(x, conv.weight[:, :, 0], stride=stride, padding=conv.weight.shape[-1] // 2)

    def normalise(x: torch.Tensor) -> torch.Tensor:
        return x / (1 + 1e-5) ** 0.5  # batch norm with the initial statistics, mean 0 and variance 1

    h = normalise(convolve(F.silu(normalise(convolve(signal, block.conv1, stride=2))), block.conv2))
    h = h * block.excitation.scale(h.mean(dim=2))[:, :, None]
    skip = convolve(F.avg_pool1d(signal, 2, ceil_mode=True), block.skip[1])
    torch.testing.assert_close(block(signal.unsqueeze(2)).squeeze(2), F.silu(h + skip), atol=1e-5, rtol=1e-4)


def test_the_skip_connection_is_the_identity_where_the_shape_does_not_change() -> None:
    block = ResidualBlock(4, 4, kernel_size=5, stride=1).eval()
    torch.nn.init.zeros_(block.conv2.weight)
    signal = torch.randn(3, 4, 1, 40)
    torch.testing.assert_close(block(signal), F.silu(signal))


def test_a_quarter_of_the_training_beats_is_classified_by_the_rr_features_only() -> None:
    torch.manual_seed(0)
    head = Head(n_features=32, n_rr=8, n_classes=5, dropout=0.0).train()
    rr = torch.randn(1, 8).expand(4000, 8)
    embedded = head.embed(torch.randn(1, 32).expand(4000, 32), rr)
    assert head.rr_branch is not None
    rr_only = (head(embedded) - head.rr_branch(embedded[:, 32:])).abs().sum(dim=1) < 1e-5
    assert 0.2 < rr_only.float().mean() < 0.3


def test_all_beats_are_classified_by_both_kinds_of_features_in_evaluation_mode() -> None:
    torch.manual_seed(0)
    head = Head(n_features=32, n_rr=8, n_classes=5, dropout=0.5).eval()
    features, rr = torch.randn(1, 32).expand(100, 32), torch.randn(1, 8).expand(100, 8)
    logits = head(head.embed(features, rr))
    torch.testing.assert_close(logits, logits[:1].expand(100, 5))
    assert not torch.allclose(logits, head(head.embed(2 * features, rr)))
