import pytest
import torch

from s2tf_edge.errors import UsageError
from s2tf_edge.models import create_model
from s2tf_edge.models.p3d import Pseudo3D


@pytest.mark.parametrize(("frames", "size"), [(16, 33), (20, 48), (31, 17), (40, 40)])
@torch.no_grad()
def test_declares_the_shapes_that_its_stages_have(frames: int, size: int) -> None:
    model = create_model("p3d_63?width=0.0625", num_classes=2, frames=frames, size=size).eval()
    maps = model.backbone.forward_stages(torch.zeros(1, 3, frames, size, size))
    assert [tuple(x.shape[1:4]) for x in maps] == [tuple(shape) for shape in model.backbone.shapes]
    assert [x.shape[4] for x in maps] == [x.shape[3] for x in maps]


def test_temporal_sizes_at_16_frames() -> None:
    shapes = create_model("p3d_63?width=0.1", num_classes=2).backbone.shapes
    assert [shape.frames for shape in shapes] == [4, 2, 1, 1]
    assert [shape.size for shape in shapes] == [40, 20, 10, 5]


@pytest.mark.parametrize(("depth", "blocks"), [(63, 3 + 4 + 6), (131, 3 + 4 + 23), (199, 3 + 8 + 36)])
def test_the_three_kinds_take_turns_across_stages(depth: int, blocks: int) -> None:
    with torch.device("meta"):
        model = create_model(f"p3d_{depth}", num_classes=2)
    kinds = [module.kind for module in model.modules() if isinstance(module, Pseudo3D)]
    assert kinds == ["ABC"[index % 3] for index in range(blocks)]


@torch.no_grad()
def test_the_kinds_join_space_and_time_as_published() -> None:
    x = torch.randn(2, 4, 3, 5, 5)
    for kind in "ABC":
        block = Pseudo3D(4, kind=kind).eval()
        space, time = block.spatial, block.temporal
        joined = {"A": time(space(x)), "B": space(x) + time(x), "C": space(x) + time(space(x))}
        torch.testing.assert_close(block(x), joined[kind])


@torch.no_grad()
def test_the_last_stage_sees_one_frame_at_a_time() -> None:
    stage = create_model("p3d_63?width=0.0625", num_classes=2, frames=32, size=40).eval().backbone.stages[3]
    features = torch.randn(1, 64, 2, 6, 6)
    frames = [stage(features[:, :, time : time + 1]) for time in range(2)]
    torch.testing.assert_close(stage(features), torch.cat(frames, dim=2))


@pytest.mark.parametrize("name", ["p3d_63?frames=15", "s2tf_p3d_199?frames=13&size=182"])
def test_refuses_clips_that_vanish_on_the_way(name: str) -> None:
    with pytest.raises(UsageError, match=r"P3D halves the frames four times and needs 16 or more, got 1[35]"):
        create_model(name, num_classes=2)


def test_frames_that_no_stride_joins_leave_the_plain_form() -> None:
    with pytest.raises(UsageError, match=r"saliency needs stages that divide frames .* got 9 × 10² to 4 × 5²"):
        create_model("s2tf_p3d_63?width=0.0625&frames=36&size=40", num_classes=2)
    for name in ("p3d_63?frames=36", "s2tf_p3d_63?frames=32"):
        assert create_model(f"{name}&width=0.0625&size=40", num_classes=2).spec.frames in {32, 36}
