"""Windows of a network that steps: what of each it has not seen yet is stepped through.

A window still has a whole clip, so that nothing is lost where some are left out: the next one has their frames, and a
state goes on as if it had seen all in time. Only where more is missing than a window has, it begins anew from there
(T = 4, a step of one frame; · is seen already):

    samples    1 2 3 4 5 6 7 8 9 …
    window     a a a a                   a fresh start: four steps
               · b b b b                 one step: 5
    left out       c c c c
                     · d d d d           two steps: 6, 7
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from s2tf_edge.errors import UsageError
from s2tf_edge.preprocess import normalize
from s2tf_edge.runtime.session import Clips, ModelInfo, Outputs, Session, split_steps
from s2tf_edge.runtime.session.step_state import StepState
from s2tf_edge.runtime.streaming.clip_ring import Window

__all__ = ["Stepper", "choose_hop"]

Key = tuple[int, str | None]


def choose_hop(info: ModelInfo, asked: int | None) -> int:
    """Samples from one window to the next: a quarter of a clip, of a network that steps those of a step.

    Raises:
        UsageError: the network steps, and what is asked for is no whole number of its steps; or it steps several
            streams side by side, which those of sources that come at their own times do not.
    """
    if info.step is None:
        return asked or info.hop
    if info.batch not in {None, 1}:
        msg = f"{info.name} steps {info.batch} streams side by side, and sources come at times of their own; export it "
        msg += "with `batch=1`: each source has its own state"
        raise UsageError(msg)
    if asked is not None and asked % info.step.hop:
        msg = (
            f"{info.name} steps by {info.step.hop} frames, so `hop` must be a multiple of that, got {asked}; leave it "
            f"out, or export the network with `hop={asked}`"
        )
        raise UsageError(msg)
    return asked or info.hop


@dataclass(kw_only=True)
class _SourceState:
    """What is remembered of one source or region."""

    state: StepState
    stretch: int = -1
    samples: int = 0
    """Seen since that stretch began."""


class Stepper:
    """Has a network step through windows, each source and region with a state of its own.

    Args:
        session: open, of a network that steps; used by one thread at a time.
    """

    def __init__(self, session: Session) -> None:
        assert session.info.step is not None
        self._session = session
        self._hop = session.info.step.hop
        self._memories: dict[Key, _SourceState] = {}

    def prepare(self, window: Window) -> Callable[[], Outputs]:
        """Makes the input of the steps that a window needs; what it returns takes them, for what the last one says."""
        memory = self._memory(window.key)
        count = self._count_unseen(memory, window)
        if count is None:
            memory.state.reset()
            count = len(window.frames)
        memory.stretch, memory.samples = window.stretch, window.samples
        spec = dataclasses.replace(self._session.info.spec, frames=count)
        steps = split_steps(normalize(window.frames[-count:], spec)[np.newaxis], self._session.info)
        return lambda: self._take(steps, memory.state)

    def forget(self, source: int, region: str | None) -> None:
        """Frees the state of what is gone; of a source, also those of its regions."""
        for key in [key for key in self._memories if key == (source, region) or (key[0] == source and region is None)]:
            del self._memories[key]

    def _memory(self, key: Key) -> _SourceState:
        if key not in self._memories:
            self._memories[key] = _SourceState(state=self._session.start(1))
        return self._memories[key]

    def _count_unseen(self, memory: _SourceState, window: Window) -> int | None:
        """How many of the last frames of a window are new to a state that goes on; None where it begins anew."""
        new = window.samples - memory.samples
        goes_on = memory.stretch == window.stretch and 0 < new <= len(window.frames) and new % self._hop == 0
        return new if goes_on else None

    def _take(self, steps: list[Clips], state: StepState) -> Outputs:
        outputs = [self._session.step(frames, state) for frames in steps]
        return outputs[-1]
