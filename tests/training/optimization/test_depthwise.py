from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from s2tf_edge.models import create_model
from s2tf_edge.models.causal import CausalConv3d
from s2tf_edge.training.optimization.depthwise import DepthwiseGradients
from s2tf_edge.training.optimization.float32_convolutions import Float32Convolutions

Triple = tuple[int, int, int]
BACKWARD = "_DepthwiseConvolutionBackward"


def _gradients(layer: nn.Module, clip: Tensor, within: AbstractContextManager[Any]) -> tuple[Tensor, ...]:
    """Of what comes out, of the clip and of the weights."""
    clip = clip.clone().requires_grad_()
    layer.zero_grad()
    torch.manual_seed(1)  # of dropout
    with within:
        out = layer(clip)
    (out.float() * torch.linspace(-1, 1, out.numel(), dtype=torch.float64).view(out.shape)).sum().backward()
    assert clip.grad is not None
    return out.detach(), clip.grad, *(p.grad for p in layer.parameters() if p.grad is not None)


def _uses(layer: nn.Module, clip: Tensor) -> bool:
    """Whether the gradient of a depthwise convolution is this module's."""
    with DepthwiseGradients():
        waiting, seen = [layer(clip).grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [following for following, _ in node.next_functions]
    return any(node.name() == BACKWARD for node in seen)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    ("kernel", "padding"),
    [
        ((3, 3, 3), (1, 1, 1)),
        ((5, 1, 1), (2, 0, 0)),
        ((3, 3, 3), (0, 1, 1)),
        ((2, 4, 3), (1, 3, 0)),
        ((3, 3, 3), (2, 2, 2)),
    ],
)
def test_gradients_are_those_of_torch(kernel: Triple, padding: Triple, bias: bool, layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    conv = nn.Conv3d(6, 6, kernel, padding=padding, groups=6, bias=bias).double()
    clip = torch.randn(3, 6, 4, 7, 5, dtype=torch.float64).to(memory_format=layout)
    assert _uses(conv, clip)
    expected, got = _gradients(conv, clip, nullcontext()), _gradients(conv, clip, DepthwiseGradients())
    assert len(got) == 3 + bias
    for ours, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-12)


def test_in_bfloat16_they_are_within_its_rounding() -> None:
    torch.manual_seed(0)
    conv, clip = nn.Conv3d(16, 16, 3, padding=1, groups=16), torch.randn(2, 16, 8, 9, 9)
    expected = _gradients(conv, clip, nullcontext())
    with torch.autocast("cpu", torch.bfloat16):
        got = _gradients(conv, clip, DepthwiseGradients())
    assert got[0].dtype == torch.bfloat16
    assert [gradient.dtype for gradient in got[1:]] == [torch.float32] * 3
    for ours, theirs in zip(got, expected, strict=True):
        assert (ours - theirs).norm() / theirs.norm() < 0.01


def test_a_kernel_longer_than_its_input_is_float32_within_both() -> None:
    torch.manual_seed(0)
    conv, clip = nn.Conv3d(16, 16, 3, padding=1, groups=16), torch.randn(2, 16, 2, 8, 8)
    expected = _gradients(conv, clip, nullcontext())
    with torch.autocast("cpu", torch.bfloat16), DepthwiseGradients():
        got = _gradients(conv, clip, Float32Convolutions())
    assert _uses(conv, clip)
    for ours, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"groups": 1},
        {"groups": 2},
        {"groups": 4, "stride": (1, 2, 2)},
        {"groups": 4, "dilation": 2},
        {"groups": 4, "padding": 3},
    ],
    ids=str,
)
def test_others_are_left_to_torch(options: dict[str, Any]) -> None:
    conv, clip = nn.Conv3d(4, 4, 3, **options), torch.randn(1, 4, 6, 8, 8)
    assert not _uses(conv, clip)
    for ours, theirs in zip(
        _gradients(conv, clip, DepthwiseGradients()), _gradients(conv, clip, nullcontext()), strict=True
    ):
        torch.testing.assert_close(ours, theirs, atol=0, rtol=0)


def test_without_gradients_nothing_changes() -> None:
    conv, clip = nn.Conv3d(4, 4, 3, groups=4), torch.randn(1, 4, 6, 8, 8)
    conv.weight.requires_grad_(False)
    assert conv.bias is not None
    out, _, bias = _gradients(conv, clip, DepthwiseGradients())
    assert conv.weight.grad is None
    torch.testing.assert_close(bias.shape, conv.bias.shape)
    with torch.no_grad(), DepthwiseGradients():
        assert conv(clip).equal(out)


@pytest.mark.parametrize("name", ["x3d_xs?width=0.25", "x3d_xs?width=0.25&causal=true", "ir_csn_50?width=0.125"])
def test_networks_of_depthwise_convolutions_have_them(name: str) -> None:
    torch.manual_seed(0)
    network = create_model(name, num_classes=3, frames=4, size=32).double().train()
    clip = torch.randn(2, 3, 4, 32, 32, dtype=torch.float64)
    assert _uses(network, clip)
    expected, got = _gradients(network, clip, nullcontext()), _gradients(network, clip, DepthwiseGradients())
    for ours, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=1e-7)
    causal = [module for module in network.modules() if isinstance(module, CausalConv3d) and module.groups > 1]
    assert bool(causal) == ("causal" in name)
