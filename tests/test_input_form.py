from __future__ import annotations

import numpy as np
import pytest
import torch

from s2tf_edge.input_form import AxisLayout, TensorForm, sampled_frames, spread_frames

_SIDES = {"V": 2, "C": 3, "T": 4, "H": 8, "W": 8}


@pytest.mark.parametrize("text", ["NCTHW", "NTHWC", "(NT)CHW", "N(TC)HW", "NVCTHW", "(NVT)CHW", "CTHW", "(NT)(HW)C"])
def test_a_layout_reads_as_it_is_written(text: str) -> None:
    assert str(AxisLayout.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("NCDHW", "layout must be NCTHW, NTHWC, NTCHW, or another order .* got 'NCDHW'"),
        ("NCHW", "got 'NCHW'"),
        ("NCTHWT", "got 'NCTHWT'"),
        ("ncthw", "got 'ncthw'"),
        ("(N)CTHW", r"got '\(N\)CTHW'"),
        ("(NT CHW", r"got '\(NT CHW'"),
        ("", "got ''"),
        ("(TN)CHW", r"merges N behind another axis; N must be the outer one, as in \(NT\)CHW"),
    ],
)
def test_what_is_no_layout(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AxisLayout.parse(text)


@pytest.mark.parametrize(
    ("text", "views"),
    [("NCTHW", "NVCTHW"), ("NTHWC", "NVTHWC"), ("CTHW", "VCTHW"), ("(NV)CTHW", "(NV)CTHW"), ("(NT)CHW", "V(NT)CHW")],
)
def test_views_come_behind_clips(text: str, views: str) -> None:
    assert str(AxisLayout.parse(text).with_views()) == views


@pytest.mark.parametrize(
    ("text", "dims", "clips"),
    [
        ("NCTHW", (2, 3, 4, 8, 8), 2),
        ("NCTHW", (None, 3, None, 8, None), None),
        ("(NT)CHW", (12, 3, 8, 8), 3),
        ("(NT)CHW", (None, 3, 8, 8), None),
        ("(NV)CTHW", (2, 3, 4, 8, 8), 1),
        ("CTHW", (3, 4, 8, 8), 1),
    ],
)
def test_clips_are_counted(text: str, dims: tuple[int | None, ...], clips: int | None) -> None:
    layout = AxisLayout.parse(text)
    assert layout.fits(dims, _SIDES)
    assert layout.clips(dims, _SIDES) == clips


@pytest.mark.parametrize(
    ("text", "dims"),
    [
        ("NCTHW", (2, 4, 3, 8, 8)),
        ("NCTHW", (2, 3, 4, 8)),
        ("NCTHW", (0, 3, 4, 8, 8)),
        ("NCTHW", ()),
        ("(NT)CHW", (6, 3, 8, 8)),
        ("N(TC)HW", (1, 13, 8, 8)),
    ],
)
def test_a_shape_that_does_not_fit(text: str, dims: tuple[int | None, ...]) -> None:
    assert not AxisLayout.parse(text).fits(dims, _SIDES)


@pytest.mark.parametrize("frames", [1, 2, 8, 13, 16, 17, 29, 32, 33, 64, 65, 100, 128])
def test_frames_are_spread_as_slowfast_spreads_them(frames: int) -> None:
    for count in range(1, frames + 1):
        assert spread_frames(count, frames=frames) == tuple(torch.linspace(0, frames - 1, count).long().tolist())


def test_every_second_frame_begins_with_the_first() -> None:
    assert sampled_frames(4, frames=32) == (0, 4, 8, 12, 16, 20, 24, 28)
    assert sampled_frames(3, frames=8) == (0, 3, 6)


def test_axes_are_merged_with_the_outer_one_outside() -> None:
    clips = np.arange(2 * 3 * 4 * 5 * 5, dtype=np.float32).reshape(2, 3, 4, 5, 5)
    pictures = TensorForm(layout=AxisLayout.parse("(NT)CHW"), channels="BGR").feed(clips, "float16")
    assert (pictures.shape, pictures.dtype.name) == ((8, 3, 5, 5), "float16")
    # Picture 6 is the third of the second clip, its first channel the last of that.
    np.testing.assert_array_equal(pictures[6, 0], clips[1, 2, 2].astype(np.float16))


def test_pixels_come_back_whole() -> None:
    pixels = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 3, 4, 8, 8)
    clips = pixels.astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(TensorForm().feed(clips, "uint8"), pixels)
