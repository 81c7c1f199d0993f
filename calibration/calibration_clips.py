"""Calibration clips: a fixed, seeded choice from a data set, read one at a time.

Every class has its turn, so that rare classes are seen too, and long videos give several clips where there are few
(``clip_choice``). A clip is cropped at the center and normalized as at inference.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import logging
from collections.abc import Iterable, Iterator
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from s2tf_edge.calibration.budget import Budget
from s2tf_edge.calibration.clip_choice import ClipChoice, choose_clips, choose_others
from s2tf_edge.data.videos import Videos
from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.preprocess import crop_frames, preprocess
from s2tf_edge.progress import Progress, no_progress
from s2tf_edge.runtime.session import Clips
from s2tf_edge.spec import ClipSpec

__all__ = ["RECOMMENDED_CLIPS", "CalibrationClips", "count_read", "headroom"]

RECOMMENDED_CLIPS: Final = 100
"""Fewer than this many clips give ranges that depend on which ones they are."""

_HEADROOM: Final = 1.3
_SECONDS: Final = 30.0
"""Of the first pass over the clips, which a quantizer runs its network on: 100 clips of 0.3 seconds."""
_FEWEST: Final = 8
"""Clips that are given however long they take."""

logger = logging.getLogger(__name__)


def headroom(clips: int) -> float:
    """By how much ranges are wider than the extremes of so many clips.

    What comes later goes beyond the extremes of a few. That costs far more than coarser steps: I3D, calibrated on 60
    clips of people before a lawn, scored 0.65 where float scores 1.00 in a clip of traffic, 0.90 with ranges 1.3 times
    as wide.
    """
    return _HEADROOM if clips < RECOMMENDED_CLIPS else 1.0


@runtime_checkable
class MadeOfClips(Protocol):
    """What is measured on, where that is more, or fewer, than the clips that were chosen."""

    @property
    def clips_read(self) -> int:
        """Clips that were read so far, of which it was made."""


def count_read(inputs: object, *, given: int) -> int:
    """How many clips were read for the inputs of a network, once they were gone through.

    A video that cannot be read gives none, and a clip that is stepped through several inputs.

    Args:
        inputs: clips, or what was made of them.
        given: how many inputs there were, which of plain clips are as many.
    """
    return inputs.clips_read if isinstance(inputs, MadeOfClips) else given


class CalibrationClips:
    """An iterable of clips, float32 [1, 3, T, S, S], that can be gone through any number of times.

    One clip is in memory at a time, and each is read once a pass. Videos that cannot be read are left out and named
    once; the first pass ends with a warning where fewer than ``RECOMMENDED_CLIPS`` were read. Where what is done with
    them takes longer than 30 seconds of all cores, it ends before the last: there are no more clips from then on.
    """

    def __init__(
        self,
        data: Videos,
        spec: ClipSpec,
        *,
        count: int = 300,
        seed: int = 0,
        progress: Progress = no_progress,
    ) -> None:
        """Takes what to choose from; nothing is read yet.

        Raises:
            UsageError: ``count`` is not positive.
        """
        if count < 1:
            msg = f"the number of calibration clips must be one or more, got {count}"
            raise UsageError(msg)
        self._data = data
        self._spec = spec
        self._count = count
        self._seed = seed
        self._progress = progress
        # By the identity of the video: two videos of a list may have one name.
        self._skipped: dict[int, tuple[str, str]] = {}
        self._hashes: dict[int, str] = {}
        self._reported = 0
        self._limit: int | None = None

    @functools.cached_property
    def _choices(self) -> list[ClipChoice]:
        return choose_clips(self._data, self._spec, count=self._count, seed=self._seed)

    def __len__(self) -> int:
        return len(self._choices[: self._limit])

    @property
    def clips_read(self) -> int:
        """Clips that were read so far; all there are, once they were gone through."""
        return len(self._hashes)

    def __iter__(self) -> Iterator[Clips]:
        """Reads the clips in their order.

        Raises:
            InputFileError: none of the videos can be read.
        """
        budget = Budget(_SECONDS)
        for index, choice in enumerate(self._choices[: self._limit]):
            frames = self._read(choice, self._spec)
            if frames is not None and index not in self._hashes:
                # Of the first pass alone: a later one goes as far as that did.
                if budget.is_spent and len(self._hashes) >= _FEWEST:
                    self._end_early(index, budget)
                    return
                self._hashes[index] = hashlib.sha256(frames.tobytes()).hexdigest()
            # Before the last clip is given: a quantizer that has as many as it wants asks for no more.
            self._report(index + 1)
            if frames is not None:
                yield preprocess(frames, self._spec)[np.newaxis]
        if not self._hashes:
            raise self._nothing_readable()

    def _end_early(self, index: int, budget: Budget) -> None:
        self._limit = index
        self._progress(index, index)
        logger.warning(
            "calibrated on %d of %d clips: one takes %.1f s here, and all would take minutes",
            len(self._hashes),
            len(self._choices),
            budget.spent / len(self._hashes),
        )

    def _report(self, done: int) -> None:
        """Tells of the first pass only: a quantizer makes several."""
        if done <= self._reported:
            return
        self._reported = done
        self._progress(done, len(self._choices))
        if done == len(self._choices) and 0 < len(self._hashes) < RECOMMENDED_CLIPS:
            logger.warning(
                "%d calibration clips; give %d or more for ranges to rely on", len(self._hashes), RECOMMENDED_CLIPS
            )

    def frames(self, count: int | None = None, *, length: int | None = None) -> list[NDArray[np.uint8]]:
        """The first ``count`` of the clips, all for None; cropped but not normalized, each uint8 [T, S, S, 3].

        Args:
            count: how many.
            length: frames of each (T), where they are to be longer than those that are calibrated on.

        Raises:
            InputFileError: none of the videos can be read.
        """
        frames = self._crop(self._choices, count, length)
        if not frames:
            raise self._nothing_readable()
        return frames

    def unseen(self, count: int, *, length: int | None = None) -> list[NDArray[np.uint8]]:
        """At most ``count`` clips that iterating does not give, each cropped but not normalized, uint8 [T, S, S, 3].

        Arguments as of ``frames``. They are of other videos as far as there are more, then of the same ones at other
        moments. There are none where all videos are as short as a clip, or none can be read; nor of another ``length``
        where no video has room for that beside what is calibrated on.
        """
        others = choose_others(self._data, self._spec, chosen=self._choices, frames=length, seed=self._seed)
        return self._crop(others, count, length)

    def _crop(self, choices: Iterable[ClipChoice], count: int | None, length: int | None) -> list[NDArray[np.uint8]]:
        """At most ``count`` of those that can be read."""
        spec = dataclasses.replace(self._spec, frames=length or self._spec.frames)
        read = (frames for choice in choices if (frames := self._read(choice, spec)) is not None)
        return [crop_frames(frames, spec) for frames in itertools.islice(read, count)]

    def _nothing_readable(self) -> InputFileError:
        _, reason = next(iter(self._skipped.values()), ("", "it is empty"))
        return InputFileError(f"no calibration clip of {self._data.name} can be read; the first: {reason}")

    def _read(self, choice: ClipChoice, spec: ClipSpec) -> NDArray[np.uint8] | None:
        video = id(choice.video)
        if video in self._skipped:
            return None
        try:
            return choice.video.read(spec, at=choice.at)
        except InputFileError as error:
            logger.warning("left out of calibration: %s", error)
            self._skipped[video] = (choice.video.name, str(error))
            return None

    def to_dict(self) -> dict[str, Any]:
        """What was read so far, for ``calib.json``: videos, where in them, and hashes of the scaled frames."""
        used = [(self._choices[index], digest) for index, digest in self._hashes.items()]
        return {
            "data": self._data.name,
            "seed": self._seed,
            "count": len(used),
            "sha256": hashlib.sha256("".join(self._hashes.values()).encode()).hexdigest(),
            "skipped": dict(self._skipped.values()),
            "clips": [
                {"video": each.video.name, "label": each.label, "at": each.at, "sha256": digest}
                for each, digest in used
            ],
        }
