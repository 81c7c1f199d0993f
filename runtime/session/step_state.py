"""What a network that steps remembers of one or several streams: buffers that turn round, so that nothing is copied."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from s2tf_edge.step_spec import StateSpec, StepSpec

__all__ = ["Buffer", "HostBuffer", "Ring", "RingState", "StepState"]


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
    """The buffers of one state: those with past slices, and those that the next step writes to.

    Where the order of slices matters, all of them move on with each step. Where it does not, a fresh slice takes the
    place of the oldest one, and the others stay where they are.
    """

    def __init__(self, spec: StateSpec, make: Callable[[], Buffer]) -> None:
        self.spec = spec
        self.past = [make() for _ in range(spec.slots)]
        self.fresh = [make() for _ in range(spec.fresh)]
        self._oldest = 0

    def turn(self) -> None:
        """Takes what a step wrote for the youngest, and gives what was the oldest free to be written to."""
        count = self.spec.fresh
        if self.spec.is_ordered:
            buffers = self.past + self.fresh
            self.past, self.fresh = buffers[count:], buffers[:count]
            return
        for index in range(count):
            place = (self._oldest + index) % self.spec.slots
            self.past[place], self.fresh[index] = self.fresh[index], self.past[place]
        self._oldest = (self._oldest + count) % self.spec.slots

    def clear(self, stream: int | None) -> None:
        """Forgets what was."""
        for buffer in self.past:
            buffer.clear(stream)
        if stream is None:
            # So that sums over slices go as they went the first time.
            self._oldest = 0


class RingState(StepState):
    """A state in a runtime's buffers.

    Attributes:
        rings: of all states of the network.
    """

    def __init__(self, spec: StepSpec, *, owner: object, batch: int, make: Callable[[StateSpec], Buffer]) -> None:
        super().__init__(spec, owner=owner, batch=batch)
        self.rings = [Ring(state, lambda state=state: make(state)) for state in spec.states]  # type: ignore[misc]
        self._clear(None)

    def inputs(self) -> Sequence[tuple[str, Any]]:
        """Names and handles of all slices that the next step takes."""
        return [pair for ring in self.rings for pair in _named(ring.spec.inputs, ring.past)]

    def outputs(self) -> Sequence[tuple[str, Any]]:
        """Names and handles of all slices that the next step writes."""
        return [pair for ring in self.rings for pair in _named(ring.spec.outputs, ring.fresh)]

    def count(self, frames: int) -> None:
        """Turns the rings; see ``StepState``."""
        super().count(frames)
        for ring in self.rings:
            ring.turn()

    def _clear(self, stream: int | None) -> None:
        for ring in self.rings:
            ring.clear(stream)


def _named(names: Sequence[str], buffers: Sequence[Buffer]) -> list[tuple[str, Any]]:
    return [(name, buffer.handle) for name, buffer in zip(names, buffers, strict=True)]
