"""Which clips of a data set to calibrate on, and which others to verify on: the same ones each time, from a seed.

First every video gives one clip, the classes in turn. Where more are asked for than there are videos, long ones give
several, the class with the fewest clips first. Its moments are then spread over the video, each by chance within a part
of its own, so that no two clips overlap:

    video   |---part---|---part---|---part---|
    clips     [clip]    [clip]        [clip]
"""

from __future__ import annotations

import bisect
import dataclasses
import itertools
import math
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from s2tf_edge.data.videos import Video, Videos
from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.spec import ClipSpec

__all__ = ["ClipChoice", "choose_clips", "choose_others"]

_ROUNDING: Final = 1e-6


@dataclass(frozen=True, kw_only=True)
class ClipChoice:
    """One clip of a data set."""

    video: Video
    label: int | None
    """Index into the data set's labels; None where it has none."""
    at: float
    """Where in the video, from 0 (its beginning) to 1 (its end)."""


def choose_clips(data: Videos, spec: ClipSpec, *, count: int, seed: int = 0) -> list[ClipChoice]:
    """Chooses clips: of as many videos as can be had, the classes in turn, and then further ones of long videos.

    Args:
        data: where from. Its videos are looked into only where there are fewer than ``count``; one that cannot be read
            counts as short.
        spec: how long a clip is.
        count: of clips.
        seed: of the order, and of where in its video a clip lies.

    Returns:
        At most ``count`` clips; those of one video do not overlap. Any beginning is as balanced as the whole.

    Raises:
        UsageError: ``count`` is not positive.
    """
    if count < 1:
        msg = f"the number of calibration clips must be one or more, got {count}"
        raise UsageError(msg)
    turns = data.in_turns(seed=seed)[:count]
    rooms = {index: _room(data.videos[index], spec) for index in turns} if count > len(turns) else {}
    turns += itertools.islice(_further_turns(data, turns, rooms), count - len(turns))
    random = np.random.default_rng(seed)
    firsts = random.random(len(data))
    moments = {
        index: iter(_spread(rooms[index], clips, random) if clips > 1 else [float(firsts[index])])
        for index, clips in Counter(turns).items()
    }
    return [_choose(data, index, next(moments[index])) for index in turns]


def choose_others(
    data: Videos, spec: ClipSpec, *, chosen: Sequence[ClipChoice], frames: int | None = None, seed: int = 0
) -> Iterator[ClipChoice]:
    """Clips that ``choose_clips`` did not choose: of other videos, and then of the same ones.

    Those of the same videos lie midway between two that were chosen. Those that overlap with neither come first; those
    that would show the same frames are left out. No video is looked into before its turn.

    Args:
        data: as of ``choose_clips``, and so is ``spec``.
        spec: how long the clips are that were chosen.
        chosen: those.
        frames: of each of the others, where that is another number: then those that overlap are left out, as a run of
            many clips' length would show whole ones.
        seed: as of ``choose_clips``.
    """
    firsts = np.random.default_rng(seed).random(len(data))
    # By name, as a list may hold a file twice.
    names = {each.video.name for each in chosen}
    for index in data.in_turns(seed=seed)[len(chosen) :]:
        if data.videos[index].name not in names:
            yield _choose(data, index, float(firsts[index]))
    if frames is None or frames == spec.frames:
        yield from _clips_between(chosen, spec)
    else:
        yield from _runs_between(chosen, spec, frames=frames)


def _clips_between(chosen: Sequence[ClipChoice], spec: ClipSpec) -> Iterator[ClipChoice]:
    rooms: dict[str, float] = {}
    overlapping = []
    for each, gap in _gaps(chosen):
        if each.video.name not in rooms:
            rooms[each.video.name] = _room(each.video, spec)
        lengths = gap / 2 * rooms[each.video.name]
        if lengths >= 1 - _ROUNDING:
            yield each
        elif lengths * spec.frames >= 1 - _ROUNDING:
            overlapping.append(each)
    yield from overlapping


def _runs_between(chosen: Sequence[ClipChoice], spec: ClipSpec, *, frames: int) -> Iterator[ClipChoice]:
    """Runs of other lengths than clips, about the middle between two, that share no frame with any clip.

    All is in frames of a clip here, as ``at`` is another place for a run than for a clip:

        |[clip]  ··[---run---]··  [clip]    |
         begin     start          begin
    """
    longer = dataclasses.replace(spec, frames=frames)
    taken: dict[str, list[float]] = defaultdict(list)
    for each in chosen:
        taken[each.video.name].append(each.at)
    for each, _ in _gaps(chosen):
        of_clip = _room(each.video, spec) * spec.frames
        of_run = _room(each.video, longer) * frames
        start = min(max(0.0, each.at * of_clip - (frames - spec.frames) / 2), of_run)
        slack = _ROUNDING * (of_clip + frames)
        begins = [at * of_clip for at in taken[each.video.name]]
        if of_run and all(start + frames <= begin + slack or begin + spec.frames <= start + slack for begin in begins):
            yield dataclasses.replace(each, at=round(start / of_run, 6))


def _choose(data: Videos, index: int, at: float) -> ClipChoice:
    return ClipChoice(video=data.videos[index], label=data.class_of(index), at=round(at, 6))


def _room(video: Video, spec: ClipSpec) -> float:
    try:
        return video.room(spec)
    except InputFileError:
        # Who reads the clip says what is wrong with it.
        return 0.0


def _further_turns(data: Videos, order: Sequence[int], rooms: Mapping[int, float]) -> Iterator[int]:
    """Videos to take one more clip of: of the class that has the fewest, its videos in turns while they have room."""
    queues: dict[int | None, deque[int]] = defaultdict(deque)
    for index in order:
        queues[data.class_of(index)].append(index)
    given = Counter({label: len(queue) for label, queue in queues.items()})
    left = {index: math.floor(room + _ROUNDING) for index, room in rooms.items()}
    while queues:
        label = min(queues, key=given.__getitem__)
        index = queues[label].popleft()
        if left[index]:
            left[index] -= 1
            given[label] += 1
            queues[label].append(index)
            yield index
        if not queues[label]:
            del queues[label]


def _spread(room: float, clips: int, random: np.random.Generator) -> list[float]:
    """Moments of several clips, in shuffled order: each starts by chance where it ends within its part of the video."""
    part = (room + 1) / clips
    starts = part * np.arange(clips) + max(0.0, part - 1) * random.random(clips)
    return [min(1.0, float(start) / room) for start in random.permutation(starts)]


def _gaps(chosen: Sequence[ClipChoice]) -> Iterator[tuple[ClipChoice, float]]:
    """The clips midway between each and the next of its video, with how far apart those are.

    The only one of its video has the one half a video away, in whichever direction there is more of it.
    """
    moments = defaultdict(list)
    for each in chosen:
        moments[each.video.name].append(each.at)
    for times in moments.values():
        times.sort()
    for each in chosen:
        times = moments[each.video.name]
        position = bisect.bisect_right(times, each.at)
        gap = 1.0 if len(times) == 1 else times[position] - each.at if position < len(times) else 0.0
        if gap:
            at = round((each.at + gap / 2) % 1, 6)
            yield ClipChoice(video=each.video, label=each.label, at=at), gap
