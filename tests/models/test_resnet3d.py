import pytest
import torch
from torch import nn
from torch.nn import functional

from s2tf_edge.errors import UsageError
from s2tf_edge.models import create_model
from s2tf_edge.models.resnet3d import PaddedShortcut


@pytest.mark.parametrize(
    ("depth", "millions"), [(10, 14.4), (18, 33.2), (34, 63.5), (50, 46.4), (101, 85.5), (152, 117.6), (200, 126.8)]
)
def test_has_the_published_number_of_parameters(depth: int, millions: float) -> None:
    with torch.device("meta"):
        model = create_model(f"r3d_{depth}", num_classes=101)
    assert sum(value.numel() for value in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.1)


@pytest.mark.parametrize("frames", [1, 3, 8, 13, 16])
@pytest.mark.parametrize("size", [1, 33, 56])
@torch.no_grad()
def test_declares_the_shapes_that_its_stages_have(frames: int, size: int) -> None:
    model = create_model("r3d_50?width=0.0625&shortcut=A", num_classes=2, frames=frames, size=size).eval()
    maps = model.backbone.forward_stages(torch.zeros(1, 3, frames, size, size))
    assert [(x.shape[1], x.shape[2], x.shape[3]) for x in maps] == [tuple(shape) for shape in model.backbone.shapes]
    assert [x.shape[4] for x in maps] == [x.shape[3] for x in maps]


def test_temporal_sizes_at_16_frames() -> None:
    shapes = create_model("r3d_10?width=0.1", num_classes=2).backbone.shapes
    assert [shape.frames for shape in shapes] == [8, 4, 2, 1]
    assert [shape.size for shape in shapes] == [28, 14, 7, 4]


def test_shortcut_a_equals_the_published_pooling() -> None:
    x = torch.randn(2, 3, 5, 7, 7)
    pooled = functional.avg_pool3d(x, kernel_size=1, stride=2)
    expected = torch.cat([pooled, torch.zeros(2, 5, *pooled.shape[2:])], dim=1)
    assert torch.equal(PaddedShortcut(5, stride=2)(x), expected)


def test_shortcut_a_has_no_weights() -> None:
    model = create_model("r3d_18?shortcut=A&width=0.1", num_classes=2)
    assert not [key for key in model.state_dict() if ".shortcut." in key]


def test_stem_kernel_in_time_is_an_option() -> None:
    model = create_model("r3d_10?conv1_t_size=3&width=0.1", num_classes=2)
    stem = model.backbone.get_submodule("stem.0.conv")
    assert isinstance(stem, nn.Conv3d)
    assert stem.kernel_size == (3, 7, 7)
    assert model.backbone.shapes[0].frames == 8


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("shortcut=C", "shortcut must be A or B, got 'C'"),
        ("conv1_t_size=4", "conv1_t_size must be an odd number from 1 to 15, got 4"),
        ("width=0", "width must lie in"),
        ("dropout=1", "dropout must lie in"),
    ],
)
def test_refuses_options_out_of_range(option: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        create_model(f"r3d_10?{option}", num_classes=2)
