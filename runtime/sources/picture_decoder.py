"""Reads numbered pictures one after another, as the frames of a video."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import Final

import av

from s2tf_edge.data.container import open_container, reason, video_stream
from s2tf_edge.data.frames import DEFAULT_FPS
from s2tf_edge.errors import InputFileError
from s2tf_edge.runtime.sources.continuity import Continuity
from s2tf_edge.runtime.sources.decoder import Decoded
from s2tf_edge.runtime.sources.source import Source
from s2tf_edge.runtime.sources.timing import StageTimes

__all__ = ["PictureDecoder"]

logger = logging.getLogger(__name__)

_TOLERANCE_SECONDS: Final = 1e-6
_OPTIONS: Final = {
    # A name stands for one file, whatever it holds.
    "pattern_type": "none",
    # A file that only calls itself a picture, such as a playlist, must not lead elsewhere.
    "format_whitelist": "image2,bmp_pipe,jpeg_pipe,pgm_pipe,png_pipe,ppm_pipe,tiff_pipe,webp_pipe",
}


class PictureDecoder:
    """Has the face of a ``Decoder``, of which it takes the arguments.

    Times count from the first picture. A hole in the numbers takes its time, as frames that are missing do:

        frame_0007.jpg  frame_0008.jpg  frame_0010.jpg
                 0.00            0.04            0.12 s, at 25 a second

    Where fewer than half of the numbers are there, as in names made of dates, the pictures follow on each other.

    Args:
        source: with ``pictures``.
        stop: ends reading from another thread.
        times: where the time of decoding goes.
        start_seconds: where to begin.
        fps: pictures a second; 25 unless given, which is logged once.
        hwaccel: not used.
        catch_up: not used, as files can wait.
        continuity: not used, as files are read once.
    """

    behind = 0
    broken = ""

    def __init__(
        self,
        source: Source,
        *,
        stop: threading.Event,
        times: StageTimes,
        start_seconds: float = 0.0,
        fps: float | None = None,
        hwaccel: str | None = None,
        catch_up: bool = True,
        continuity: Continuity | None = None,
    ) -> None:
        del hwaccel, catch_up
        self.source = source
        self.continuity = continuity or Continuity()
        self._stop = stop
        self._times = times
        self._start_seconds = start_seconds
        self._positions = _find_positions(source.picture_numbers)
        if fps is None:
            _announce_rate()
        self.frame_seconds = 1 / (fps or float(DEFAULT_FPS))
        self.corrupt = 0
        """Pictures that did not decode."""

    def close(self) -> None:
        """Nothing is open."""

    @property
    def duration_seconds(self) -> float:
        """From the start to the end."""
        return max(0.0, (self._positions[-1] + 1) * self.frame_seconds - self._start_seconds)

    def frames(self) -> Iterator[Decoded]:
        """Yields every picture that decodes.

        Raises:
            InputFileError: there is none, or none from the start asked for.
        """
        is_empty = True
        for position, path in zip(self._positions, self.source.pictures, strict=True):
            seconds = position * self.frame_seconds
            if self._stop.is_set():
                return
            frame = self._decode(path) if seconds >= self._start_seconds - _TOLERANCE_SECONDS else None
            if frame is not None:
                is_empty = False
                yield Decoded(frame=frame, pts_seconds=seconds, own_seconds=seconds, presented_at=perf_counter())
        if is_empty and not self._stop.is_set():
            raise self._make_no_frame_error()

    def _decode(self, path: Path) -> av.VideoFrame | None:
        started = perf_counter()
        try:
            with open_container(path, options=_OPTIONS) as container:
                return next(container.decode(video_stream(container)), None)
        except (InputFileError, av.FFmpegError) as error:
            self.corrupt += 1
            if self.corrupt == 1 and not self._stop.is_set():
                logger.warning("%s is left out (%s), as are others that cannot be read", path, reason(error))
            return None
        finally:
            self._times.add("decode", 1e3 * (perf_counter() - started))

    def _make_no_frame_error(self) -> InputFileError:
        if self._start_seconds and not self.corrupt:
            return InputFileError(f"{self.source.name} ends before {self._start_seconds:g} s; give an earlier start")
        return InputFileError(f"{self.source.name} holds no picture that decodes; check that they are pictures")


def _find_positions(numbers: Sequence[int]) -> Sequence[int]:
    """Which frame each picture is, from 0."""
    positions = [number - numbers[0] for number in numbers]
    return positions if 2 * len(numbers) > positions[-1] else range(len(numbers))


@functools.cache
def _announce_rate() -> None:
    logger.info("pictures have no times: %d a second are assumed; give `fps=F` if there are more or fewer", DEFAULT_FPS)
