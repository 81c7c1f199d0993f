from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from s2tf_edge.errors import UsageError
from s2tf_edge.preprocess import center_crop, crop, normalize, preprocess, scale_frames, scaled_size
from s2tf_edge.spec import ClipSpec


@pytest.fixture
def frames() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (4, 24, 32, 3), np.uint8)


@pytest.mark.parametrize(
    ("size", "short_side", "expected"),
    [
        ((240, 320), 128, (128, 171)),
        ((320, 240), 128, (171, 128)),
        ((241, 321), 0, (241, 321)),
        ((112, 112), 224, (224, 224)),
        ((100, 9), 1, (11, 1)),
        ((64, 2), 224, (7168, 224)),
        ((4096, 2), 0, (4096, 2)),
    ],
)
def test_scaled_size(size: tuple[int, int], short_side: int, expected: tuple[int, int]) -> None:
    assert scaled_size(*size, short_side=short_side) == expected


def test_pictures_that_would_grow_without_end_are_refused() -> None:
    with pytest.raises(UsageError, match="a picture of 65×2 is longer than 32 times its short side; crop it first"):
        scaled_size(2, 65, short_side=224)


def test_scaling_to_the_size_there_is_copies_nothing(frames: NDArray[np.uint8]) -> None:
    assert scale_frames(frames, 24) is frames
    assert scale_frames(frames, 0) is frames


@pytest.mark.parametrize("short_side", [9, 12, 48])
def test_scaling_keeps_a_ramp_a_ramp(short_side: int) -> None:
    columns = (np.arange(64) + 0.5) / 64
    ramp = np.broadcast_to(255 * columns[None, None, :, None], (2, 32, 64, 3)).astype(np.uint8)
    scaled = scale_frames(ramp, short_side)
    assert scaled.shape == (2, short_side, 2 * short_side, 3)
    expected = 255 * (np.arange(2 * short_side) + 0.5) / (2 * short_side)
    # A filter flattens the ends of a ramp.
    inner = slice(4, -4)
    assert np.abs(scaled[:, :, inner].astype(float) - expected[None, None, inner, None]).max() < 3


def test_scaling_averages_what_it_leaves_out(frames: NDArray[np.uint8]) -> None:
    assert scale_frames(frames, 6).std() < 0.5 * frames.std()
    assert scale_frames(frames, 6).mean() == pytest.approx(frames.mean(), abs=2)


def test_scaling_takes_views_that_are_not_contiguous(frames: NDArray[np.uint8]) -> None:
    mirrored = frames[::2, :, ::-1]
    np.testing.assert_array_equal(scale_frames(mirrored, 12), scale_frames(np.ascontiguousarray(mirrored), 12))


@pytest.mark.parametrize(("position", "left"), [(0, 0), (0.5, 8), (1, 16)])
def test_crop_slides_along_the_long_side(frames: NDArray[np.uint8], position: float, left: int) -> None:
    cropped = crop(frames, 16, position=position)
    np.testing.assert_array_equal(cropped, frames[:, 4:20, left : left + 16])
    turned = crop(frames.swapaxes(1, 2), 16, position=position)
    np.testing.assert_array_equal(turned, frames[:, 4:20, left : left + 16].swapaxes(1, 2))


def test_center_crop_is_a_view_of_the_middle(frames: NDArray[np.uint8]) -> None:
    cropped = center_crop(frames, 24)
    assert np.shares_memory(cropped, frames)
    np.testing.assert_array_equal(cropped, frames[:, :, 4:28])


def test_crop_refuses_what_does_not_fit(frames: NDArray[np.uint8]) -> None:
    with pytest.raises(UsageError, match=r"cannot crop 25×25 at position 0\.5 .* from frames of 32×24"):
        center_crop(frames, 25)
    with pytest.raises(UsageError, match=r"position 1\.5"):
        crop(frames, 8, position=1.5)


def test_normalize_is_the_formula_in_float32(frames: NDArray[np.uint8]) -> None:
    spec = ClipSpec(frames=4, size=16, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    clip = normalize(center_crop(frames, 16), spec)
    assert (clip.shape, clip.dtype.name, clip.flags.c_contiguous) == ((3, 4, 16, 16), "float32", True)
    exact = (frames[:, 4:20, 8:24] / 255.0 - spec.mean) / spec.std
    np.testing.assert_allclose(clip, exact.transpose(3, 0, 1, 2), rtol=0, atol=2e-6)


def test_normalize_leaves_bytes_to_networks_that_take_them(frames: NDArray[np.uint8]) -> None:
    spec = ClipSpec(frames=4, size=16, layout="NTHWC", dtype="uint8")
    clip = normalize(center_crop(frames, 16), spec)
    assert (clip.dtype.name, clip.flags.c_contiguous) == ("uint8", True)
    np.testing.assert_array_equal(clip, frames[:, 4:20, 8:24])


def test_preprocess_scales_crops_and_normalizes(frames: NDArray[np.uint8]) -> None:
    spec = ClipSpec(frames=4, size=10, resize_short_side=12)
    expected = normalize(crop(scale_frames(frames, 12), 10, position=1), spec)
    np.testing.assert_array_equal(preprocess(frames, spec, position=1), expected)
    assert preprocess(frames, spec).shape == spec.input_shape()[1:]


def test_other_frames_are_refused(frames: NDArray[np.uint8]) -> None:
    spec = ClipSpec(frames=5, size=16)
    with pytest.raises(UsageError, match=r"a clip must be uint8 \[5, 16, 16, 3\], got uint8 \[4, 16, 16, 3\]"):
        normalize(center_crop(frames, 16), spec)
    for wrong in (frames[0], frames[..., :2], frames[:0], frames.astype(np.float32)):
        with pytest.raises(UsageError, match=r"frames must be uint8 \[T, H, W, 3\], got"):
            scale_frames(wrong, 12)  # type: ignore[arg-type]
