"""The one reference of what a network sees: from decoded frames to its input, in numpy.

Whatever does the same elsewhere, in a graph or in a ring of frames, is tested against this module. Scaling is swscale's
bilinear filter, as in ``s2tf_edge.data.video`` while decoding, so that training, calibration, evaluation and streaming
see the same pixels.
"""

from __future__ import annotations

from typing import Final

import av
import numpy as np
from numpy.typing import NDArray

from s2tf_edge.errors import UsageError
from s2tf_edge.spec import ClipSpec

__all__ = [
    "CENTER",
    "INTERPOLATION",
    "center_crop",
    "crop",
    "crop_corner",
    "crop_frames",
    "normalize",
    "preprocess",
    "scale_frames",
    "scaled_size",
]

CENTER: Final = 0.5
"""Position of the center crop."""
_MAX_ASPECT: Final = 32
_SWS_BILINEAR, _SWS_FULL_CHR_H_INT, _SWS_ACCURATE_RND, _SWS_BITEXACT = 0x2, 0x2000, 0x40000, 0x80000
INTERPOLATION: Final = _SWS_BILINEAR | _SWS_FULL_CHR_H_INT | _SWS_ACCURATE_RND | _SWS_BITEXACT
"""Flags of libswscale with which frames are scaled: without the second and third, white comes out as 253; the last asks
for the same pixels on every processor."""


def scaled_size(height: int, width: int, *, short_side: int) -> tuple[int, int]:
    """Height and width in pixels after scaling the short side to ``short_side``; 0 keeps the size.

    Pixels count as square whatever the file's sample aspect ratio says, as in the data sets' own pipelines.

    Raises:
        UsageError: the picture is to be scaled, but so long and narrow that hardly any of it would lie in a crop.
    """
    if not short_side:
        return height, width
    if max(height, width) > _MAX_ASPECT * min(height, width):
        msg = f"a picture of {width}×{height} is longer than {_MAX_ASPECT} times its short side; crop it first"
        raise UsageError(msg)
    scale = short_side / min(height, width)
    return max(short_side, round(height * scale)), max(short_side, round(width * scale))


def scale_frames(frames: NDArray[np.uint8], short_side: int) -> NDArray[np.uint8]:
    """Scales frames, keeping their proportions.

    Args:
        frames: uint8 [T, H, W, 3].
        short_side: pixels of the shorter side afterwards; 0 keeps the size.

    Returns:
        Uint8 [T, h, w, 3]; ``frames`` itself where the size fits already.

    Raises:
        UsageError: ``frames`` are of another shape or dtype, or too long and narrow.
    """
    _check_frames(frames)
    height, width = scaled_size(frames.shape[1], frames.shape[2], short_side=short_side)
    if (height, width) == frames.shape[1:3]:
        return frames
    scaled = np.empty((len(frames), height, width, 3), np.uint8)
    reformatter = av.video.reformatter.VideoReformatter()
    for index, image in enumerate(frames):
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        scaled[index] = reformatter.reformat(picture, width, height, interpolation=INTERPOLATION).to_ndarray()
    return scaled


def center_crop(frames: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The central ``size × size`` pixels: ``crop`` at ``CENTER``."""
    return crop(frames, size, position=CENTER)


def crop(frames: NDArray[np.uint8], size: int, *, position: float) -> NDArray[np.uint8]:
    """Cuts a square that slides along the long side and lies in the middle of the short one.

    Args:
        frames: uint8 [T, H, W, 3], H and W at least ``size``.
        size: side of the crop in pixels.
        position: 0 for the left or top end, 0.5 for the center, 1 for the right or bottom end.

    Returns:
        A view, uint8 [T, size, size, 3].

    Raises:
        UsageError: the frames are smaller than the crop, or ``position`` lies outside [0, 1].
    """
    _check_frames(frames)
    height, width = frames.shape[1:3]
    if size > min(height, width) or not 0 <= position <= 1:
        msg = f"cannot crop {size}×{size} at position {position} (0 to 1) from frames of {width}×{height}"
        raise UsageError(msg)
    top, left = crop_corner(height, width, size, position=position)
    return frames[:, top : top + size, left : left + size]


def crop_corner(height: int, width: int, size: int, *, position: float = CENTER) -> tuple[int, int]:
    """Row and column of the upper left pixel of the square that ``crop`` cuts from a frame."""
    across, along = (min(height, width) - size) // 2, int((max(height, width) - size) * position)
    return (along, across) if height > width else (across, along)


def normalize(
    frames: NDArray[np.uint8], spec: ClipSpec, *, out: NDArray[np.float32] | None = None
) -> NDArray[np.float32] | NDArray[np.uint8]:
    """Turns cropped frames into what the network takes.

    Args:
        frames: uint8 [T, S, S, 3] with T and S as in ``spec``.
        spec: mean, std and layout.
        out: float32 [3, T, S, S] to write to; new memory takes longer than the arithmetic. Not for NTHWC.

    Returns:
        C-contiguous: for NCTHW float32 [3, T, S, S], ``(pixel - 255 mean) / (255 std)`` in float32 arithmetic; for
        NTHWC the bytes as they are, uint8 [T, S, S, 3].

    Raises:
        UsageError: the frames do not fit ``spec``.
    """
    expected = (spec.frames, spec.size, spec.size, 3)
    if frames.shape != expected or frames.dtype != np.uint8:
        msg = f"a clip must be uint8 {list(expected)}, got {frames.dtype} {list(frames.shape)}"
        raise UsageError(msg)
    if spec.layout == "NTHWC":
        return np.ascontiguousarray(frames)
    mean, std = (np.asarray(values, np.float32).reshape(3, 1, 1, 1) * 255 for values in (spec.mean, spec.std))
    clip = np.empty((3, *expected[:3]), np.float32) if out is None else out
    np.subtract(frames.transpose(3, 0, 1, 2), mean, out=clip)
    clip /= std
    return clip


def preprocess(
    frames: NDArray[np.uint8], spec: ClipSpec, *, position: float = CENTER
) -> NDArray[np.float32] | NDArray[np.uint8]:
    """All of it: scales, crops and normalizes the frames of one clip.

    Args:
        frames: uint8 [T, H, W, 3] of any size, T as in ``spec``.
        spec: the clip that the network takes.
        position: of the crop, as in ``crop``.

    Returns:
        As ``normalize``: one clip without the batch axis.

    Raises:
        UsageError: the frames do not fit ``spec`` or are too long and narrow, or ``position`` lies outside [0, 1].
    """
    return normalize(crop_frames(frames, spec, position=position), spec)


def crop_frames(frames: NDArray[np.uint8], spec: ClipSpec, *, position: float = CENTER) -> NDArray[np.uint8]:
    """Scales and crops the frames of one clip: ``preprocess`` without the last step.

    Args:
        frames: uint8 [T, H, W, 3] of any size.
        spec: the clip that the network takes.
        position: of the crop, as in ``crop``.

    Returns:
        Uint8 [T, S, S, 3].

    Raises:
        UsageError: as ``preprocess``.
    """
    return crop(scale_frames(frames, spec.resize_short_side), spec.size, position=position)


def _check_frames(frames: NDArray[np.uint8]) -> None:
    if frames.ndim != 4 or frames.shape[3] != 3 or not frames.size or frames.dtype != np.uint8:
        msg = f"frames must be uint8 [T, H, W, 3], got {frames.dtype} {list(frames.shape)}"
        raise UsageError(msg)
