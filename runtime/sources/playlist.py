"""Playlists of segments (HLS, DASH): how long their segments are, and whether there will be more.

A live playlist gets another segment when that is complete, so that nothing comes for seconds, then all of it at once.
How long to wait for it is not ours to say:

    listed     |--1--|--2--|--3--|                     |--4--|
    seconds    0     6     12    18    24              34
                                 └ 4 was due at 24: FFmpeg asks again every 3 s, and we wait for three segments

HLS is RFC 8216; of DASH (ISO/IEC 23009-1) only the durations in the head of its manifest are read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Final
from urllib.parse import urljoin

import av

from s2tf_edge.data.container import reason
from s2tf_edge.errors import SourceError
from s2tf_edge.runtime.sources.source import READ_SECONDS, Source

__all__ = ["PLAYLIST_FORMATS", "Playlist", "parse_playlist", "read_playlist"]

PLAYLIST_FORMATS: Final = ("hls", "dash")
"""What FFmpeg calls them."""

_START: Final = -3
"""The segment at which FFmpeg begins, as RFC 8216, 6.3.3 has it: the third from the end."""
_BACK_SECONDS: Final = 60.0
"""What was missed is fetched up to here: a live source is to get back to what is now."""
_PATIENCE: Final = 3
"""Segments that may be missing before a source is lost: one that fails to come is not to be an outage."""
_UNKNOWN_TARGET_SECONDS: Final = 10.0
_MIN_TARGET_SECONDS, _MAX_TARGET_SECONDS = 1.0, 60.0
_MAX_DURATION_SECONDS: Final = 3600.0
_RETRIES: Final = 3
"""A segment that fails once would be left out otherwise."""
_MAX_BYTES: Final = 4 * 2**20
"""A day of two-second segments takes half of it."""
_MAX_HEAD: Final = 2**14
"""Characters of the root element of a manifest."""
_DURATION: Final = re.compile(r"P(?:(\d+)D)?T?(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?")


@dataclass(frozen=True, kw_only=True)
class Playlist:
    """What a playlist says of its segments."""

    target_seconds: float
    """Longest duration of a segment, about how often the playlist changes."""
    durations: tuple[float, ...] = ()
    """Of the segments that are listed, in seconds; empty where the list is not read, as in DASH."""
    has_ended: bool = False
    """Whether no segment will be added."""

    @property
    def read_seconds(self) -> float:
        """How long to wait for the next packet before the source counts as lost."""
        return max(READ_SECONDS, _PATIENCE * max(self.slack_seconds, _MIN_TARGET_SECONDS))

    @property
    def slack_seconds(self) -> float:
        """How much later than others a segment may come with nothing wrong: by about as long as one lasts."""
        return min(self.target_seconds, _MAX_TARGET_SECONDS)

    def options(self, *, away_seconds: float = 0.0) -> dict[str, str]:
        """FFmpeg's options for reading it with that patience.

        Args:
            away_seconds: for how long nothing was had of it, which is fetched where it is still listed.
        """
        # Every reload waits for half a target duration; where FFmpeg does not wait at all, their number ends it.
        target = max(self.target_seconds, _MIN_TARGET_SECONDS)
        reloads = math.ceil(2 * self.read_seconds / target) + 4
        start = {"live_start_index": str(self._find_start(away_seconds))} if away_seconds else {}
        return {"max_reload": str(reloads), "seg_max_retry": str(_RETRIES), **start}

    def _find_start(self, away_seconds: float) -> int:
        """The segment to begin with, from the end: one more than were missed, for a minute at most."""
        missed = sum(each < min(away_seconds, _BACK_SECONDS) for each in accumulate(reversed(self.durations)))
        return min(_START, -missed - 2)

    def listed_seconds(self, options: Mapping[str, str]) -> float:
        """Duration of what is listed from where FFmpeg begins: the first frame was presented longer ago than that."""
        start = options.get("live_start_index", "")
        return sum(self.durations[int(start) if re.fullmatch(r"-?\d+", start) else _START :])

    def settle(self, source: Source, *, is_known: bool) -> Source:
        """The source with the rhythm of this playlist.

        Args:
            source: whose playlist this is.
            is_known: whether it gave frames before: what has ended since is no recording, but the end of it.
        """
        return replace(
            source,
            live=source.live and (is_known or not self.has_ended),
            ends=source.ends or self.has_ended,
            read_seconds=self.read_seconds,
        )


def parse_playlist(text: str) -> Playlist | None:
    """Reads a media playlist of HLS or the head of a DASH manifest; None where ``text`` is neither."""
    if (start := text.find("<MPD")) >= 0:
        return _parse_manifest(text[start : start + _MAX_HEAD].partition(">")[0])
    target = re.search(r"^#EXT-X-TARGETDURATION:[ \t]*(\d{1,9})", text, re.MULTILINE)
    if not text.startswith("#EXTM3U") or not target:
        return None
    durations = re.findall(r"^#EXTINF:\s*(\d+(?:\.\d*)?)", text, re.MULTILINE)
    return Playlist(
        target_seconds=float(target[1]),
        durations=tuple(min(float(each), _MAX_DURATION_SECONDS) for each in durations),
        has_ended=re.search(r"^#EXT-X-ENDLIST\s*$", text, re.MULTILINE) is not None,
    )


def read_playlist(source: Source) -> Playlist:
    """Asks for the playlist of an address; where it is one of playlists, for the first of these, which FFmpeg plays.

    Where it cannot be read, or is of a kind that is not known here, long segments are assumed.

    Raises:
        SourceError: the address does not answer.
    """
    text = _fetch(source.url, source)
    variant = _find_variant(text)
    # Whoever writes a playlist names no file or pipe of this machine.
    if variant and re.match("https?://", address := urljoin(source.url, variant)):
        # Behind a redirect its address is another one, which FFmpeg knows.
        with suppress(SourceError):
            text = _fetch(address, source)
    return parse_playlist(text) or Playlist(target_seconds=_UNKNOWN_TARGET_SECONDS)


def _find_variant(text: str) -> str | None:
    """The address of the first variant that a playlist of playlists names, behind the line that describes it."""
    # Line by line: an expression over many of them may take for ever, and so stop all threads.
    lines = (line.strip() for line in text.splitlines())
    if not any(line.startswith("#EXT-X-STREAM-INF:") for line in lines):
        return None
    return next((line for line in lines if line and not line.startswith("#")), None)


def _fetch(url: str, source: Source) -> str:
    """A text, by FFmpeg's own protocols: with its options, headers, cookies and timeouts."""
    parts: list[bytes] = []
    size = 0
    try:
        with av.open(url, format="data", options=dict(source.options), timeout=READ_SECONDS) as container:
            for packet in container.demux():
                parts.append(bytes(packet))
                size += packet.size
                if size > _MAX_BYTES:
                    break
    except (av.FFmpegError, OSError, ValueError) as error:
        # Where a server does not say how long its answer is, the end of it is an error to FFmpeg.
        if parts:
            return _decode(parts)
        msg = f"cannot open {source.name} ({reason(error)}); check the address, and that the device is on"
        # PyAV's error quotes the URL with its password, which a traceback in the log would show.
        raise SourceError(msg) from None
    return _decode(parts)


def _decode(parts: Iterable[bytes]) -> str:
    return b"".join(parts).decode("utf-8", errors="replace").removeprefix("\ufeff").replace("\r\n", "\n")


def _parse_manifest(head: str) -> Playlist:
    """The rhythm of a DASH manifest, from the attributes of its root element."""
    attributes = dict(re.findall(r'\b(\w+)\s*=\s*"([^"]*)"', head))
    named = (attributes.get(name, "") for name in ("minimumUpdatePeriod", "maxSegmentDuration"))
    return Playlist(
        target_seconds=max(map(_parse_duration, named)), has_ended=attributes.get("type", "static") == "static"
    )


def _parse_duration(text: str) -> float:
    """Seconds of a duration as XML has them, such as PT1M2.5S; 0 where there is none."""
    match = _DURATION.fullmatch(text)
    days, hours, minutes, seconds = (float(part or 0) for part in match.groups()) if match else (0.0,) * 4
    return 86_400 * days + 3600 * hours + 60 * minutes + seconds
