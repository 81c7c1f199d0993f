"""The videos that an artifact calls otherwise than the baseline, with a frame of each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from s2tf_edge.data.videos import Videos
from s2tf_edge.runtime.evaluation.confused_pictures import picture_middle
from s2tf_edge.runtime.evaluation.predictions import Predictions, pair_rows

__all__ = ["Change", "find_changes"]

_PICTURES: Final = 12


@dataclass(frozen=True, kw_only=True)
class Change:
    """One video whose label changed."""

    name: str
    before: str
    """What the baseline says."""
    before_score: float
    after: str
    after_score: float
    true: str | None
    """None where it is not known."""
    jpeg: bytes = b""
    """The frame in the middle, of the first dozen; empty where it cannot be read again."""

    @property
    def kind(self) -> str:
        """``lost``, ``won``, ``wrong`` before and after, or ``unknown`` without labels."""
        if self.true is None:
            return "unknown"
        return "lost" if self.true == self.before else "won" if self.true == self.after else "wrong"

    @property
    def file(self) -> str:
        """The last part of its name."""
        return Path(self.name).name

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, without the picture."""
        return {
            "video": self.name,
            "kind": self.kind,
            "true": self.true,
            "before": self.before,
            "before_score": self.before_score,
            "after": self.after,
            "after_score": self.after_score,
        }


def find_changes(baseline: Predictions, other: Predictions, data: Videos) -> tuple[Change, ...]:
    """The videos that got another label: those that are lost first, and of these what the baseline was surest of.

    Args:
        baseline: what came before.
        other: what is compared with it, on some of the same videos.
        data: where the videos are read from once more, for their pictures.

    Raises:
        UsageError: the two have no video in common.
    """
    found = []
    for row, other_row in zip(*(rows.tolist() for rows in pair_rows(baseline, other)), strict=True):
        before, after = int(baseline.predictions[row]), int(other.predictions[other_row])
        if baseline.labels[before] != other.labels[after]:
            found.append(
                {
                    "name": baseline.names[row],
                    "before": baseline.labels[before],
                    "before_score": float(baseline.comparable[row, before]),
                    "after": other.labels[after],
                    "after_score": float(other.comparable[other_row, after]),
                    "true": baseline.true_labels[row],
                }
            )
    order = ("lost", "wrong", "unknown", "won")
    changes = sorted(
        (Change(**values) for values in found), key=lambda change: (order.index(change.kind), -change.before_score)
    )
    videos = {video.name: video for video in data.videos}
    return tuple(
        Change(**(vars(change) | {"jpeg": picture_middle(videos[change.name])}))
        if index < _PICTURES and change.name in videos
        else change
        for index, change in enumerate(changes)
    )
