import pytest
import torch
from torch.nn import functional

from s2tf_edge.models import create_model, network_cost
from s2tf_edge.models.x3d import Depthwise, SqueezeExcitation, X3DHead


@pytest.mark.parametrize(
    ("variant", "millions", "giga_macs"),
    [("xs", 3.79, 0.60), ("s", 3.79, 1.96), ("m", 3.79, 4.73), pytest.param("l", 6.15, 18.37, marks=pytest.mark.slow)],
)
def test_has_the_published_parameters_and_cost(variant: str, millions: float, giga_macs: float) -> None:
    with torch.device("meta"):
        model = create_model(f"x3d_{variant}", num_classes=400)
    cost = network_cost(model)
    assert cost.parameters / 1e6 == pytest.approx(millions, abs=0.006)
    assert cost.training_macs / 1e9 == pytest.approx(giga_macs, abs=0.006)


@pytest.mark.parametrize(("variant", "blocks"), [("xs", [3, 5, 11, 7]), ("l", [5, 10, 25, 15])])
def test_squeezes_in_every_other_block(variant: str, blocks: list[int]) -> None:
    with torch.device("meta"):
        model = create_model(f"x3d_{variant}", num_classes=2)
    assert [len(stage) for stage in model.backbone.stages] == blocks  # type: ignore[arg-type]
    for stage, width in zip(model.backbone.stages, (8, 8, 16, 32), strict=True):
        found = [module.squeeze for module in stage.modules() if isinstance(module, Depthwise)]
        assert [isinstance(squeeze, SqueezeExcitation) for squeeze in found] == [
            index % 2 == 0 for index in range(len(found))
        ]
        assert {squeeze.fc1.out_channels for squeeze in found if isinstance(squeeze, SqueezeExcitation)} == {width}


@pytest.mark.parametrize(("frames", "size"), [(1, 17), (4, 32), (13, 45)])
@torch.no_grad()
def test_declares_the_shapes_that_its_stages_have(frames: int, size: int) -> None:
    model = create_model("x3d_s?width=0.125", num_classes=2, frames=frames, size=size).eval()
    maps = model.backbone.forward_stages(torch.zeros(1, 3, frames, size, size))
    assert [tuple(x.shape[1:4]) for x in maps] == [tuple(shape) for shape in model.backbone.shapes]
    assert [x.shape[4] for x in maps] == [x.shape[3] for x in maps]


@torch.no_grad()
def test_squeeze_and_excitation_weighs_channels_by_their_means() -> None:
    module, x = SqueezeExcitation(5), torch.randn(2, 5, 3, 4, 4)
    means = functional.adaptive_avg_pool3d(x, 1)
    weights = torch.sigmoid(module.fc2(torch.relu(module.fc1(means))))
    assert weights.shape == (2, 5, 1, 1, 1)
    torch.testing.assert_close(module(x), x * weights)


@torch.no_grad()
def test_the_mask_weighs_the_head_before_its_first_layer() -> None:
    head = X3DHead(4, 6, 3, dropout=0.5).eval()
    features, mask = torch.randn(2, 4, 3, 5, 5), torch.rand(2, 1, 1, 5, 5)
    torch.testing.assert_close(head(features, mask), head(features * mask))
    assert not torch.allclose(head(features, mask), head(features))
