import pytest
import torch
from torch import nn

from s2tf_edge.models import create_model


@pytest.mark.parametrize(
    ("name", "parameters"), [("ir_csn_50", 13_131_152), ("ir_csn_152", 29_703_568), ("ip_csn_152", 33_016_592)]
)
def test_has_the_published_number_of_parameters(name: str, parameters: int) -> None:
    with torch.device("meta"):
        model = create_model(name, num_classes=400)
    assert sum(value.numel() for value in model.parameters()) == parameters
    assert {module.eps for module in model.modules() if isinstance(module, nn.BatchNorm3d)} == {1e-3}


@pytest.mark.parametrize(("frames", "size"), [(1, 17), (5, 36), (13, 33), (32, 32)])
@torch.no_grad()
def test_declares_the_shapes_that_its_stages_have(frames: int, size: int) -> None:
    model = create_model("ir_csn_50?width=0.0625", num_classes=2, frames=frames, size=size).eval()
    maps = model.backbone.forward_stages(torch.zeros(1, 3, frames, size, size))
    assert [(x.shape[1], x.shape[2], x.shape[3]) for x in maps] == [tuple(shape) for shape in model.backbone.shapes]


@pytest.mark.parametrize(("name", "mixing"), [("ir_csn_50", 0), ("ip_csn_152", 50)])
def test_only_ip_csn_mixes_channels_between(name: str, mixing: int) -> None:
    with torch.device("meta"):
        model = create_model(name, num_classes=2)
    middles = [module for key, module in model.named_modules() if key.endswith("branch.1")]
    depthwise = [conv for middle in middles for conv in middle.modules() if isinstance(conv, nn.Conv3d)]
    assert sum(conv.groups == 1 for conv in depthwise) == mixing
    assert {conv.kernel_size for conv in depthwise if conv.groups > 1} == {(3, 3, 3)}
    assert sum(conv.groups == conv.in_channels for conv in depthwise) == len(middles)
