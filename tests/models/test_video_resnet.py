import pytest
import torch
from torch import nn

from s2tf_edge.models import create_model
from s2tf_edge.models.video_resnet import separated_width


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("tv_r3d_18", 33_371_472), ("mc3_18", 11_695_440), ("r2plus1d_18", 31_505_325), ("mm_r2plus1d_34", 63_759_281)],
)
def test_has_the_published_number_of_parameters(name: str, parameters: int) -> None:
    with torch.device("meta"):
        model = create_model(name, num_classes=400)
    assert sum(value.numel() for value in model.parameters()) == parameters


@pytest.mark.parametrize("name", ["tv_r3d_18", "mc3_18", "r2plus1d_18", "r2plus1d_34", "mm_r2plus1d_34"])
@pytest.mark.parametrize(("frames", "size"), [(1, 17), (5, 36), (13, 33), (16, 64)])
@torch.no_grad()
def test_declares_the_shapes_that_its_stages_have(name: str, frames: int, size: int) -> None:
    model = create_model(f"{name}?width=0.0625", num_classes=2, frames=frames, size=size).eval()
    maps = model.backbone.forward_stages(torch.zeros(1, 3, frames, size, size))
    assert [(x.shape[1], x.shape[2], x.shape[3]) for x in maps] == [tuple(shape) for shape in model.backbone.shapes]


def test_mc3_keeps_all_frames() -> None:
    shapes = create_model("mc3_18?width=0.1", num_classes=2).backbone.shapes
    assert [shape.frames for shape in shapes] == [16, 16, 16, 16]
    assert [shape.size for shape in shapes] == [56, 28, 14, 7]


def test_widths_between_the_parts_are_those_of_the_paper() -> None:
    # (2+1)D of 64 to 64 has 144 channels between, of 64 to 128 it has 230, of 128 to 128 it has 288.
    assert [separated_width(*pair, side=3) for pair in ((64, 64), (64, 128), (128, 128))] == [144, 230, 288]
    assert separated_width(3, 64, side=7) == 83


@pytest.mark.parametrize(("name", "second"), [("r2plus1d_18", 230), ("r2plus1d_34", 288), ("mm_r2plus1d_34", 288)])
def test_only_torchvision_shares_the_width_between_two_convolutions(name: str, second: int) -> None:
    with torch.device("meta"):
        model = create_model(name, num_classes=2)
    widths = [
        model.get_parameter(f"backbone.stages.1.0.branch.{step}.spatial.conv.weight").shape[0] for step in range(2)
    ]
    assert widths == [230, second]


@pytest.mark.parametrize(
    ("name", "eps"),
    [("tv_r3d_18", {1e-5}), ("r2plus1d_18", {1e-5}), ("r2plus1d_34", {1e-3}), ("mm_r2plus1d_34", {1e-3, 1e-5})],
)
def test_norms_add_what_the_weights_were_trained_with(name: str, eps: set[float]) -> None:
    with torch.device("meta"):
        model = create_model(name, num_classes=2)
    assert {module.eps for module in model.modules() if isinstance(module, nn.BatchNorm3d)} == eps


def test_only_mmaction2_pools_behind_the_stem() -> None:
    names = ("tv_r3d_18", "r2plus1d_34", "mm_r2plus1d_34")
    models = {name: create_model(f"{name}?width=0.1", num_classes=2) for name in names}
    pools = {
        name: any(isinstance(module, nn.MaxPool3d) for module in model.modules()) for name, model in models.items()
    }
    assert pools == {"tv_r3d_18": False, "r2plus1d_34": False, "mm_r2plus1d_34": True}
