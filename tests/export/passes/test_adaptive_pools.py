from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from s2tf_edge.export.passes.adaptive_pools import fix_adaptive_pools

SHAPE = (1, 3, 4, 12, 12)


class Pools(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, 2, 3, padding=1)
        self.even = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool3d((None, 6, 4)))
        self.ragged = nn.AdaptiveAvgPool3d((2, 5, 3))
        self.twice = nn.AdaptiveAvgPool3d(1)

    def forward(self, clip: Tensor) -> Tensor:
        even = self.even(self.conv(clip))
        return torch.cat([self.ragged(even).flatten(1), self.twice(even).flatten(1), self.twice(clip).flatten(1)], 1)


def test_pools_of_even_windows_get_a_kernel_and_others_stay() -> None:
    network = Pools().eval()
    clip = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = network(clip)
        assert fix_adaptive_pools(network, SHAPE) == ["even.1"]
        torch.testing.assert_close(network(clip), expected)
    assert isinstance(network.even[1], nn.AvgPool3d)
    assert network.even[1].kernel_size == (1, 2, 3)
    assert isinstance(network.ragged, nn.AdaptiveAvgPool3d)
    assert isinstance(network.twice, nn.AdaptiveAvgPool3d)


@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")
def test_the_exporter_takes_the_fixed_pool() -> None:
    network = nn.Sequential(nn.Conv3d(3, 2, 1), nn.AdaptiveAvgPool3d((2, 3, 3))).eval()
    fix_adaptive_pools(network, SHAPE)
    program = torch.onnx.export(network, (torch.zeros(SHAPE),), dynamo=True, opset_version=18, verbose=False)
    assert program is not None
    assert [node.op_type for node in program.model.graph] == ["Conv", "AveragePool"]
