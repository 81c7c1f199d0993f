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


def test_lower_layers_may_learn_more_slowly(network: VideoNetwork) -> None:
    rates = _rates(network, _config(lr=1.0, layer_decay=0.5, backbone_lr_scale=0.1, saliency_lr_scale=3.0))
    layers = ("stem", "stages.0", "stages.1", "stages.2", "stages.3", "head")
    for index, layer in enumerate(layers):
        expected = 0.5 ** (5 - index) * (1.0 if layer == "head" else 0.1)
        found = [rate for name, (rate, _) in rates.items() if name.startswith(f"backbone.{layer}.")]
        assert found
        assert found == pytest.approx([expected] * len(found)), layer
    assert all(rate == pytest.approx(3.0) for name, (rate, _) in rates.items() if name.startswith("saliency."))


@pytest.mark.parametrize(
    "name", ["ir_csn_50", "nl_i3d_r50", "p3d_63", "r3d_10", "s3d", "tv_r3d_18", "mc3_18", "x3d_xs"]
)
def test_weights_lie_in_the_layers_that_rates_go_by(name: str) -> None:
    layers = ("backbone.stem.", "backbone.stages.0.", "backbone.stages.1.", "backbone.stages.2.", "backbone.stages.3.")
    with torch.device("meta"):
        weights = [key for key, _ in create_model(name, num_classes=3).named_parameters()]
    assert not [key for key in weights if not key.startswith((*layers, "backbone.head."))]


def test_frozen_weights_are_not_stepped() -> None:
    network = create_model("r3d_10?width=0.0625", num_classes=3, frames=8, size=32)
    network.backbone.stem.requires_grad_(False)
    stepped = {id(weight) for group in make_optimizer(network, _config()).param_groups for weight in group["params"]}
    assert stepped == {id(weight) for weight in network.parameters()} - {
        id(weight) for weight in network.backbone.stem.parameters()
    }


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
