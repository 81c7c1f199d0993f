"""What is drawn onto the pictures of one source: the glow of its saliency first, its labels over it.

Zones that share the pictures are drawn together: the frame of each, its name and label, the glow within it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import av
import numpy as np
from numpy.typing import NDArray

from s2tf_edge.data.frames import scale_frame
from s2tf_edge.runtime.sinks.heat_map import HeatMap
from s2tf_edge.runtime.sinks.overlay import Overlay
from s2tf_edge.runtime.sinks.zone_boxes import ZoneBoxes, part_of
from s2tf_edge.runtime.streaming.records import Failure, Gap, Prediction, Record, Start, Status
from s2tf_edge.runtime.streaming.zones import Zone
from s2tf_edge.spec import ClipSpec

__all__ = ["Annotator", "drawable"]

_MAX_MARKS: Final = 64
"""Zones and regions whose labels are remembered: those that move come and go."""


def drawable(frame: av.VideoFrame, *, short_side: int = 0) -> NDArray[np.uint8]:
    """As ``scale_frame``, in memory of its own: an RGB frame's is that of everyone who is shown the picture."""
    image = scale_frame(frame, short_side)
    return image.copy() if frame.format.name == "rgb24" else image


class _Label:
    """What is current of one zone, or of the whole picture."""

    def __init__(self, clip: ClipSpec | None) -> None:
        self.prediction: Prediction | None = None
        self.heat_map = HeatMap(clip) if clip else None

    def take(self, prediction: Prediction) -> None:
        self.prediction = prediction
        if self.heat_map is not None and prediction.mask is not None:
            self.heat_map.update(prediction.mask)

    def clear(self) -> None:
        self.prediction = None
        if self.heat_map is not None:
            self.heat_map.clear()


class Annotator:
    """Follows the records of what is seen in the pictures of one source, and draws what is current.

    A label is current until the next prediction or until the signal is lost, whichever comes first.

    Args:
        source: whose pictures; the first, where several are zones of them.
        saliency: whether the masks that predictions carry are drawn as a heat map.
    """

    def __init__(self, *, source: int, saliency: bool) -> None:
        self._sources = {source}
        self._source = source
        self._saliency = saliency
        self._clip: ClipSpec | None = None
        self._marks: dict[tuple[int, str | None], _Label] = {}
        self._overlay: Overlay | None = None
        self._boxes = ZoneBoxes()

    def follow(self, record: Record) -> None:
        """Takes any record; those of other sources change nothing."""
        if isinstance(record, Start):
            self._clip = record.clip if self._saliency else None
            self._sources = {each for each in range(len(record.sources)) if record.picture_of(each) == self._source}
            self._marks.clear()
        elif isinstance(record, Prediction) and record.source in self._sources:
            key = record.source, record.region
            # The newest is last, and the oldest goes.
            self._marks[key] = mark = self._marks.pop(key, None) or _Label(self._clip)
            mark.take(record)
            if len(self._marks) > _MAX_MARKS:
                del self._marks[next(iter(self._marks))]
        else:
            lost = self._lost(record)
            for key, mark in self._marks.items():
                if key[0] in lost:
                    mark.clear()

    def draw_saliency(self, image: NDArray[np.uint8], *, pts_seconds: float, zones: Sequence[Zone] = ()) -> None:
        """Draws the heat maps, where there are any, into the whole picture: uint8 [H, W, 3] in RGB."""
        for zone in zones or (_whole(self._source),):
            mark = self._marks.get((zone.source, zone.region))
            if mark is not None and mark.heat_map is not None:
                mark.heat_map.draw(part_of(image, zone), pts_seconds=pts_seconds)

    def draw_labels(self, image: NDArray[np.uint8], *, zones: Sequence[Zone] = ()) -> None:
        """Draws the labels, where there are any, into a picture of any size: uint8 [H, W, 3] in RGB."""
        if zones:
            self._boxes.draw(image, [(zone, self._describe(zone)) for zone in zones])
            return
        height, width = image.shape[:2]
        if self._overlay is None or self._overlay.size != (height, width):
            self._overlay = Overlay(width, height)
        mark = self._marks.get((self._source, None))
        if mark is not None and mark.prediction is not None:
            self._overlay.draw(image, mark.prediction)

    def _describe(self, zone: Zone) -> str:
        mark = self._marks.get((zone.source, zone.region))
        if mark is None or mark.prediction is None:
            return ""
        return f"{mark.prediction.label}  {100 * mark.prediction.score:.0f} %"

    def _lost(self, record: Record) -> set[int]:
        """The sources whose signal is lost, as the record says."""
        if isinstance(record, Gap | Failure):
            return {record.source}
        if isinstance(record, Status):
            return {each for each in self._sources if record.sources[each].state in {"lost", "failed"}}
        return set()


def _whole(source: int) -> Zone:
    return Zone(source, None, None)
