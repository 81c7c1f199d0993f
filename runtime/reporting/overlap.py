"""Which videos of an evaluation an integer artifact was calibrated on, by the frames that its ``calib.json`` knows.

On these its accuracy may be better than on others, so that nothing is shown by it.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import defaultdict
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from s2tf_edge.data.videos import Video, Videos
from s2tf_edge.errors import InputFileError
from s2tf_edge.spec import ClipSpec

__all__ = ["find_overlap"]


def find_overlap(calibration: Mapping[str, Any], data: Videos, spec: ClipSpec) -> tuple[str, ...]:
    """Names of the videos that have the frames of a calibrated one of that name, in whatever folder.

    Where frames cannot be compared, the same path is enough.

    Args:
        calibration: what is in ``calib.json``, or anything else.
        data: what was evaluated; videos that may be meant are read once more.
        spec: of the clips that were calibrated on.
    """
    clips = calibration.get("clips")
    used: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for clip in clips if isinstance(clips, list) else ():
        if isinstance(clip, Mapping) and isinstance(clip.get("video"), str):
            used[PurePath(clip["video"]).name].append(clip)
    return tuple(
        video.name
        for video in data.videos
        if any(_is_of(clip, video, spec) for clip in used.get(PurePath(video.name).name, ()))
    )


def _is_of(clip: Mapping[str, Any], video: Video, spec: ClipSpec) -> bool:
    at, digest = clip.get("at"), clip.get("sha256")
    if isinstance(at, (int, float)) and 0 <= at <= 1 and digest:
        with contextlib.suppress(InputFileError):
            return bool(hashlib.sha256(video.read(spec, at=at).tobytes()).hexdigest() == digest)
    return bool(clip["video"] == video.name)
