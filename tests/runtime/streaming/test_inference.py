"""Windows go in and come out in one order, whatever runs side by side."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from s2tf_edge.errors import VerificationError
from s2tf_edge.runtime.session import SessionOptions
from s2tf_edge.runtime.streaming.clip_ring import Window
from s2tf_edge.runtime.streaming.fair_queue import Ended
from s2tf_edge.runtime.streaming.inference import InferencePool, WindowResult
from s2tf_edge.runtime.streaming.records import Gap
from s2tf_edge.spec import ClipSpec

GAP = Gap(source=0, t_start=0.0, t_end=9.0)


def _window(spec: ClipSpec, level: int, *, source: int = 0) -> Window:
    frames = np.full((spec.frames, spec.size, spec.size, 3), level, np.uint8)
    return Window(source=source, frames=frames, t_start=level, t_end=level, presented_at=0.0)


def _classes(results: Sequence[WindowResult | None]) -> list[int | None]:
    return [None if result is None else int(result.logits.argmax()) for result in results]


@pytest.mark.parametrize("layout", ["NTHWC", "NCTHW"])
@pytest.mark.parametrize(("requests", "overlap", "most"), [(1, False, 1), (1, True, 2), (3, True, 4)])
def test_as_many_batches_as_threads_in_order(
    make_session: Callable[..., Any], layout: str, requests: int, overlap: bool, most: int
) -> None:
    dtype = "uint8" if layout == "NTHWC" else "float32"
    # Normalized so that the network, which takes bytes for granted, still sees levels from 0 to 255.
    spec = ClipSpec(frames=2, size=8, layout=layout, dtype=dtype, mean=(0, 0, 0), std=(1 / 255,) * 3)
    session = make_session(spec, batch=None)
    session.options = SessionOptions(requests=requests)
    session.delay_seconds, session.is_uneven = 0.01, True
    levels, got = [25, 127, 230, 128, 26, 229], []
    woken = threading.Event()
    with InferencePool(session, overlap=overlap, on_result=woken.set) as pool:
        pool.warm_up()
        for level in levels:
            while not pool.is_free:
                woken.wait(60)
                woken.clear()
                got += [*pool.finished()]
            pool.put([GAP, _window(spec, level), _window(spec, 255 - level, source=1)])
            assert pool.is_free == (pool._batches < most)
        got += [*pool.finished(wait=True)]
        assert not pool.is_ready
    assert [item.t_start for item, _ in got if isinstance(item, Window) and item.source == 0] == levels
    expected = [each for level in levels for each in (None, level // 86, (255 - level) // 86)]
    assert _classes([result for _, result in got]) == expected


def test_what_is_no_window_waits_for_those_before_it(make_session: Callable[..., Any], spec: ClipSpec) -> None:
    session, released = make_session(spec), threading.Event()
    session.before_run = lambda: released.wait(60)
    with InferencePool(session, overlap=True, on_result=lambda: None) as pool:
        pool.put([_window(spec, 25)])
        pool.put([GAP, Ended(source=0)])
        assert not pool.is_ready
        assert [*pool.finished()] == []
        released.set()
        items = [item for item, _ in pool.finished(wait=True)]
    assert items[1:] == [GAP, Ended(source=0)]


def test_an_error_of_the_network_comes_out(make_session: Callable[..., Any], spec: ClipSpec) -> None:
    session = make_session(spec)
    session._run = lambda clips: _nan(len(clips))
    with InferencePool(session, overlap=False, on_result=lambda: None) as pool:
        pool.put([_window(spec, 25)])
        with pytest.raises(VerificationError, match="logits that are not finite"):
            list(pool.finished(wait=True))


def _nan(count: int) -> Any:
    from s2tf_edge.runtime.session import Outputs

    return Outputs(logits=np.full((count, 3), np.nan, np.float32))
