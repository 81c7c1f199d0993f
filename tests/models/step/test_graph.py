"""The graph of one step says what the network says, and keeps of the past what it should."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from s2tf_edge.errors import UsageError
from s2tf_edge.models import VideoNetwork, create_model
from s2tf_edge.models.step import StepGraph, describe_step

pytestmark = pytest.mark.usefixtures("tiny_x3d")

NAMES = (
    "x3d_tiny?width=0.25&causal=true",
    "ssf_x3d_tiny?width=0.25&causal=true",
    "s2tf_x3d_tiny?width=0.25&causal=true",
    "s2tf_x3d_tiny?width=0.25&causal=true&motion=true",
)
EXACT: dict[str, Any] = {"atol": 1e-10, "rtol": 0}
Past = dict[str, list[Tensor]]


@pytest.fixture(params=NAMES)
def network(request: pytest.FixtureRequest) -> VideoNetwork:
    """The inference form in float64, with norms as training leaves them."""
    torch.manual_seed(0)
    network = create_model(request.param, num_classes=5, frames=5, size=32).double().eval()
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm3d):
            assert norm.running_mean is not None
            assert norm.running_var is not None
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            norm.running_mean.uniform_(-0.2, 0.2)
            norm.running_var.uniform_(0.5, 1.5)
    return network.to_inference()


def _frames(count: int, *, batch: int = 1) -> Tensor:
    return torch.randn(batch, 3, count, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def _start(graph: StepGraph, batch: int = 1) -> Past:
    zeros = {state.name: torch.zeros(batch, *state.shape, dtype=torch.float64) for state in graph.states}
    return {state.name: [zeros[state.name]] * state.slots for state in graph.states}


@torch.no_grad()
def _step(graph: StepGraph, frame: Tensor, past: Past) -> tuple[Tensor, Past]:
    logits, *fresh = graph(frame, *(each for state in graph.states for each in past[state.name]))
    left = iter(fresh)
    new = {state.name: [next(left) for _ in state.outputs] for state in graph.states}
    return logits, {state.name: [*past[state.name], *new[state.name]][-state.slots :] for state in graph.states}


@pytest.mark.parametrize("hop", [1, 2, 3, 4])
def test_a_step_says_what_the_network_says(network: VideoNetwork, hop: int) -> None:
    graph, frames = StepGraph(network, hop=hop), _frames(24, batch=2)
    past, state = _start(graph, 2), network.start_state(2)
    for seen in torch.split(frames, hop, dim=2):
        # The frames of all streams one after the other.
        logits, past = _step(graph, seen.movedim(2, 0).flatten(0, 1), past)
        with torch.no_grad():
            expected, state = network.step(seen, state)
        torch.testing.assert_close(logits, expected, **EXACT)


@torch.no_grad()
def test_it_puts_out_the_mask() -> None:
    network = create_model("ssf_x3d_tiny?width=0.25&causal=true", num_classes=5, frames=5, size=32).double()
    network = network.to_inference()
    frames = _frames(5)
    graph, past = StepGraph(network, mask=True), _start(StepGraph(network))
    for t in range(4):
        _, past = _step(StepGraph(network), frames[:, :, t], past)
    _, mask, *_ = graph(frames[:, :, 4], *(each for state in graph.states for each in past[state.name]))
    _, saliency = network.forward_features(frames)
    assert saliency is not None
    torch.testing.assert_close(mask, saliency.mask[:, :, 0], **EXACT)
    with pytest.raises(UsageError, match="has no saliency mask to put out"):
        StepGraph(create_model("x3d_tiny?width=0.25&causal=true", num_classes=5).to_inference(), mask=True)


@pytest.mark.parametrize("hop", [0, 5])
def test_a_hop_is_shorter_than_a_clip(network: VideoNetwork, hop: int) -> None:
    with pytest.raises(UsageError, match=rf"a step takes from 1 to 4 frames, fewer than a clip has; got `hop={hop}`"):
        StepGraph(network, hop=hop)


def test_a_clip_in_whole_steps_is_no_longer_than_any_clip_may_be() -> None:
    network = create_model("x3d_xs?width=0.25&causal=true", num_classes=5, frames=1024, size=32)
    assert describe_step(network, hop=2).warm_up == 1024
    with pytest.raises(UsageError, match=r"1024 frames in steps of 3 are more than 1024; give a hop that divides 1024"):
        describe_step(network, hop=3)


def test_it_is_of_four_dimensions_throughout(network: VideoNetwork) -> None:
    kinds = {type(module) for module in StepGraph(network).modules()}
    assert nn.Conv2d in kinds
    assert not kinds & {nn.Conv3d, nn.BatchNorm3d, nn.BatchNorm2d}


@pytest.mark.parametrize("hop", [1, 2])
def test_the_order_of_slices_counts_where_it_is_said_to(network: VideoNetwork, hop: int) -> None:
    graph = StepGraph(network, hop=hop)
    *seen, last = (each.movedim(2, 0).flatten(0, 1) for each in torch.split(_frames(8 * hop), hop, dim=2))
    past = _start(graph)
    for frames in seen:
        _, past = _step(graph, frames, past)
    expected, _ = _step(graph, last, past)
    for state in graph.states:
        if state.name == "motion_count":
            continue  # All ones by now, so that their order does not show.
        turned = past | {state.name: past[state.name][::-1]}
        same = torch.allclose(_step(graph, last, turned)[0], expected, **EXACT)
        assert same != state.is_ordered, state


def test_other_networks_have_none() -> None:
    for name in ("x3d_xs?width=0.125", "r3d_10?width=0.0625"):
        clip = create_model(name, num_classes=2, frames=4, size=32).to_inference()
        with pytest.raises(UsageError, match=r"has no step graph; give the inference form of an X3D with causal=true"):
            StepGraph(clip)
