"""The newest picture of each source as a JPEG, encoded only while somebody looks."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import av

from s2tf_edge.data.frames import scale_frame
from s2tf_edge.data.jpeg import to_jpeg
from s2tf_edge.errors import UsageError
from s2tf_edge.runtime.streaming.records import Picture, Record, SourceStatus, Start, Status

__all__ = ["Jpeg", "Pictures", "to_jpeg"]

logger = logging.getLogger(__name__)

_LONG_SIDE: Final = 640
_PERIOD_SECONDS: Final = 1 / 15
_TICK_SECONDS: Final = 1 / 60
_ENDED: Final = 8
"""Sources that have ended whose last picture is kept: one may be large, and a folder may hold any number of videos."""


@dataclass(frozen=True, kw_only=True)
class Jpeg:
    """An encoded picture."""

    number: int
    """Its position among the pictures of its source, from 1."""
    made_at: float
    """``time.monotonic`` when its encoding began."""
    data: bytes
    """Empty where the picture cannot be converted."""


class Pictures:
    """Keeps a reference to each source's newest picture; readers encode it, once for all of them.

    One thread encodes, so that the page takes no more than one core from the stream.
    """

    def __init__(self) -> None:
        self._start: Start | None = None
        self._newest: dict[int, tuple[int, Picture]] = {}
        self._encoded: dict[int, Jpeg] = {}
        self._locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._encoder = ThreadPoolExecutor(1, thread_name_prefix="pictures of the page")

    def write(self, record: Record) -> None:
        """Takes a picture in place of the one before; learns from a Status which sources have ended."""
        if isinstance(record, Start):
            self._start = record
        elif isinstance(record, Picture):
            number, _ = self._newest.get(record.source, (0, None))
            self._newest[record.source] = (number + 1, record)
        elif isinstance(record, Status):
            self._let_go(record.sources)

    async def newest(self, source: int) -> Jpeg | None:
        """The newest picture, or one a fifteenth of a second older; None before the first.

        Zones of one source share its pictures: each of them gives the same.
        """
        source = self._start.picture_of(source) if self._start and source < len(self._start.sources) else source
        held = self._newest.get(source)
        if held is None:
            return None
        async with self._locks[source]:
            number, picture = self._newest.get(source, held)
            jpeg = self._encoded.get(source)
            now = time.monotonic()
            if jpeg and (jpeg.number == number or now - jpeg.made_at < _PERIOD_SECONDS):
                return jpeg
            data = await asyncio.get_running_loop().run_in_executor(self._encoder, _encode, picture.frame)
            self._encoded[source] = Jpeg(number=number, made_at=now, data=data)
            return self._encoded[source]

    async def after(self, source: int, number: int, *, timeout_seconds: float) -> Jpeg | None:
        """A picture other than ``number``, waiting for it as long as that; None if there is none."""
        until = time.monotonic() + timeout_seconds
        while True:
            jpeg = await self.newest(source)
            if jpeg is not None and jpeg.number != number:
                return jpeg
            if time.monotonic() >= until:
                return None
            await asyncio.sleep(_TICK_SECONDS)

    def _let_go(self, sources: Sequence[SourceStatus]) -> None:
        ended = [source for source in self._newest if sources[source].state in ("ended", "failed")]
        for source in ended[:-_ENDED]:
            del self._newest[source]
        for source in [*self._encoded]:
            if source not in self._newest:
                del self._encoded[source]

    def close(self) -> None:
        """Ends the encoder."""
        self._encoder.shutdown(wait=False, cancel_futures=True)


def _encode(frame: av.VideoFrame) -> bytes:
    long, short = max(frame.width, frame.height), min(frame.width, frame.height)
    short_side = max(1, short * _LONG_SIDE // long) if long > _LONG_SIDE else 0
    try:
        return to_jpeg(scale_frame(frame, short_side))
    except UsageError as error:
        logger.debug("no picture for the page: %s", error)
        return b""
