"""Decoded frames: when they are presented, and what they look like in RGB."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from fractions import Fraction
from typing import Final, cast

import av
import numpy as np
from av.format import Flags
from av.sidedata.sidedata import SideDataContainer
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from s2tf_edge.data.cropping import PixelBox, crop_frame
from s2tf_edge.errors import UsageError
from s2tf_edge.preprocess import INTERPOLATION, scaled_size

__all__ = ["DEFAULT_FPS", "FrameTimes", "has_times", "nominal_fps", "said_fps", "scale_frame", "shown_size", "turned"]

DEFAULT_FPS: Final = Fraction(25)
"""Assumed where a source without times does not say how fast it is."""
_NO_TIMES: Final[int] = Flags.no_timestamps.value  # type: ignore[assignment]  # the stub gives the flag itself
_MAX_FPS: Final = 1000
_MAX_SCALERS: Final = 32
"""Of a thread: the zones of a picture, each of a size of its own."""
_local = threading.local()


def has_times(stream: VideoStream) -> bool:
    """Whether frames have times; elementary streams (raw H.264, HEVC, MJPEG, …) have none, whatever FFmpeg makes up."""
    return not stream.container.format.flags & _NO_TIMES


def said_fps(stream: VideoStream) -> Fraction | None:
    """Frames a second as the source says; None where it does not.

    Of an elementary stream the codec's own word counts, as H.264's timing: FFmpeg puts 25 in its place.
    """
    own = (stream.average_rate, stream.guessed_rate)
    rates: tuple[Fraction | None, ...] = own if has_times(stream) else (stream.codec_context.framerate,)
    # An encoder that was given a time for each frame says how fine its clock is in place of a rate.
    return next((rate for rate in rates if rate and 0 < rate <= _MAX_FPS), None)


def nominal_fps(stream: VideoStream) -> Fraction:
    """Frames a second as the source says, for frames that have no times; 25 where it says nothing."""
    return said_fps(stream) or DEFAULT_FPS


class FrameTimes:
    """Presentation times of the frames of one stream, in the order in which a decoder hands them out.

    Decoders put frames in order of presentation. AVI has only times of decoding, which FFmpeg takes for times of
    presentation; with B-frames those of decoding are used there, as where times run backwards, late by a frame or two:

        packed B-frames   pts 1 4 3 5 7 6 9 8     dts 2 3 4 5 6 7 8 9     the pictures themselves are in order

    A frame without a time follows the one before it at the average rate. Where no frame has one, or ``fps`` is given,
    frames are counted: frame n is presented at n / fps.
    """

    def __init__(self, stream: VideoStream, *, fps: float | None = None) -> None:
        self._is_counted = fps is not None or not has_times(stream)
        self._period = 1 / (nominal_fps(stream) if fps is None else Fraction(fps))
        self._last = -self._period
        self._last_pts: int | None = None
        self._by_dts = stream.container.format.name == "avi" and stream.codec_context.has_b_frames

    def seconds(self, frame: av.VideoFrame) -> float:
        """The presentation time of the next frame."""
        backwards = self._last_pts is not None and frame.pts is not None and frame.pts < self._last_pts
        self._by_dts = self._by_dts or backwards
        self._last_pts = frame.pts
        ticks = frame.dts if self._by_dts else frame.pts
        if self._is_counted or ticks is None or frame.time_base is None:
            self._last += self._period
        else:
            self._last = ticks * frame.time_base
        return float(self._last)


def scale_frame(frame: av.VideoFrame, short_side: int = 0, *, box: PixelBox | None = None) -> NDArray[np.uint8]:
    """Converts a decoded frame of any pixel format to RGB, scaled and turned as its metadata asks.

    Args:
        frame: as the decoder gave it.
        short_side: pixels of the shorter side afterwards; 0 keeps the size.
        box: the part of the picture, as it is shown, to take; None takes all of it.

    Returns:
        Uint8 [h, w, 3], C-contiguous.

    Raises:
        UsageError: the picture or the box is too long and narrow, the box does not lie in the picture, or the picture
            is of a format that FFmpeg cannot convert.
    """
    part = frame if box is None else crop_frame(frame, _as_decoded(box, frame))
    height, width = scaled_size(part.height, part.width, short_side=short_side)
    try:
        rgb = _reformatter(part, height, width).reformat(
            part, width, height, format="rgb24", interpolation=INTERPOLATION
        )
    except av.FFmpegError as error:
        msg = f"a picture of {part.width}×{part.height} in {part.format.name} cannot be scaled ({error.strerror})"
        raise UsageError(msg) from error
    image: NDArray[np.uint8] = rgb.to_ndarray().astype(np.uint8, copy=False)
    return np.ascontiguousarray(turned(image, frame))


def shown_size(frame: av.VideoFrame) -> tuple[int, int]:
    """Height and width of a frame in pixels as it is shown, which may be turned."""
    is_swapped, _, _ = _turn(frame)
    return (frame.width, frame.height) if is_swapped else (frame.height, frame.width)


def _reformatter(frame: av.VideoFrame, height: int, width: int) -> VideoReformatter:
    """This thread's own for frames like this: it keeps swscale's context from frame to frame, a third of the time.

    One a process: a forked worker lacks the threads of its parent's, and would wait for them in use and in clean-up.
    """
    by_process: dict[int, dict[object, VideoReformatter]] = _local.__dict__.setdefault("by_process", {})
    scalers = by_process.setdefault(os.getpid(), {})
    key = frame.format.name, frame.height, frame.width, height, width
    # Last used is last: where zones move, sizes come and go.
    scalers[key] = scaler = scalers.pop(key, None) or VideoReformatter()
    if len(scalers) > _MAX_SCALERS:
        del scalers[next(iter(scalers))]
    return scaler


def turned(image: NDArray[np.uint8], frame: av.VideoFrame) -> NDArray[np.uint8]:
    """Turns and mirrors a picture as the display matrix of its frame asks, by quarter turns.

    The matrix is [[a, b, u], [c, d, v], [x, y, w]] with x' = a x + c y and y' = b x + d y (ISO/IEC 14496-12, 6.2.2).

    Args:
        image: [H, W, C], as decoded.
        frame: holds the matrix, if there is one.

    Returns:
        A view, [H, W, C] or [W, H, C].
    """
    is_swapped, is_upside_down, is_mirrored = _turn(frame)
    if is_swapped:
        image = image.swapaxes(0, 1)
    return image[:: -1 if is_upside_down else 1, :: -1 if is_mirrored else 1]


def _turn(frame: av.VideoFrame) -> tuple[bool, bool, bool]:
    """Whether rows and columns change places, and whether rows and then columns are shown in reverse order."""
    # frame.side_data would tie the frame to itself: hundreds of pictures wait for Python's collector then.
    container = SideDataContainer(frame)  # type: ignore[call-arg]  # PyAV's stubs leave its argument out
    data = cast("Mapping[str, bytes]", container).get("DISPLAYMATRIX")
    if data is None:
        return False, False, False
    a, b, _, c, d = np.frombuffer(data, np.int32)[:5].tolist()
    is_swapped = abs(b) > abs(a)
    if is_swapped:
        a, d = c, b
    return is_swapped, d < 0, a < 0


def _as_decoded(box: PixelBox, frame: av.VideoFrame) -> PixelBox:
    """The box of the shown picture as a box of the frame: what ``turned`` does, undone."""
    is_swapped, is_upside_down, is_mirrored = _turn(frame)
    left, top, width, height = box
    shown_height, shown_width = shown_size(frame)
    left = shown_width - left - width if is_mirrored else left
    top = shown_height - top - height if is_upside_down else top
    return (top, left, height, width) if is_swapped else (left, top, width, height)
