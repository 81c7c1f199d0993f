"""A stream through a network that steps: what it says of each window is what it says of the whole stream so far."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from s2tf_edge.errors import UsageError
from s2tf_edge.models import VideoNetwork, create_model
from s2tf_edge.preprocess import normalize
from s2tf_edge.runtime.backends.torch_session import TorchSession
from s2tf_edge.runtime.session import Clips, Outputs, Session
from s2tf_edge.runtime.session.step_state import StepState
from s2tf_edge.runtime.streaming.clip_ring import ClipRing, Window
from s2tf_edge.runtime.streaming.fair_queue import Ended
from s2tf_edge.runtime.streaming.inference import InferencePool
from s2tf_edge.runtime.streaming.recognize import recognize
from s2tf_edge.runtime.streaming.records import Gap, Prediction, Start
from s2tf_edge.runtime.streaming.smoothing import Smoothing
from s2tf_edge.runtime.streaming.stepping import Stepper, choose_hop
from s2tf_edge.runtime.streaming.stream_options import StreamOptions
from s2tf_edge.runtime.streaming.zone_rings import RegionGone

FRAMES, SIZE = 4, 16
Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def network() -> VideoNetwork:
    torch.manual_seed(0)
    network = create_model("ssf_x3d_xs?width=0.125&causal=true", num_classes=3, frames=FRAMES, size=SIZE).eval()
    network.labels = ("a", "b", "c")
    return network


class _CountingSession(TorchSession):
    """Counts its steps, and keeps the last frames."""

    steps = 0

    def _step(self, frames: Clips, state: StepState) -> Outputs:
        self.steps += 1
        self.seen = deque([*getattr(self, "seen", ()), frames.copy()], maxlen=100)
        return super()._step(frames, state)


@pytest.fixture(params=[1, 2], ids="hop {}".format)
def session(request: pytest.FixtureRequest, network: VideoNetwork) -> Iterator[_CountingSession]:
    session = _CountingSession.from_network(network, hop=request.param)
    assert isinstance(session, _CountingSession)
    with session:
        yield session


def _pixels(count: int, *, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)


def _windows(frames: Pixels, *, hop: int, ring: ClipRing | None = None, **place: Any) -> list[Window]:
    """All windows of frames that come after what a ring has."""
    ring, windows = ring or ClipRing(FRAMES, SIZE), []
    for frame in frames:
        ring.push(frame, float(len(ring)))
        if len(ring) >= FRAMES and (len(ring) - FRAMES) % hop == 0:
            view, t_start, t_end = ring.view()
            shown: dict[str, Any] = {"frames": view.copy(), "t_start": t_start, "t_end": t_end, "presented_at": 0.0}
            windows.append(Window(**{"source": 0} | place | shown, stretch=ring.stretch, samples=len(ring)))
    return windows


@torch.no_grad()
def _expected(network: VideoNetwork, frames: Pixels) -> NDArray[np.float32]:
    """Logits [1, K] of a stream that has shown these frames."""
    clip = normalize(frames, dataclasses.replace(network.spec, frames=len(frames)))
    logits: NDArray[np.float32] = network(torch.from_numpy(clip)[None]).numpy()
    return logits


def _run(stepper: Stepper, window: Window) -> NDArray[np.float32]:
    return stepper.prepare(window)().logits


def test_each_window_goes_on_where_the_one_before_ended(session: _CountingSession, network: VideoNetwork) -> None:
    hop = session.info.hop
    frames, stepper = _pixels(12), Stepper(session)
    for window in _windows(frames, hop=hop):
        before = session.steps
        np.testing.assert_allclose(_run(stepper, window), _expected(network, frames[: window.samples]), atol=1e-6)
        assert session.steps - before == (FRAMES // hop if window.samples == FRAMES else 1)


def test_windows_that_are_left_out_are_caught_up_with(session: _CountingSession, network: VideoNetwork) -> None:
    hop = session.info.hop
    frames, stepper = _pixels(20), Stepper(session)
    windows = {window.samples: window for window in _windows(frames, hop=hop)}
    _run(stepper, windows[4])
    before = session.steps
    np.testing.assert_allclose(_run(stepper, windows[6]), _expected(network, frames[:6]), atol=1e-6)
    assert session.steps - before == 2 // hop
    # A whole clip is new, and nothing is missing.
    np.testing.assert_allclose(_run(stepper, windows[10]), _expected(network, frames[:10]), atol=1e-6)
    # More than a clip is missing: a fresh start, and from there on.
    np.testing.assert_allclose(_run(stepper, windows[16]), _expected(network, frames[12:16]), atol=1e-6)
    np.testing.assert_allclose(_run(stepper, windows[18]), _expected(network, frames[12:18]), atol=1e-6)


def test_a_gap_is_a_fresh_start_however_many_windows_are_left_out(
    session: _CountingSession, network: VideoNetwork
) -> None:
    frames, stepper, ring = _pixels(20), Stepper(session), ClipRing(FRAMES, SIZE)
    first = _windows(frames[:4], hop=1, ring=ring)
    ring.clear()
    second = {window.samples: window for window in _windows(frames[4:], hop=1, ring=ring)}
    _run(stepper, first[0])
    # Six samples of the new stretch, two more than the old one had.
    np.testing.assert_allclose(_run(stepper, second[6]), _expected(network, frames[6:10]), atol=1e-6)


def test_sources_and_regions_have_states_of_their_own(session: _CountingSession, network: VideoNetwork) -> None:
    stepper, hop = Stepper(session), session.info.hop
    places: Sequence[dict[str, Any]] = ({"source": 0}, {"source": 1}, {"source": 1, "region": "door"})
    streams = [_pixels(10, seed=seed) for seed in range(3)]
    windows = [_windows(frames, hop=hop, **place) for frames, place in zip(streams, places, strict=True)]
    for together in zip(*windows, strict=True):
        for window, frames in zip(together, streams, strict=True):
            np.testing.assert_allclose(_run(stepper, window), _expected(network, frames[: window.samples]), atol=1e-6)
    assert len(stepper._memories) == 3
    stepper.forget(1, "door")
    stepper.forget(0, None)
    assert list(stepper._memories) == [(1, None)]
    stepper.forget(1, None)
    assert not stepper._memories


def test_a_pool_forgets_what_was_before_a_gap_and_not_what_comes_after(session: _CountingSession) -> None:
    before, after = _windows(_pixels(4), hop=1, region="a"), _windows(_pixels(4), hop=1, region="b")
    gap = Gap(source=0, t_start=0.0, t_end=9.0)
    with InferencePool(session, overlap=False, on_result=lambda: None) as pool:
        pool.put(before)
        assert len([*pool.finished(wait=True)]) == 1
        pool.put([gap, *after])
        assert len([*pool.finished(wait=True)]) == 2
        pool._executor.submit(lambda: None).result()
        assert pool._stepper is not None
        assert list(pool._stepper._memories) == [(0, "b")]


def test_a_pool_steps_in_order_and_forgets_what_is_gone(session: _CountingSession, network: VideoNetwork) -> None:
    frames, hop = _pixels(12), session.info.hop
    windows = _windows(frames, hop=hop, region="door")
    with InferencePool(session, overlap=True, on_result=lambda: None) as pool:
        pool.warm_up()
        got = []
        for window in windows:
            pool.put([window])
            assert not pool.is_free
            got += [*pool.finished(wait=True)]
        pool.put([RegionGone(source=0, region="door"), Ended(source=0)])
        got += [*pool.finished(wait=True)]
        pool._executor.submit(lambda: None).result()  # all that was put before is over
        assert pool._stepper is not None
        assert not pool._stepper._memories
    results = [result for _, result in got if result is not None]
    for window, result in zip(windows, results, strict=True):
        np.testing.assert_allclose(result.logits, _expected(network, frames[: window.samples])[0], atol=1e-6)
        assert result.mask is not None


@pytest.mark.parametrize(("step", "hop"), [(2, None), (2, 2), (2, 4), (3, None)])
def test_a_stream_of_a_file_says_what_the_network_says_of_all_of_it(
    network: VideoNetwork, step: int, hop: int | None
) -> None:
    session = _CountingSession.from_network(network, hop=step)
    assert isinstance(session, _CountingSession)
    with session:
        options = StreamOptions(smoothing=Smoothing(kind="none"), hop=hop, policy="every")
        source = "lavfi:testsrc2=size=64x48:rate=25:duration=3"
        records = list(recognize([source], session, options=options))
    start = next(record for record in records if isinstance(record, Start))
    predictions = [record for record in records if isinstance(record, Prediction)]
    hop, first = hop or step, session.info.spec.frames
    assert (start.form, start.hop, first) == ("step", hop, 6 if step == 3 else FRAMES)
    period = network.spec.period_seconds
    ends = [record.t_end for record in predictions]
    assert ends[0] == pytest.approx((first - 1) * period, abs=0.05)
    assert np.diff(ends) == pytest.approx(hop * period, abs=0.05)
    assert not [record for record in records if isinstance(record, Gap)]
    shown = torch.from_numpy(np.concatenate(session.seen, axis=2)[:, :, -(first + hop * (len(ends) - 1)) :])
    with torch.no_grad():
        for index, record in enumerate(predictions):
            scores = network(shown[:, :, : first + hop * index]).softmax(1)[0]
            assert record.label == network.labels[int(scores.argmax())]
            assert record.score == pytest.approx(float(scores.max()), abs=1e-5)


def test_a_hop_is_of_whole_steps(session: Session) -> None:
    info = session.info
    assert choose_hop(info, None) == info.hop
    assert choose_hop(info, 3 * info.hop) == 3 * info.hop
    if info.hop == 2:
        with pytest.raises(UsageError, match=r"steps by 2 frames, so `hop` must be a multiple of that, got 3; "):
            choose_hop(info, 3)
    with pytest.raises(UsageError, match=r"steps 4 streams side by side, and sources come at times of their own; exp"):
        choose_hop(dataclasses.replace(info, batch=4), None)
