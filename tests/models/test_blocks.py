from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from ecg.models.blocks import Head, ResidualBlock, ResidualBlocks


@pytest.mark.parametrize("n_times", [10, 11, 187])
@pytest.mark.parametrize("kernel_size", [1, 4, 5])
def test_a_residual_block_halves_the_time_axis(kernel_size: int, n_times: int) -> None:
    block = ResidualBlock(2, 4, kernel_size)
    assert block(torch.randn(3, 2, 1, n_times)).shape == (3, 4, 1, n_times // 2)


def test_a_residual_block_equals_its_one_dimensional_definition() -> None:
    torch.manual_seed(0)
    block = ResidualBlock(2, 4, 5).eval()
    signal = torch.randn(3, 2, 40)

    def convolve(x: torch.Tensor, conv: torch.nn.Conv2d) -> torch.Tensor:
        return F.conv1d(x, conv.weight[:, :, 0], conv.bias)

    def normalise(x: torch.Tensor) -> torch.Tensor:
        return x / (1 + 1e-5) ** 0.5  # batch norm with the initial statistics, mean 0 and variance 1

    skip = convolve(signal, block.conv1)
    h = F.silu(normalise(skip))
    h = F.silu(normalise(convolve(F.pad(h, (4, 0)), block.conv2)))
    h = F.silu(normalise(skip + convolve(F.pad(h, (4, 0)), block.conv3)))
    expected = F.max_pool1d(F.pad(h, (4, 0)), 2)
    torch.testing.assert_close(block(signal.unsqueeze(2)).squeeze(2), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("channels", [(1, 4, 4), (1, 8, 4, 2)])
def test_shorter_beats_than_min_times_lose_their_signal(channels: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    blocks = ResidualBlocks(channels, kernel_size=5).eval()
    assert (blocks(torch.randn(8, 1, blocks.min_times)) != 0).any()
    assert (blocks(torch.randn(8, 1, blocks.min_times - 1)) == 0).all()


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
