"""What one call of a network that steps takes and gives beside its frames: the contract of ``model.onnx`` and its host.

A state is kept as single slices, each a tensor of its own. A step takes the past ones and gives the fresh ones; whoever
runs it hands these in as the youngest next time, and the oldest no more (here a state of two slots, a frame a step):

    step 1   stem_p0 = 0    stem_p1 = 0   →  stem_n = a
    step 2   stem_p0 = 0    stem_p1 = a   →  stem_n = b
    step 3   stem_p0 = a    stem_p1 = b   →  stem_n = c

Nothing is copied: three buffers turn round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from s2tf_edge.spec import MAX_FRAMES

__all__ = ["StateSpec", "StepSpec"]

_MOST_SLOTS: Final = 4096
_MOST_STATES: Final = 4096
_MOST_VALUES: Final = 2**28
_DTYPES: Final = ("float32", "float16")


@dataclass(frozen=True, kw_only=True)
class StateSpec:
    """What a layer is told of the past.

    Raises:
        ValueError: a value is out of its range.
    """

    name: str
    """Of the layer."""
    slots: int
    """Past slices that a step takes."""
    shape: tuple[int, int, int]
    """C, H and W of a slice [N, C, H, W]."""
    fresh: int = 1
    """Slices that a step gives: one a frame, but no more than there are slots."""
    is_ordered: bool = True
    """Whether it matters which slice is which: the oldest comes first. Where it does not, the fresh one may take the
    place of the oldest, and the others stay where they are."""
    dtype: str = "float32"
    """Of a slice in the file that was exported; a runtime may keep it in its own."""

    def __post_init__(self) -> None:
        values = self.shape[0] * self.shape[1] * self.shape[2]
        is_possible = 1 <= self.fresh <= self.slots <= _MOST_SLOTS and 0 < values <= _MOST_VALUES
        if not (self.name and is_possible and min(self.shape) > 0 and self.dtype in _DTYPES):
            msg = f"state {self.name!r} has {self.slots} slots, {self.fresh} fresh, of {self.dtype} {self.shape}"
            raise ValueError(msg)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the slices that a step takes, the oldest first."""
        return tuple(f"{self.name}_p{index}" for index in range(self.slots))

    @property
    def output(self) -> str:
        """What names of the slices that a step gives begin with, and where it is one alone its name."""
        return f"{self.name}_n"

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the slices that a step gives, the oldest first."""
        return (self.output,) if self.fresh == 1 else tuple(f"{self.output}{index}" for index in range(self.fresh))


@dataclass(frozen=True, kw_only=True)
class StepSpec:
    """How a network steps.

    Raises:
        ValueError: a value is out of its range.
    """

    hop: int
    """Frames of a step, which gives one prediction."""
    receptive_field: int
    """Frames that decide on a prediction: so long the past is felt."""
    warm_up: int
    """Frames after which the first prediction is worth something: a clip's, rounded up to whole steps."""
    states: tuple[StateSpec, ...]

    def __post_init__(self) -> None:
        is_possible = 1 <= self.hop <= self.warm_up <= MAX_FRAMES and 1 <= self.receptive_field <= 2**20
        if not is_possible or self.warm_up % self.hop or not 0 < len(self.states) <= _MOST_STATES:
            msg = (
                f"hop {self.hop}, warm_up {self.warm_up}, receptive_field {self.receptive_field} and "
                f"{len(self.states)} states do not go together"
            )
            raise ValueError(msg)

    def to_dict(self, batch: int | None) -> dict[str, Any]:
        """For ``meta.json``: the form, and of every state its names, shape, type and start."""
        return {
            "form": "step",
            "hop": self.hop,
            "receptive_field": self.receptive_field,
            "warm_up": self.warm_up,
            "states": [
                {
                    "name": state.name,
                    "output": state.output,
                    "shape": [batch, *state.shape],
                    "dtype": state.dtype,
                    "layout": "NCHW",
                    "slots": state.slots,
                    "fresh": state.fresh,
                    "ordered": state.is_ordered,
                    "start": 0.0,
                }
                for state in self.states
            ],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> StepSpec:
        """What ``to_dict`` gave.

        Raises:
            KeyError: a value is missing.
            TypeError: a value has another type than it should.
            ValueError: values do not go together.
        """
        states = values["states"]
        if not isinstance(states, Sequence) or not all(isinstance(state, Mapping) for state in states):
            msg = "states must be a list of objects"
            raise TypeError(msg)
        numbers = {name: _integer(values[name], name) for name in ("hop", "receptive_field", "warm_up")}
        return cls(**numbers, states=tuple(_read_state(state) for state in states))


def _read_state(values: Mapping[str, Any]) -> StateSpec:
    channels, height, width = (_integer(side, "shape") for side in values["shape"][1:])
    if values["start"] != 0 or values["layout"] != "NCHW":
        msg = f"a state must start with 0 and be NCHW, got {values['start']!r} and {values['layout']!r}"
        raise ValueError(msg)
    return StateSpec(
        name=str(values["name"]),
        slots=_integer(values["slots"], "slots"),
        shape=(channels, height, width),
        fresh=_integer(values["fresh"], "fresh"),
        is_ordered=bool(values["ordered"]),
        dtype=str(values["dtype"]),
    )


def _integer(value: Any, name: str) -> int:
    if type(value) is not int:
        msg = f"{name} must be a whole number, got {value!r}"
        raise TypeError(msg)
    return value
