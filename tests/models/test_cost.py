import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from s2tf_edge.models import VideoNetwork, create_model, network_cost
from s2tf_edge.models.saliency import FeaturePreserver, SaliencyPath


def on_meta(name: str) -> VideoNetwork:
    with torch.device("meta"):
        return create_model(name, num_classes=400)


@pytest.mark.parametrize(
    ("name", "millions", "giga_macs"),
    [("nl_i3d_r50", 35.4, 36.5), ("ssf_nl_i3d_r50", 46.4, 56.3), ("s2tf_nl_i3d_r50", 46.5, 57.4)],
)
def test_the_published_form_costs_what_the_released_code_does(name: str, millions: float, giga_macs: float) -> None:
    cost = network_cost(on_meta(name))
    assert cost.parameters / 1e6 == pytest.approx(millions, abs=0.05)
    assert cost.published_macs / 1e9 == pytest.approx(giga_macs, abs=0.05)
    assert cost.inference_macs <= cost.training_macs <= cost.published_macs
    assert (cost.training_macs < cost.published_macs) == name.startswith("s2tf_")


@pytest.mark.slow
def test_tsfp_alone_costs_x3d_s_as_much_again() -> None:
    added = network_cost(on_meta("s2tf_x3d_s")).published_macs - network_cost(on_meta("ssf_x3d_s")).published_macs
    assert added / 1e9 == pytest.approx(1.9, abs=0.05)


def test_the_inference_form_saves_what_only_meets_padding() -> None:
    cost = network_cost(on_meta("r3d_18"))
    assert cost.inference_parameters < 0.55 * cost.parameters
    assert cost.saved == pytest.approx(1 - cost.inference_macs / cost.training_macs)
    assert 0.02 < cost.saved < 0.04


def test_leaves_the_network_as_it_was() -> None:
    model = create_model("s2tf_r3d_10?width=0.0625", num_classes=2, frames=4, size=24).train()
    before = copy.deepcopy(model.state_dict())
    network_cost(model)
    assert model.training
    assert not model.is_inference
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def macs(run: Callable[..., Tensor], *inputs: Tensor) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        run(*inputs)
    return int(counter.get_total_flops()) // 2


class PublishedEdges(nn.Module):
    """An edge branch as released: every frame goes through all layers before the stride in time."""

    def __init__(self, preserver: FeaturePreserver, stride: int) -> None:
        super().__init__()
        self.convs = preserver.convs
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        for conv in self.convs:
            assert isinstance(conv, nn.Conv3d)
            step = (self.stride, 2, 2) if conv.stride[1] == 2 else (1, 1, 1)
            x = functional.conv3d(x, conv.weight, None, step, conv.padding)
        return x


@pytest.mark.parametrize(
    "name", ["s2tf_r3d_10?width=0.1&frames=13&size=45", "s2tf_i3d_r50?width=0.1&size=40", "s2tf_x3d_xs?size=33"]
)
def test_counts_the_published_edge_branches_as_they_run(name: str) -> None:
    model = on_meta(name)
    path = model.saliency
    assert isinstance(path, SaliencyPath)
    spared = 0
    for index, preserver in enumerate(path.preservers):
        assert isinstance(preserver, FeaturePreserver)
        shape, stride = model.backbone.shapes[index], path.strides[index]
        seen = torch.empty(1, 1, shape.frames * (index + 1), shape.size, shape.size, device="meta")
        kept = torch.empty(1, 1, shape.frames, shape.size, shape.size, device="meta")
        spared += macs(PublishedEdges(preserver, stride * (index + 1)), seen)
        spared -= macs(preserver.find_edges, kept[:, :, ::stride])
    cost = network_cost(model)
    assert spared > 0
    assert cost.published_macs - cost.training_macs == spared
