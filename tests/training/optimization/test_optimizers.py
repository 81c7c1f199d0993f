from __future__ import annotations

from typing import Any

import pytest
import torch

from s2tf_edge.models import VideoNetwork, create_model
from s2tf_edge.training import TrainConfig
from s2tf_edge.training.optimization.optimizers import make_optimizer, make_schedule


@pytest.fixture(scope="module")
def network() -> VideoNetwork:
    return create_model("s2tf_r3d_10?width=0.0625", num_classes=3, frames=8, size=32)


def _config(**settings: Any) -> TrainConfig:
    return TrainConfig(model="s2tf_r3d_10", **settings)


def _rates(network: VideoNetwork, config: TrainConfig) -> dict[str, tuple[float, float]]:
    """Of each weight its learning rate and decay."""
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    groups = make_optimizer(network, config).param_groups
    listed = [(names[id(p)], (group["lr"], group["weight_decay"])) for group in groups for p in group["params"]]
    assert len(listed) == len(names)
    return dict(listed)


def test_norms_and_biases_have_no_decay(network: VideoNetwork) -> None:
    rates = _rates(network, _config(lr=0.1, weight_decay=0.3))
    for name, parameter in network.named_parameters():
        assert rates[name] == (0.1, 0.3 if parameter.ndim > 1 else 0.0), name


def test_saliency_modules_may_have_a_rate_of_their_own(network: VideoNetwork) -> None:
    config = _config(lr=0.1, saliency_lr_scale=10.0)
    rates = _rates(network, config)
    assert all(rate == pytest.approx(1.0 if name.startswith("saliency.") else 0.1) for name, (rate, _) in rates.items())
    # Logs show the rate of the first group.
    assert make_optimizer(network, config).param_groups[0]["lr"] == pytest.approx(0.1)


def test_sgd_has_nesterov_momentum(network: VideoNetwork) -> None:
    optimizer = make_optimizer(network, _config(optimizer="sgd", momentum=0.8))
    assert isinstance(optimizer, torch.optim.SGD)
    assert all(group["momentum"] == 0.8 and group["nesterov"] for group in optimizer.param_groups)
    plain = make_optimizer(network, _config(optimizer="sgd", momentum=0.0))
    assert not any(group["nesterov"] for group in plain.param_groups)


def test_rates_rise_in_a_line_and_fall_in_half_a_cosine(network: VideoNetwork) -> None:
    config = _config(lr=1.0, warmup=0.25, saliency_lr_scale=2.0)
    optimizer = make_optimizer(network, config)
    schedule = make_schedule(optimizer, config, steps=20)
    seen = []
    for _ in range(20):
        seen.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    first = [rates[0] for rates in seen]
    assert first[:5] == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6])
    assert max(first) == first[5] == pytest.approx(1.0)
    assert first[5:] == sorted(first[5:], reverse=True)
    assert first[-1] < 0.02
    assert all(rates[-1] == pytest.approx(2 * rates[0]) for rates in seen)
