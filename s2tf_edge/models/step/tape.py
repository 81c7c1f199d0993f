"""The tape on which the layers of a step find the past, and leave what comes next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from s2tf_edge.step_spec import StateSpec

__all__ = ["Tape", "join"]


class Tape:
    """The slices of one step: those that are given, and those that are fresh.

    Args:
        given: of each state, the oldest slice first.
        hop: frames of a step, which lie one after the other on the first axis.
    """

    def __init__(self, given: Mapping[str, Sequence[Tensor]], *, hop: int) -> None:
        self._given = given
        self.hop = hop
        self._seen: dict[str, list[Tensor]] = {}

    def turn(self, name: str, x: Tensor) -> list[Tensor]:
        """Past slices of a layer and then those of ``x``, [hop · N, C, H, W], each [N, C, H, W]."""
        self._seen[name] = [*self._given.get(name, ()), *([x] if self.hop == 1 else x.chunk(self.hop))]
        return self._seen[name]

    def fresh(self, state: StateSpec) -> list[Tensor]:
        """The slices that the step gives."""
        return self._seen[state.name][-state.fresh :]


def join(frames: Sequence[Tensor]) -> Tensor:
    """Frames side by side on the first axis, so that a layer sees all at once."""
    return frames[0] if len(frames) == 1 else torch.cat(list(frames))
