from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from s2tf_edge.errors import UsageError
from s2tf_edge.models import create_model
from s2tf_edge.models.blocks import StageShape
from s2tf_edge.models.saliency import FeaturePreserver, Saliency, SaliencyPath, TemporalFusion, average_pool

I3D = (StageShape(8, 4, 16), StageShape(12, 4, 8), StageShape(16, 4, 4), StageShape(20, 4, 2))
R3D = (StageShape(8, 8, 16), StageShape(12, 4, 8), StageShape(16, 2, 4), StageShape(20, 1, 2))
ODD = (StageShape(6, 7, 13), StageShape(6, 4, 7), StageShape(6, 2, 4), StageShape(6, 1, 2))
X3D = (StageShape(6, 5, 9), StageShape(6, 5, 5), StageShape(6, 5, 3), StageShape(6, 5, 2))


def maps_of(shapes: tuple[StageShape, ...], *, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    sizes = [(2, shape.channels, shape.frames, shape.size, shape.size) for shape in shapes[:3]]
    return [torch.rand(size, generator=generator, dtype=torch.float64) for size in sizes]


def scrambled(path: SaliencyPath, *, seed: int = 0) -> SaliencyPath:
    """The path in eval mode and float64, with weights and statistics that no identity is special for."""
    generator = torch.Generator().manual_seed(seed)
    path = path.double().eval()
    for name, value in path.state_dict().items():
        if value.is_floating_point():
            noise = torch.rand(value.shape, generator=generator, dtype=torch.float64)
            value.copy_(noise + 0.5 if "running_var" in name else noise - 0.3)
    return path


def interleaved(pooled: Tensor, saliency: Tensor) -> Tensor:
    frames = []
    for time in range(pooled.shape[2]):
        frames += [pooled[:, :, time], saliency[:, :, time]]
    return torch.stack(frames, dim=2)


def published_tsfp(module: FeaturePreserver | None, x: Tensor, *, stride: int) -> tuple[Tensor, Tensor | None]:
    """Both branches of a TSFP-Module as the paper draws them, over all frames of ``x``, with its stride in time."""
    pooled = functional.avg_pool3d(x, (stride, 2, 2), ceil_mode=True, count_include_pad=False)
    if module is None:
        return pooled, None
    edge = x
    for index, conv in enumerate(module.convs):
        assert isinstance(conv, nn.Conv3d)
        step = (stride, *conv.stride[1:]) if conv.stride[1] == 2 else conv.stride
        edge = functional.conv3d(edge, conv.weight, None, step, conv.padding)
        edge = torch.relu(edge) if index < len(module.convs) - 1 else torch.sigmoid(edge)
    return pooled * edge, edge


def published_path(path: SaliencyPath, features: list[Tensor], shapes: tuple[StageShape, ...]) -> dict[str, Any]:
    """The mask path as NETWORK.md defines it: frames interleaved one by one, pooled in pairs."""
    s1, s2, s3 = (miner(x, path.norm) for miner, x in zip(path.miners, features, strict=True))
    first, second = path.preservers if path.preservers else (None, None)
    t1, t2, t3, t4 = (shape.frames for shape in shapes)
    p1, e1 = published_tsfp(first, s1, stride=-(-t1 // t2))  # type: ignore[arg-type]
    p2, e2 = published_tsfp(second, interleaved(p1, s2), stride=2 * -(-t2 // t3))  # type: ignore[arg-type]
    last, _ = published_tsfp(None, interleaved(p2, s3), stride=2 * -(-t3 // t4))
    hidden = torch.relu(torch.einsum("oi,nchwi->nohwc", path.fusion.reduce.weight.flatten(1), last.movedim(2, -1)))
    mask = torch.einsum("oi,nihwc->nohwc", path.fusion.project.weight.flatten(1), hidden).movedim(-1, 2)
    return {"mask": mask, "pooled": (p1, p2), "edges": (e1, e2)}


@pytest.mark.parametrize("tsfp", [False, True], ids=["ssf", "s2tf"])
@pytest.mark.parametrize("shapes", [I3D, R3D, ODD, X3D], ids=["i3d", "r3d", "odd", "x3d"])
def test_equals_interleaving_frame_by_frame(shapes: tuple[StageShape, ...], tsfp: bool) -> None:
    path = scrambled(SaliencyPath(shapes, tsfp=tsfp))
    features = maps_of(shapes)
    saliency = path(features)
    expected = published_path(path, features, shapes)
    torch.testing.assert_close(saliency.mask, expected["mask"], rtol=0, atol=1e-12)
    torch.testing.assert_close(saliency.pooled, expected["pooled"], rtol=0, atol=1e-12)
    assert saliency.mask.shape == (2, 1, 1, shapes[3].size, shapes[3].size)
    if tsfp:
        torch.testing.assert_close(saliency.edges, expected["edges"], rtol=0, atol=1e-12)
    else:
        assert saliency.edges == ()


def test_all_three_maps_share_one_norm() -> None:
    path = SaliencyPath(I3D, tsfp=True)
    assert sum(isinstance(module, nn.BatchNorm3d) for module in path.modules()) == 1


def test_average_of_a_ragged_edge_counts_what_is_there() -> None:
    x = torch.arange(5.0).view(1, 1, 1, 1, 5).expand(1, 1, 1, 3, 5)
    assert average_pool(x, stride=1)[0, 0, 0].tolist() == [[0.5, 2.5, 4.0], [0.5, 2.5, 4.0]]


@pytest.mark.parametrize("frames", [1, 2, 5, 8])
def test_fusion_starts_as_a_mask_of_ones(frames: int) -> None:
    mask = TemporalFusion(frames, typical=0.25)(torch.full((1, 1, frames, 3, 3), 0.25))
    torch.testing.assert_close(mask, torch.ones(1, 1, 1, 3, 3))


def check_alive(saliency: Saliency, path: nn.Module) -> None:
    assert 0.5 < saliency.mask.mean() < 2
    assert saliency.mask.min() > 0
    torch.autograd.backward(saliency.mask.square().sum())
    still = [key for key, value in path.named_parameters() if value.grad is None or not value.grad.any()]
    assert still == []


@pytest.mark.parametrize("tsfp", [False, True], ids=["ssf", "s2tf"])
@pytest.mark.parametrize("shapes", [ODD, X3D], ids=["odd", "x3d"])
def test_no_seed_makes_a_dead_mask(shapes: tuple[StageShape, ...], tsfp: bool) -> None:
    for seed in range(20):
        torch.manual_seed(seed)
        path = SaliencyPath(shapes, tsfp=tsfp)
        check_alive(path([x.float() for x in maps_of(shapes, seed=seed)]), path)


@pytest.mark.parametrize("seed", range(4))
def test_no_network_starts_with_a_dead_mask(seed: int) -> None:
    torch.manual_seed(seed)
    model = create_model("s2tf_r3d_10?width=0.125", num_classes=3, frames=8, size=32)
    assert model.saliency is not None
    check_alive(model(torch.randn(2, 3, 8, 32, 32), return_saliency=True)[1], model.saliency)


@pytest.mark.parametrize(
    ("shapes", "got"),
    [
        ((StageShape(4, 7, 8), StageShape(4, 5, 4), StageShape(4, 5, 2), StageShape(4, 5, 1)), "7 × 8² to 5 × 4²"),
        ((StageShape(4, 4, 8), StageShape(4, 4, 8), StageShape(4, 4, 4), StageShape(4, 4, 2)), "4 × 8² to 4 × 8²"),
    ],
)
def test_refuses_stages_that_no_stride_joins(shapes: tuple[StageShape, ...], got: str) -> None:
    with pytest.raises(UsageError, match=got):
        SaliencyPath(shapes, tsfp=True)


@pytest.mark.parametrize("size", [1, 3, 5])
def test_maps_of_one_value_are_pooled_to_themselves(size: int) -> None:
    model = create_model("s2tf_r3d_10?width=0.0625", num_classes=2, frames=8, size=size).eval()
    logits, saliency = model(torch.randn(2, 3, 8, size, size), return_saliency=True)
    assert logits.shape == (2, 2)
    assert torch.isfinite(saliency.mask).all()
