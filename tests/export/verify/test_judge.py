from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from s2tf_edge.data.datasets import open_data
from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.errors import UsageError, VerificationError
from s2tf_edge.export.verify.judge import NetworkJudge
from s2tf_edge.export.verify.reference import Reference
from s2tf_edge.export.verify.seeded_clips import seeded_clips
from s2tf_edge.runtime.session import Clips, ModelInfo, Outputs, Session, SessionOptions
from s2tf_edge.spec import ClipSpec

SPEC = ClipSpec(frames=2, size=8)
DATA = open_data("synthetic?clips=20")
INFO = ModelInfo(name="n", network="n", target="torch", precision="fp32", spec=SPEC, labels=DATA.labels)


class _Colors(Session):
    """Logits that are random sums of the clip's mean colors; ``noise`` is added, of as many as ``wrong`` clips."""

    backend: ClassVar[str] = "numpy"

    def __init__(self, *, noise: float = 0.0, wrong: int = 0) -> None:
        super().__init__(Path("n"), INFO, SessionOptions())
        self._noise, self._wrong = noise, wrong
        self.runs = 0

    def _open(self) -> None:
        self._weights = np.random.default_rng(0).standard_normal((3, len(INFO.labels)))

    def _run(self, clips: Clips) -> Outputs:
        self.runs += len(clips)
        logits = np.asarray(clips, np.float64).mean(axis=(2, 3, 4)) @ self._weights
        if self.runs <= self._wrong:
            logits = -logits
        return Outputs(logits=(logits + self._noise).astype(np.float32))

    def _close(self) -> None:
        del self._weights


class _Network:
    """What was exported; counts how often it was asked."""

    step = None

    def __init__(self) -> None:
        self.asked = 0

    @contextmanager
    def session(self) -> Iterator[Session]:
        self.asked += 1
        with _Colors() as session:
            yield session

    def half_session(self) -> None:
        """It came in float32."""


@pytest.fixture
def network() -> _Network:
    return _Network()


def _judge(network: _Network, *, evaluation: LabeledVideos | None = DATA, checks_logits: bool = True) -> NetworkJudge:
    source: Any = network
    proof = Reference(source=source, precision="int8", clips=seeded_clips(SPEC), kind="seeded")
    return NetworkJudge(proof, evaluation=evaluation, checks_logits=checks_logits)


def test_logits_that_agree_give_no_disagreement(network: _Network) -> None:
    judge = _judge(network)
    for _ in range(3):
        with _Colors() as session:
            assert judge.find_disagreement(session) is None
    assert network.asked == 1


def test_logits_that_do_not_agree_are_described(network: _Network) -> None:
    with _Colors(noise=100.0) as session:
        disagreement = _judge(network).find_disagreement(session)
        assert disagreement is not None
        assert disagreement.startswith("largest error ")
        assert disagreement.endswith("n = 8 seeded clips")
        assert _judge(network, checks_logits=False).find_disagreement(session) is None


def test_logits_that_are_not_finite_end_the_run(network: _Network) -> None:
    with _Colors(noise=float("nan")) as session, pytest.raises(VerificationError, match="are not finite"):
        _judge(network).find_disagreement(session)


def test_the_same_answers_lose_nothing(network: _Network) -> None:
    with _Colors() as session:
        drop = _judge(network).measure_drop(session)
    assert (drop.n, drop.points) == (20, 0.0)
    assert drop.top1 == drop.baseline_top1
    assert drop.low <= 0 <= drop.high


def test_the_loss_is_that_of_the_same_videos(network: _Network) -> None:
    """Five of the videos are answered wrong; some of them were before."""
    judge = _judge(network)
    with _Colors(wrong=5) as session:
        drop = judge.measure_drop(session)
    right = [round(20 * percent / 100) for percent in (drop.baseline_top1, drop.top1)]
    assert drop.points == pytest.approx(5 * (right[0] - right[1]))
    assert drop.low <= drop.points <= drop.high
    with _Colors() as session:
        assert judge.measure_drop(session).points == 0.0
    assert network.asked == 1


def test_without_videos_nothing_can_be_lost(network: _Network) -> None:
    with (
        _Colors() as session,
        pytest.raises(UsageError, match="needs labeled videos to measure it on; give `eval=DATA`"),
    ):
        _judge(network, evaluation=None).measure_drop(session)
    assert network.asked == 0
