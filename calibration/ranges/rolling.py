"""What the inputs of a network that steps are, while clips are stepped through: what its ranges are measured on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, cast

import numpy as np

from s2tf_edge.calibration.calibration_clips import CalibrationClips
from s2tf_edge.calibration.ranges.batches import Feed
from s2tf_edge.errors import UsageError
from s2tf_edge.runtime.backends.ort_session import OrtSession
from s2tf_edge.runtime.session import STEP_INPUT, Clips, ModelInfo, SessionOptions, frames_first, split_steps, time_axis
from s2tf_edge.runtime.session.step_state import HostBuffer, RingState

__all__ = ["RolledSteps"]

_STEPS_OF_CLIP: Final = 2
"""The first of a fresh start, and the last: with a full past."""


class RolledSteps:
    """Steps of real clips: an iterable of all inputs of a step graph, pixels and past, that can be gone through again.

    Of each clip there are two: its first frames, when nothing is remembered yet, and its last.
    """

    def __init__(self, graph: Path, clips: CalibrationClips, info: ModelInfo) -> None:
        """Runs nothing yet.

        Args:
            graph: one step in float32, an ONNX file.
            clips: as ``info.spec`` says.
            info: what the graph takes and gives; of a network that steps.

        Raises:
            UsageError: the network sees whole clips.
        """
        if info.step is None:
            msg = f"{info.name} sees whole clips, which are not stepped through; give the clips themselves"
            raise UsageError(msg)
        self._graph, self._clips, self._info, self._step = graph, clips, info, info.step

    def __len__(self) -> int:
        return _STEPS_OF_CLIP * len(self._clips)

    @property
    def clips_read(self) -> int:
        """Clips that were read so far, however many steps they gave."""
        return self._clips.clips_read

    def __iter__(self) -> Iterator[Feed]:
        batch = self._info.batch or 1
        with OrtSession(self._graph, self._info, SessionOptions(device="CPU")) as session:
            for clip in self._clips:
                state = session.start()
                assert isinstance(state, RingState)
                steps = split_steps(cast("Clips", np.repeat(clip, batch, axis=0)), self._info)
                for index, frames in enumerate(steps):
                    if index in {0, len(steps) - 1}:
                        yield self._feed(frames, state)
                    session.step(frames, state)

    def of_pixels(self, frames: Clips) -> Feed:
        """The first step of a clip, as ``info.spec`` says with a batch axis of length 1."""
        first: Any = np.take(frames, range(self._step.hop), axis=time_axis(self._info.spec))
        state = {
            name: np.zeros((self._info.batch or 1, *each.shape), each.dtype)
            for each in self._step.states
            for name in each.inputs
        }
        first = np.repeat(first, self._info.batch or 1, axis=0)
        return {STEP_INPUT: frames_first(first, self._info.spec), **state}

    def _feed(self, frames: Clips, state: RingState) -> Feed:
        past = {
            name: buffer.array.copy()
            for ring in state.rings
            for name, buffer in zip(ring.spec.inputs, ring.past, strict=True)
            if isinstance(buffer, HostBuffer)
        }
        return {STEP_INPUT: frames_first(frames, self._info.spec), **past}
