"""Buffers turn round, and a step finds in them what the steps before it wrote, in the order of time."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
import pytest

from s2tf_edge.runtime.session.step_state import HostBuffer, RingState, plan_buffers
from s2tf_edge.step_spec import StateSpec, StepSpec


def _state(slots: int, fresh: int = 1, *, size: int = 1) -> StateSpec:
    return StateSpec(name=f"{slots} and {fresh}", slots=slots, fresh=fresh, shape=(1, 1, size))


def _make(state: StateSpec) -> HostBuffer:
    array = np.zeros((2, *state.shape), np.float32)
    return HostBuffer(array, array)


@pytest.mark.parametrize(
    ("states", "period", "buffers"),
    [
        ([_state(2, size=40), _state(4, size=20), _state(13)], 15, (3, 5, 15)),
        ([_state(2)], 3, (3,)),
        ([_state(2, 2), _state(4, 3)], 14, (4, 7)),
        # A buffer more of the small one, rather than a period of 21 steps.
        ([_state(2, size=1000), _state(6)], 9, (3, 9)),
        ([_state(100)], 101, (101,)),
    ],
)
def test_buffers_stand_as_at_first_after_few_steps(
    states: list[StateSpec], period: int, buffers: tuple[int, ...]
) -> None:
    assert plan_buffers(states) == (period, buffers)


@pytest.mark.parametrize("seed", range(20))
def test_a_plan_has_room_for_all_states(seed: int) -> None:
    random = np.random.default_rng(seed)
    slots = [int(count) for count in random.integers(1, 40, size=random.integers(1, 6))]
    states = [_state(count, int(random.integers(1, count + 1)), size=int(random.integers(1, 9))) for count in slots]
    period, buffers = plan_buffers(states)
    for state, count in zip(states, buffers, strict=True):
        assert count >= state.slots + state.fresh
        assert period * state.fresh % count == 0


def test_a_step_finds_what_was_written_before() -> None:
    states = (_state(2, 2), _state(4, 3), _state(7))
    state = RingState(StepSpec(hop=3, receptive_field=9, warm_up=9, states=states), owner=None, batch=2, make=_make)
    known = {each.name: deque([0.0] * each.slots, maxlen=each.slots) for each in states}
    written = iter(np.arange(1.0, 1000.0))
    for _ in range(2 * state.period + 1):
        inputs, outputs = dict(state.inputs()), dict(state.outputs())
        for each in states:
            assert [inputs[name][0, 0, 0, 0] for name in each.inputs] == list(known[each.name])
            for name in each.outputs:
                value = next(written)
                outputs[name][:] = value
                known[each.name].append(value)
        state.count(3)
    state.reset(1)
    assert {float(array[1].max()) for _, array in state.inputs()} == {0.0}
    assert min(float(array[0].min()) for _, array in state.inputs()) > 0


def test_what_is_bound_once_is_bound_to_the_same_buffers_ever_after() -> None:
    spec = StepSpec(hop=1, receptive_field=9, warm_up=3, states=(_state(2), _state(3)))
    state = RingState(spec, owner=None, batch=2, make=_make)
    calls = []

    def bind(ring: RingState) -> list[int]:
        calls.append(ring)
        return [id(handle) for _, handle in (*ring.inputs(), *ring.outputs())]

    for _ in range(3 * state.period):
        bound = state.bound(bind)
        assert bound == [id(handle) for _, handle in (*state.inputs(), *state.outputs())]
        state.count(1)
        state.reset()
    assert len(calls) == state.period == math.lcm(3, 4)
