from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn.utils import convert_conv3d_weight_memory_format

from s2tf_edge.training.optimization.float32_convolutions import Float32Convolutions

Triple = tuple[int, int, int]


def _gradient(conv: nn.Conv3d, clip: torch.Tensor) -> torch.Tensor:
    conv.weight.grad = None
    conv(clip).float().square().sum().backward()
    assert conv.weight.grad is not None
    return conv.weight.grad.clone()


def _error(got: torch.Tensor, expected: torch.Tensor) -> float:
    return float((got - expected).norm() / expected.norm())


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize("groups", [1, 16])
@pytest.mark.parametrize(
    ("kernel", "size"),
    [((3, 3, 3), (2, 8, 8)), ((3, 1, 1), (2, 8, 8)), ((1, 7, 7), (4, 2, 2)), ((3, 3, 3), (4, 1, 1))],
)
def test_kernels_longer_than_their_input_have_the_gradient_of_float32(
    kernel: Triple, size: Triple, groups: int, layout: torch.memory_format
) -> None:
    torch.manual_seed(0)
    time, height, width = (side // 2 for side in kernel)
    conv = nn.Conv3d(16, 16, kernel, padding=(time, height, width), groups=groups)
    convert_conv3d_weight_memory_format(conv, layout)
    clip = torch.randn(2, 16, *size).to(memory_format=layout)
    expected = _gradient(conv, clip)
    with torch.autocast("cpu", torch.bfloat16), Float32Convolutions():
        assert conv(clip).dtype == torch.float32
        got = _gradient(conv, clip)
    assert _error(got, expected) < 1e-6


def test_others_stay_in_bfloat16() -> None:
    conv, clip = nn.Conv3d(4, 4, 3, padding=1), torch.randn(1, 4, 3, 5, 5)
    with torch.autocast("cpu", torch.bfloat16), Float32Convolutions():
        assert conv(clip).dtype == torch.bfloat16
    with Float32Convolutions():
        assert conv(clip).dtype == torch.float32


BROKEN = """
import torch
torch.manual_seed(0)
conv = torch.nn.Conv3d(16, 16, 3, padding=1)
clip = torch.randn(2, 16, 2, 8, 8)
conv(clip).square().sum().backward()
expected, conv.weight.grad = conv.weight.grad, None
with torch.autocast("cpu", torch.bfloat16):
    out = conv(clip)
out.float().square().sum().backward()
print(float((conv.weight.grad - expected).norm() / expected.norm()) < 0.05)
"""


def test_without_it_they_are_wrong_here() -> None:
    """In a process of its own, as it may write beyond its memory; a torch that gets it right needs none of this."""
    done = subprocess.run([sys.executable, "-c", BROKEN], capture_output=True, text=True, check=False)
    if done.returncode == 0 and done.stdout == "True\n":
        pytest.skip("this torch computes the gradient rightly on this processor")
    assert done.returncode != 0 or done.stdout == "False\n"
