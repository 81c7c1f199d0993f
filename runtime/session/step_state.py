"""What a network that steps remembers of one or several streams: buffers that turn round, so that nothing is copied."""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from numpy.typing import NDArray

from s2tf_edge.step_spec import StateSpec, StepSpec

__all__ = ["Buffer", "HostBuffer", "Ring", "RingState", "StepState", "plan_buffers"]

_LONG_PERIOD = 32
"""Steps after which buffers stand as at first, where no ring needs more."""
_LITTLE_MORE = 1.05
"""Times the least memory."""


class StepState(abc.ABC):
    """The state of ``batch`` streams that step side by side; a session makes it, and no other may take it.

    Attributes:
        owner: of whose network it is.
        batch: streams.
    """

    def __init__(self, spec: StepSpec, *, owner: object, batch: int) -> None:
        self.owner = owner
        self.batch = batch
        self._spec = spec
        self._frames = [0] * batch

    def frames(self, stream: int = 0) -> int:
        """How many a stream has seen since it began."""
        return self._frames[stream]

    def is_warm(self, stream: int = 0) -> bool:
        """Whether a stream has seen as many as a prediction needs."""
        return self._frames[stream] >= self._spec.warm_up

    def reset(self, stream: int | None = None) -> None:
        """Begins anew, as after a gap: one of the streams, or all of them."""
        self._clear(stream)
        for index in range(self.batch) if stream is None else (stream,):
            self._frames[index] = 0

    def count(self, frames: int) -> None:
        """Is told by the session of a step of so many frames."""
        self._frames = [seen + frames for seen in self._frames]

    @abc.abstractmethod
    def _clear(self, stream: int | None) -> None: ...


class Buffer(Protocol):
    """Memory for one slice of a state, of all streams."""

    @property
    def handle(self) -> Any:
        """What the runtime calls it."""

    def clear(self, stream: int | None) -> None:
        """Fills it with zeros, for one of the streams or for all."""


@dataclass(frozen=True)
class HostBuffer:
    """A slice in this process's memory."""

    array: NDArray[Any]
    """Its bytes; the streams are on the first axis."""
    handle: Any

    def clear(self, stream: int | None) -> None:
        """Fills it with zeros, which are those of every type of floats."""
        self.array[slice(None) if stream is None else stream] = 0


class Ring:
    """The buffers of one state, in the order of time: some have past slices, the next step writes to those behind them.

    They turn with each step: what was written is the youngest of the past, and what was the oldest is written to once
    its time comes round.

    Args:
        spec: of the state.
        make: makes a buffer.
        buffers: as many as a step needs, or more.
    """

    def __init__(self, spec: StateSpec, make: Callable[[], Buffer], *, buffers: int) -> None:
        self.spec = spec
        self._buffers = [make() for _ in range(buffers)]
        self._oldest = 0

    @property
    def past(self) -> list[Buffer]:
        """What the next step takes, the oldest first."""
        return self._slice(0, self.spec.slots)

    @property
    def fresh(self) -> list[Buffer]:
        """What the next step writes to."""
        return self._slice(self.spec.slots, self.spec.fresh)

    def turn(self) -> None:
        """Goes on by a step."""
        self._oldest = (self._oldest + self.spec.fresh) % len(self._buffers)

    def clear(self, stream: int | None) -> None:
        """Forgets what was."""
        for buffer in self.past:
            buffer.clear(stream)

    def _slice(self, start: int, count: int) -> list[Buffer]:
        places = range(self._oldest + start, self._oldest + start + count)
        return [self._buffers[place % len(self._buffers)] for place in places]


class RingState(StepState):
    """A state in a runtime's buffers, which after ``period`` steps stand as at first.

    To tell a runtime of a hundred buffers takes it long, so what it was told is kept: see ``bound``.

    Attributes:
        rings: of all states of the network.
        period: steps.
        bindings: by the place in the period, what was made for it.
    """

    def __init__(self, spec: StepSpec, *, owner: object, batch: int, make: Callable[[StateSpec], Buffer]) -> None:
        super().__init__(spec, owner=owner, batch=batch)
        self.period, counts = plan_buffers(spec.states)
        self.rings = [
            Ring(state, partial(make, state), buffers=count) for state, count in zip(spec.states, counts, strict=True)
        ]
        self.bindings: dict[int, Any] = {}
        self._place = 0
        self._clear(None)

    def inputs(self) -> Sequence[tuple[str, Any]]:
        """Names and handles of all slices that the next step takes."""
        return [pair for ring in self.rings for pair in _named(ring.spec.inputs, ring.past)]

    def outputs(self) -> Sequence[tuple[str, Any]]:
        """Names and handles of all slices that the next step writes."""
        return [pair for ring in self.rings for pair in _named(ring.spec.outputs, ring.fresh)]

    def bound(self, bind: Callable[[RingState], Any]) -> Any:
        """What ``bind`` once made of ``inputs()`` and ``outputs()`` as they stand."""
        if self._place not in self.bindings:
            self.bindings[self._place] = bind(self)
        return self.bindings[self._place]

    def count(self, frames: int) -> None:
        """Turns the rings; see ``StepState``."""
        super().count(frames)
        self._place = (self._place + 1) % self.period
        for ring in self.rings:
            ring.turn()

    def _clear(self, stream: int | None) -> None:
        for ring in self.rings:
            ring.clear(stream)


def plan_buffers(states: Sequence[StateSpec]) -> tuple[int, tuple[int, ...]]:
    """How many buffers each state has, so that all stand as at first after few steps.

    The shortest period with about the least memory: with a ring of 3, one of 5 and one of 14 that is 15 steps, and one
    buffer more.

    Returns:
        That period in steps, and the buffers of each state.
    """
    # In a period, each of a state's buffers is written to once or more.
    shortest = max(math.ceil((state.slots + state.fresh) / state.fresh) for state in states)
    plans, values = {}, {}
    for period in range(shortest, max(shortest, _LONG_PERIOD) + 1):
        counts = tuple(_smallest_divisor(period * state.fresh, least=state.slots + state.fresh) for state in states)
        values[period] = sum(math.prod(state.shape) * count for state, count in zip(states, counts, strict=True))
        plans[period] = counts
    enough = _LITTLE_MORE * min(values.values())
    period = min(period for period in plans if values[period] <= enough)
    return period, plans[period]


def _smallest_divisor(number: int, *, least: int) -> int:
    return next(divisor for divisor in range(least, number + 1) if number % divisor == 0)


def _named(names: Sequence[str], buffers: Sequence[Buffer]) -> list[tuple[str, Any]]:
    return [(name, buffer.handle) for name, buffer in zip(names, buffers, strict=True)]
