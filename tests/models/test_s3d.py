import pytest
import torch

from s2tf_edge.errors import UsageError
from s2tf_edge.models import create_model
from s2tf_edge.models.s3d import S3DHead

SMALL = "s3d?width=0.0625"


def test_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        model = create_model("s3d", num_classes=400)
    assert sum(value.numel() for value in model.parameters()) == 8_320_048
    assert [shape.channels for shape in model.backbone.shapes] == [192, 480, 832, 1024]


@pytest.mark.parametrize(("frames", "size"), [(5, 17), (14, 64), (16, 33), (17, 50)])
@torch.no_grad()
def test_declares_the_shapes_that_its_stages_have(frames: int, size: int) -> None:
    model = create_model(SMALL, num_classes=2, frames=frames, size=size).eval()
    maps = model.backbone.forward_stages(torch.zeros(1, 3, frames, size, size))
    assert [(x.shape[1], x.shape[2], x.shape[3]) for x in maps] == [tuple(shape) for shape in model.backbone.shapes]


def test_sizes_at_the_published_clip() -> None:
    shapes = create_model(SMALL, num_classes=2).backbone.shapes
    assert [shape.frames for shape in shapes] == [64, 64, 32, 16]
    assert [shape.size for shape in shapes] == [56, 28, 14, 7]


@torch.no_grad()
def test_the_head_averages_over_windows_of_two_frames() -> None:
    head = S3DHead(6, 3, dropout=0.0).eval()
    features = torch.randn(2, 6, 5, 7, 7)
    frames = features.mean((3, 4))
    # Pairs overlap, so that of five frames the inner three count twice.
    pooled = (frames * torch.tensor([1.0, 2, 2, 2, 1]) / 8).sum(2)
    torch.testing.assert_close(head(features), head.fc(pooled))
    mask = torch.rand(2, 1, 1, 7, 7)
    torch.testing.assert_close(head(features, mask), head(features * mask))


@torch.no_grad()
def test_the_head_takes_maps_that_are_smaller_than_its_window() -> None:
    head = S3DHead(6, 3, dropout=0.0).eval()
    features = torch.randn(2, 6, 1, 3, 3)
    torch.testing.assert_close(head(features), head.fc(features.mean((2, 3, 4))))


@pytest.mark.parametrize("clip", ["frames=4", "size=16"])
def test_refuses_clips_of_which_nothing_is_left(clip: str) -> None:
    with pytest.raises(UsageError, match=r"S3D halves frames three times and .*needs 5 frames and 17 × 17"):
        create_model(f"s3d?{clip}", num_classes=2)


def test_saliency_needs_stages_that_halve_rounding_up() -> None:
    create_model("s2tf_s3d?width=0.0625&frames=16&size=64", num_classes=2)
    with pytest.raises(UsageError, match=r"saliency needs stages .*choose other frames or size"):
        create_model("s2tf_s3d?width=0.0625&frames=16&size=70", num_classes=2)
