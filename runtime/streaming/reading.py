"""One reading of a source, from its opening to its end or its loss: frames in; gaps, pictures and windows out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Final

from s2tf_edge.errors import SourceError
from s2tf_edge.runtime.sources.decoder import Decoded, Decoder
from s2tf_edge.runtime.sources.picture_decoder import PictureDecoder
from s2tf_edge.runtime.streaming.clip_ring import Window
from s2tf_edge.runtime.streaming.records import Gap, Picture
from s2tf_edge.runtime.streaming.source_report import SourceReport
from s2tf_edge.runtime.streaming.stream_options import ReadOptions
from s2tf_edge.runtime.streaming.window import Windower, gap_seconds
from s2tf_edge.runtime.streaming.zone_rings import RegionGone
from s2tf_edge.runtime.streaming.zones import make_zones
from s2tf_edge.spec import ClipSpec

__all__ = ["Reading"]

_TOLERANCE_SECONDS: Final = 1e-3
"""Containers round presentation times, Matroska to whole milliseconds."""
_LEAST_STEP_SECONDS: Final = 0.01


class Reading:
    """A source from its opening to its end or loss, as gaps, pictures and windows.

    A live source that was read before goes on in presentation time, as much later as it was away. Each reading counts
    its frames from 0; what is added to them comes from when frames were presented on this machine's clock:

        presented at      100.0  100.5  101.0      (lost)      104.0  104.5     of ``perf_counter``
        frame's own time    0.0    0.5    1.0                    0.0    0.5     of each reading
        shift               0.0    0.0    0.0                    4.0    4.0     1.0 + (104.0 - 101.0)
        presentation time   0.0    0.5    1.0  └── gap, lost ──┘ 4.0    4.5     in all records

    Args:
        report: of the source; it is kept up to date.
        spec: of the clips.
        options: how to read.
        hop: samples from the start of one window to the start of the next.
        keep_all: whether every frame is decoded, however far behind a live source that is.
        stop: ends reading from another thread.
        resume: called when a read that may take for ever has returned; false where nothing more may come of it.

    Raises:
        InputFileError: the file cannot be read or holds no video.
        SourceError: the address or device cannot be opened.
    """

    def __init__(
        self,
        report: SourceReport,
        *,
        spec: ClipSpec,
        options: ReadOptions,
        hop: int,
        keep_all: bool,
        stop: threading.Event,
        resume: Callable[[], bool],
    ) -> None:
        self._report = report
        self._options = options
        self._stop = stop
        self._resume = resume
        kind = PictureDecoder if report.source.pictures else Decoder
        self._decoder: Decoder | PictureDecoder = kind(
            report.source,
            stop=stop,
            times=report.times,
            start_seconds=options.start_seconds,
            fps=options.fps,
            hwaccel=options.hwaccel,
            catch_up=not keep_all,
            continuity=report.continuity,
        )
        self._windower = Windower(
            spec,
            hop=hop,
            gap_seconds=self._gap_seconds(spec),
            times=report.times,
            source=report.index,
            zones=make_zones(options.regions, indices=[zone.index for zone in report.zones], times=report.times),
        )
        self._counts_before = (report.corrupt_packets, report.frames_behind, report.out_of_order)
        self._left_out_before = report.regions_left_out

    def __enter__(self) -> Reading:
        return self

    def __exit__(self, *_: object) -> None:
        self._decoder.close()

    def items(self) -> Iterator[list[Gap | Picture | RegionGone | Window]]:
        """Yields for each frame the gap before it, its picture if asked for, and the windows that it completes.

        Raises:
            InputFileError: a file in which no frame decodes, or none from the start asked for.
            SourceError: a live source that was lost, or gave no frame.
        """
        report, was_lost = self._report, self._report.presented_at is not None
        if not self._stop.is_set():
            report.source, report.duration_seconds = self._decoder.source, self._duration_seconds()
        # The duration asked for counts from a file's first frame, of a live source from 0, with the time it is away.
        shift_seconds, until = 0.0, self._until(0.0) if report.source.live else None
        shown_until: float | None = None
        try:
            for decoded in self._decoder.frames():
                # The frame may come after this thread was left behind: its successor writes the report by now.
                if not self._resume():
                    return
                gaps: list[Gap] = []
                if report.presented_at is not None and was_lost:
                    shift_seconds = self._find_shift(decoded, report.presented_at)
                    gaps, was_lost = [self._count_return(decoded.pts_seconds + shift_seconds, decoded)], False
                seconds = decoded.pts_seconds + shift_seconds
                until = self._until(seconds) if until is None else until
                if seconds >= until - _TOLERANCE_SECONDS:
                    # Of a file, the frame before is seen until then.
                    shown_until = None if report.source.live else until
                    break
                yield [*gaps, *self._process(decoded, seconds)]
        except SourceError:
            # What came before the loss is whole; what comes after it is of another reading.
            if not self._stop.is_set():
                yield list(self._windower.finish())
            raise
        finally:
            # Whatever ended the loop, the decoder's counts of its last packets are still to be taken over.
            if self._resume():
                self._update_counts()
        if not self._stop.is_set():
            yield list(self._windower.finish(shown_until=shown_until))

    def _find_shift(self, decoded: Decoded, before: float) -> float:
        """From a reading's times to the source's, once it is back: as much later as its frames were presented."""
        position = self._report.position_seconds
        shift_seconds = position + decoded.presented_at - before
        # What a playlist still lists of an encoder that was restarted may be older than what was read last.
        step_seconds = self._decoder.frame_seconds or _LEAST_STEP_SECONDS
        return max(shift_seconds, position + step_seconds - decoded.pts_seconds)

    def _until(self, start_seconds: float) -> float:
        return start_seconds + (self._options.duration_seconds or float("inf"))

    def _duration_seconds(self) -> float | None:
        known = [self._decoder.duration_seconds, self._options.duration_seconds]
        return min((seconds for seconds in known if seconds is not None), default=None)

    def _gap_seconds(self, spec: ClipSpec) -> float:
        """Of a file none is too long: a picture that is held is a picture, as in a recording of a screen."""
        is_live = self._decoder.source.live
        return gap_seconds(spec, frame_seconds=self._decoder.frame_seconds) if is_live else float("inf")

    def _count_return(self, seconds: float, decoded: Decoded) -> Gap:
        """The source is back; what follows is presented from ``seconds`` on."""
        report = self._report
        report.reconnects += 1
        report.gaps += 1
        return Gap.between(
            report.index,
            report.position_seconds,
            seconds,
            cause="lost",
            offsets_seconds=(report.own_offset_seconds, decoded.own_seconds - seconds),
        )

    def _process(self, decoded: Decoded, seconds: float) -> Iterator[Gap | Picture | RegionGone | Window]:
        """Reports a frame; gives what it makes: a gap first, the picture next, then the windows that it completes."""
        report = self._report
        report.first_seconds = report.first_seconds if report.frames else seconds
        report.frames += 1
        report.state, report.message = "playing", None
        report.position_seconds, report.presented_at = seconds, decoded.presented_at
        report.own_offset_seconds = decoded.own_seconds - seconds
        report.continuity = self._decoder.continuity
        self._update_counts()
        is_shown = not self._options.pictures
        for item in self._windower.add(
            decoded.frame,
            pts_seconds=seconds,
            presented_at=decoded.presented_at,
            own_seconds=decoded.own_seconds,
            restarts=decoded.follows_restart,
            cause="behind" if decoded.follows_cut else "pause",
        ):
            report.gaps += isinstance(item, Gap)
            # Shown with the label of its own window, and behind the gap that it ends.
            if isinstance(item, Window) and not is_shown:
                yield self._make_picture(decoded, seconds)
                is_shown = True
            yield item
        if not is_shown:
            yield self._make_picture(decoded, seconds)

    def _make_picture(self, decoded: Decoded, seconds: float) -> Picture:
        """The frame for those who look, once it is known where its zones are."""
        zones = tuple(zone for zone in self._windower.zones if zone.region is not None)
        return Picture(source=self._report.index, pts_seconds=seconds, frame=decoded.frame, zones=zones)

    def _update_counts(self) -> None:
        """Adds what was left out in this reading to what was before it."""
        corrupt, behind, out_of_order = self._counts_before
        self._report.corrupt_packets = corrupt + self._decoder.corrupt
        self._report.frames_behind = behind + self._decoder.behind
        self._report.out_of_order = out_of_order + self._windower.out_of_order
        self._report.regions_left_out = self._left_out_before + self._windower.regions_left_out
        self._report.broken = self._decoder.broken or None
