"""What is drawn onto the pictures of one source: the glow of its saliency first, its labels over it."""

from __future__ import annotations

import av
import numpy as np
from numpy.typing import NDArray

from s2tf_edge.data.frames import scale_frame
from s2tf_edge.runtime.sinks.heat_map import HeatMap
from s2tf_edge.runtime.sinks.overlay import Overlay
from s2tf_edge.runtime.streaming.records import Failure, Gap, Prediction, Record, Start, Status

__all__ = ["Annotator", "drawable"]


def drawable(frame: av.VideoFrame, *, short_side: int = 0) -> NDArray[np.uint8]:
    """As ``scale_frame``, in memory of its own: an RGB frame's is that of everyone who is shown the picture."""
    image = scale_frame(frame, short_side)
    return image.copy() if frame.format.name == "rgb24" else image


class Annotator:
    """Follows the records of one source and draws what is current.

    A label is current until the next prediction or until the signal is lost, whichever comes first.
    """

    def __init__(self, *, source: int, saliency: bool) -> None:
        self._source = source
        self._saliency = saliency
        self._heat_map: HeatMap | None = None
        self._overlay: Overlay | None = None
        self._prediction: Prediction | None = None

    def follow(self, record: Record) -> None:
        """Takes any record; those of other sources change nothing."""
        if isinstance(record, Start):
            self._heat_map = HeatMap(record.clip) if self._saliency else None
        elif isinstance(record, Prediction) and record.source == self._source:
            self._prediction = record
            if self._heat_map is not None and record.mask is not None:
                self._heat_map.update(record.mask)
        elif self._is_loss(record):
            self._prediction = None
            if self._heat_map is not None:
                self._heat_map.clear()

    def draw_saliency(self, image: NDArray[np.uint8], *, pts_seconds: float) -> None:
        """Draws the heat map, where there is one, into the whole picture: uint8 [H, W, 3] in RGB."""
        if self._heat_map is not None:
            self._heat_map.draw(image, pts_seconds=pts_seconds)

    def draw_labels(self, image: NDArray[np.uint8]) -> None:
        """Draws the labels, where there are any, into a picture of any size: uint8 [H, W, 3] in RGB."""
        height, width = image.shape[:2]
        if self._overlay is None or self._overlay.size != (height, width):
            self._overlay = Overlay(width, height)
        if self._prediction is not None:
            self._overlay.draw(image, self._prediction)

    def _is_loss(self, record: Record) -> bool:
        if isinstance(record, Gap | Failure):
            return record.source == self._source
        return isinstance(record, Status) and record.sources[self._source].state in {"lost", "failed"}
