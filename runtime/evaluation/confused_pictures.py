"""A frame of each of some videos that were mistaken, for whoever wants to see why."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from s2tf_edge.data.jpeg import to_jpeg
from s2tf_edge.data.videos import Video, Videos
from s2tf_edge.errors import S2TFError
from s2tf_edge.runtime.evaluation.accuracy import Evaluation
from s2tf_edge.runtime.evaluation.confusions import ConfusedPair
from s2tf_edge.spec import ClipSpec

__all__ = ["MistakenVideo", "picture_middle", "picture_mistakes"]

logger = logging.getLogger(__name__)

_SHORT_SIDE = 160
_MIDDLE = ClipSpec(frames=1, size=_SHORT_SIDE)


@dataclass(frozen=True, kw_only=True)
class MistakenVideo:
    """One of the videos of a pair of classes."""

    name: str
    score: float
    """What the network gave the class that it said."""
    true_score: float
    """What it gave the true one."""
    jpeg: bytes
    """The frame in the middle; empty where it cannot be read again."""

    @property
    def file(self) -> str:
        """The last part of its name."""
        return Path(self.name).name


def picture_mistakes(evaluation: Evaluation, data: Videos, pair: ConfusedPair, *, most: int) -> list[MistakenVideo]:
    """The videos of a pair that the network was most sure of."""
    videos = {video.name: video for video in data.videos}
    said = evaluation.labels.index(pair.said)
    found = []
    for row in pair.rows[:most]:
        name = evaluation.names[row]
        scores = evaluation.scores[row]
        found.append(
            MistakenVideo(
                name=name,
                score=float(scores[said]),
                true_score=float(scores[evaluation.targets[row]]),
                jpeg=picture_middle(videos[name]) if name in videos else b"",
            )
        )
    return found


def picture_middle(video: Video) -> bytes:
    """A small JPEG of the frame in the middle; empty where the video cannot be read."""
    try:
        return to_jpeg(video.read(_MIDDLE)[0])
    except S2TFError as error:
        logger.debug("no picture of %s: %s", video.name, error)
        return b""
