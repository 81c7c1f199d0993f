from __future__ import annotations

import pytest
import torch
from torch import nn

from s2tf_edge.training.optimization.averaging import make_average


def _network(value: float) -> nn.BatchNorm1d:
    norm = nn.BatchNorm1d(1)
    with torch.no_grad():
        for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            assert tensor is not None
            tensor.fill_(value)
    return norm


def test_early_steps_are_forgotten_faster_than_late_ones() -> None:
    average = make_average(_network(7.0), 0.5)
    expected = 0.0
    # Decays of the second step on: 2 / 11, 3 / 12, … up to 0.5.
    for step, value in enumerate((1.0, 2.0, -1.0, 3.0, 5.0, 0.5, 2.5, 4.0, 8.0, 1.0, 3.0, 9.0)):
        average.update_parameters(_network(value))
        decay = min(0.5, (1 + step) / (10 + step)) if step else 0.0
        expected = decay * expected + (1 - decay) * value
        state = average.module.state_dict()
        # The statistics of norms as well.
        for name in ("weight", "bias", "running_mean", "running_var"):
            assert state[name].item() == pytest.approx(expected), name


def test_the_average_is_not_trained() -> None:
    average = make_average(_network(1.0), 0.9)
    assert not any(parameter.requires_grad for parameter in average.parameters())
