"""A part of a frame is cut out as a decoder would have given it."""

from __future__ import annotations

import av
import numpy as np
import pytest

from s2tf_edge.data.cropping import PixelBox, crop_frame
from s2tf_edge.errors import UsageError


def _frame(format: str = "yuv420p") -> av.VideoFrame:
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    return av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=format)


@pytest.mark.parametrize(
    ("box", "expected"),
    [((16, 8, 32, 24), (16, 8, 32, 24)), ((17, 9, 30, 22), (16, 8, 32, 24)), ((63, 47, 1, 1), (62, 46, 2, 2))],
)
def test_it_begins_and_ends_where_pixels_share_their_color(box: PixelBox, expected: PixelBox) -> None:
    frame, (left, top, width, height) = _frame(), expected
    part = crop_frame(frame, box)
    assert (part.width, part.height) == (width, height)
    luma = frame.to_ndarray()[:48]
    np.testing.assert_array_equal(part.to_ndarray()[:height], luma[top : top + height, left : left + width])


@pytest.mark.parametrize(("colorspace", "color_range"), [(1, 1), (5, 2), (9, 1)])
def test_its_values_mean_the_same_colors(colorspace: int, color_range: int) -> None:
    frame = _frame()
    frame.colorspace, frame.color_range = colorspace, color_range
    part = crop_frame(frame, (0, 0, 32, 24))
    assert (part.colorspace, part.color_range, part.format.name) == (colorspace, color_range, "yuv420p")


def test_each_box_and_each_frame_has_its_own_part() -> None:
    """However many boxes there are: those of regions that move come and go."""
    frame = _frame("gray")
    pixels = frame.to_ndarray()
    parts = [crop_frame(frame, (left, top, 3, 2)) for top in range(0, 40, 3) for left in range(0, 60, 7)]
    for part, (left, top) in zip(parts, [(x, y) for y in range(0, 40, 3) for x in range(0, 60, 7)], strict=True):
        np.testing.assert_array_equal(part.to_ndarray(), pixels[top : top + 2, left : left + 3])


def test_all_of_it_is_the_frame_itself() -> None:
    frame = _frame()
    assert crop_frame(frame, (0, 0, 64, 48)) is frame


@pytest.mark.parametrize("box", [(-1, 0, 8, 8), (60, 0, 8, 8), (0, 41, 8, 8), (0, 0, 0, 8)])
def test_a_box_beyond_the_frame_is_refused(box: PixelBox) -> None:
    with pytest.raises(UsageError, match="does not lie in a picture of 64×48"):
        crop_frame(_frame(), box)
