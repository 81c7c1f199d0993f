"""What a causal network sees before a clip, so that it knows both a fresh start and a past that goes on.

Each training clip is read with the frames before it, as far as the video has any. They make clips of several lengths,
which lie side by side from the right:

    start 0   p p p p | c c c c c c        p  seen before the clip
    start 3   · · · p | c c c c c c        ·  nothing: a network begins at the first p
    start 4   · · · · | c c c c c c           (the first picture stands there, so that norms see no black)

Of each batch as much is then left as chance has, for all clips alike: norms measure all positions, and so fewer that
are before a beginning, where there is nothing. Some are where videos have less of a past.
"""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from s2tf_edge.data.videos import Video
from s2tf_edge.errors import UsageError
from s2tf_edge.models.s2tf import VideoNetwork
from s2tf_edge.spec import MAX_FRAMES, ClipSpec
from s2tf_edge.training.config import TrainConfig

__all__ = ["cut_past", "fill_up", "find_prefix", "reach_back"]


def find_prefix(config: TrainConfig, network: VideoNetwork) -> int:
    """The most frames before a clip: as many as the clip has, unless told otherwise; none where a network needs none.

    What is further back hardly counts, though it is felt for ``receptive_field`` frames: weights of one layer after the
    other make a bell, and not a box.

    Raises:
        UsageError: they are asked for of a network that is not causal, or are more than can be read with a clip.
    """
    frames = network.spec.frames
    if network.is_causal:
        most = frames if config.prefix is None else config.prefix
        if frames + most > MAX_FRAMES:
            msg = f"`prefix` and the clip's {frames} frames must be {MAX_FRAMES} at most together, got {most}"
            raise UsageError(msg)
        return most
    if config.prefix:
        msg = f"`prefix` is for causal networks, and {network.name} sees whole clips; leave it out, or give causal=true"
        raise UsageError(msg)
    return 0


def reach_back(video: Video, spec: ClipSpec, *, at: float, most: int) -> tuple[ClipSpec, float]:
    """A clip and the frames before it, as one longer clip.

    Args:
        video: what is read.
        spec: of the clip.
        at: where in the video the clip is.
        most: frames before it, fewer where the video has fewer.

    Returns:
        What to read, and where: it ends where the clip ends.

    Raises:
        InputFileError: the video cannot be read.
    """
    room = video.room(spec) * spec.frames
    before = min(most, math.floor(at * room))
    if not before:
        return spec, at
    longer = dataclasses.replace(spec, frames=spec.frames + before)
    return longer, (at * room - before) / (room - before) if room > before else 0.0


def fill_up(clip: Tensor, frames: int) -> tuple[Tensor, int]:
    """A clip of ``frames`` frames, [3, frames, S, S], and the one that it begins at."""
    missing = frames - clip.shape[1]
    return torch.cat([clip[:, :1].expand(-1, missing, -1, -1), clip], dim=1), missing


def cut_past(clips: Tensor, starts: Tensor, *, frames: int, share: float) -> tuple[Tensor, Tensor]:
    """A batch with some of its past, from nothing to all that some clip in it has.

    Args:
        clips: float [N, 3, T, S, S].
        starts: the frame that each begins at, int64 [N].
        frames: of the clip itself, which are the last.
        share: in [0, 1), of the lengths that there are.

    Returns:
        The shorter batch, and the frames that its clips begin at.
    """
    most = clips.shape[2] - frames - int(starts.min())
    first = clips.shape[2] - frames - int(share * (most + 1))
    return clips[:, :, first:], (starts - first).clamp(min=0)
