from __future__ import annotations

import torch
from torch import nn

from s2tf_edge.training.optimization.norms import measure_norms, statistics_of


def _network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv3d(3, 4, 1), nn.BatchNorm3d(4), nn.Conv3d(4, 2, 1), nn.BatchNorm3d(2))


def test_statistics_are_the_means_over_all_batches() -> None:
    network = _network().eval()
    clips = [torch.randn(5, 3, 2, 4, 4) * scale for scale in (1.0, 2.0, 3.0)]
    measure_norms(network, clips)
    before = [network[0](each) for each in clips]
    mean = torch.stack([each.mean((0, 2, 3, 4)) for each in before]).mean(0)
    variance = torch.stack([each.var((0, 2, 3, 4)) for each in before]).mean(0)
    first_mean, first_variance, _, _ = statistics_of(network)
    torch.testing.assert_close(first_mean, mean)
    torch.testing.assert_close(first_variance, variance)


def test_modes_momentum_and_weights_stay() -> None:
    network = _network()
    network[3].eval()
    weights = [weight.clone() for weight in network.parameters()]
    measure_norms(network, [torch.randn(5, 3, 2, 4, 4)])
    assert [module.training for module in network] == [True, True, True, False]
    assert network[1].momentum == network[3].momentum == 0.1
    assert all(torch.equal(a, b) for a, b in zip(weights, network.parameters(), strict=True))


def test_frozen_norms_keep_their_statistics() -> None:
    network = _network()
    first = [value.clone() for value in statistics_of(network)]
    measure_norms(network, [torch.randn(5, 3, 2, 4, 4)], frozen=["1"])
    moved = [not torch.equal(a, b) for a, b in zip(first, statistics_of(network), strict=True)]
    assert moved == [False, False, True, True]
