from __future__ import annotations

import torch

from ecg.generators.bootstrap import ScalarBootstrap


def test_scalars_follow_the_distribution_of_their_class_and_record() -> None:
    rng = torch.Generator().manual_seed(0)
    label, record = torch.randint(3, (900,), generator=rng), torch.randint(2, (900,), generator=rng)
    centre = (4 * label + record).float()
    scalars = torch.stack([centre, -centre], dim=1) + 0.1 * torch.randn(900, 2, generator=rng)
    bootstrap = ScalarBootstrap(n_scalars=2, n_classes=3, n_records=2)
    bootstrap.fit(scalars, label, record)
    for c in range(3):
        for r in range(2):
            sampled = bootstrap(torch.full((2000,), c), torch.full((2000,), r), rng)
            group = scalars[(label == c) & (record == r)]
            assert torch.allclose(sampled.mean(0), group.mean(0), atol=0.03)
            assert torch.allclose(sampled.std(0), group.std(0), rtol=0.2)
            # The two scalars of a beat stay together, and none is a copy.
            assert torch.corrcoef(sampled.T)[0, 1].sub(torch.corrcoef(group.T)[0, 1]).abs() < 0.2
            assert len(sampled.unique(dim=0)) == 2000
