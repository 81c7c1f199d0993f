import math
import re

import pytest
import torch
from torch import nn

from s2tf_edge.errors import UsageError
from s2tf_edge.models import create_model
from s2tf_edge.models.nl_i3d import NonLocal


@pytest.mark.parametrize(
    ("name", "millions"), [("nl_i3d_r50", 35.4), ("ssf_nl_i3d_r50", 46.4), ("s2tf_nl_i3d_r50", 46.5)]
)
def test_has_the_published_number_of_parameters(name: str, millions: float) -> None:
    with torch.device("meta"):
        model = create_model(name, num_classes=400)
    assert sum(value.numel() for value in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)


@pytest.mark.parametrize(("frames", "size"), [(2, 17), (5, 50), (8, 64), (16, 32)])
@torch.no_grad()
def test_declares_the_shapes_that_its_stages_have(frames: int, size: int) -> None:
    model = create_model("nl_i3d_r50?width=0.0625", num_classes=2, frames=frames, size=size).eval()
    maps = model.backbone.forward_stages(torch.zeros(1, 3, frames, size, size))
    assert [(x.shape[1], x.shape[2], x.shape[3]) for x in maps] == [tuple(shape) for shape in model.backbone.shapes]


@torch.no_grad()
def test_slow_keeps_every_frame() -> None:
    model = create_model("slow_r50?width=0.0625", num_classes=2, frames=1, size=33).eval()
    maps = model.backbone.forward_stages(torch.zeros(1, 3, 1, 33, 33))
    assert [(x.shape[1], x.shape[2], x.shape[3]) for x in maps] == [tuple(shape) for shape in model.backbone.shapes]
    assert model(torch.zeros(2, 3, 5, 33, 33)).shape == (2, 2)


def test_non_local_blocks_stand_where_they_were_published() -> None:
    model = create_model("nl_i3d_r101?width=0.02", num_classes=2)
    blocks = [name for name, module in model.backbone.named_modules() if isinstance(module, NonLocal)]
    assert blocks == [f"stages.{stage}.nonlocal{after}" for stage, after in ((1, 1), (1, 3), (2, 1), (2, 3), (2, 5))]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("i3d_r50", [[3, 3, 3], [3, 1, 3, 1], [3, 1, 3, 1, 3, 1], [1, 3, 1]]),
        ("slow_r50", [[1] * 3, [1] * 4, [3] * 6, [3] * 3]),
    ],
)
def test_temporal_kernels_are_the_published_ones(name: str, expected: list[list[int]]) -> None:
    model = create_model(f"{name}?width=0.02", num_classes=2)
    state = model.backbone.state_dict()
    kernels = [
        [value.shape[2] for key, value in state.items() if re.match(rf"stages\.{stage}\.res\d+\.branch\.0\.conv", key)]
        for stage in range(4)
    ]
    assert kernels == expected


@torch.no_grad()
def test_attention_equals_a_loop_over_positions() -> None:
    block = NonLocal(6).double().eval()
    assert isinstance(block.out.norm, nn.BatchNorm3d)
    nn.init.uniform_(block.out.norm.weight, 0.5, 1)
    x = torch.randn(1, 6, 2, 4, 4, dtype=torch.float64)
    pooled = nn.functional.max_pool3d(x, (1, 2, 2))
    query, key, value = block.theta(x), block.phi(pooled).flatten(2)[0], block.g(pooled).flatten(2)[0]
    attended = torch.zeros(1, 3, 2, 4, 4, dtype=torch.float64)
    for t in range(2):
        for i in range(4):
            for j in range(4):
                scores = torch.tensor([float(query[0, :, t, i, j] @ key[:, m]) / math.sqrt(3) for m in range(8)])
                attended[0, :, t, i, j] = value @ torch.softmax(scores.double(), dim=0)
    torch.testing.assert_close(block(x), x + block.out(attended), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("i3d_r50?frames=1", "needs 2 or more, got 1"),
        ("mm_i3d_r50?frames=4", "needs 5 or more, got 4"),
        ("nl_i3d_r50?size=16", "17 × 17 pixels or more"),
    ],
)
def test_refuses_clips_that_vanish_on_the_way(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        create_model(name, num_classes=2)


@pytest.mark.parametrize(("frames", "left"), [(5, 1), (8, 1), (32, 4), (33, 4)])
@torch.no_grad()
def test_i3d_of_mmaction2_begins_with_a_quarter_of_the_frames(frames: int, left: int) -> None:
    model = create_model("mm_i3d_r50?width=0.0625&size=32", num_classes=2, frames=frames).eval()
    maps = model.backbone.forward_stages(torch.zeros(1, 3, frames, 32, 32))
    assert [x.shape[2] for x in maps] == [left] * 4 == [shape.frames for shape in model.backbone.shapes]
