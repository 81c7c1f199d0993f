"""Accuracy on data whose right answers are known, with a session that really computes from the pixels."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.data.videos import Videos
from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.runtime.evaluation.accuracy import Evaluation
from s2tf_edge.runtime.evaluation.multi_view import Views, evaluate, first_clip, network_classes
from s2tf_edge.runtime.session import Clips, ModelInfo, Outputs, Session, SessionOptions
from s2tf_edge.spec import ClipSpec

LABELS = ("dark", "middle", "bright")
LEVELS = (30.0, 128.0, 220.0)
SPEC = ClipSpec(frames=4, size=8, layout="NTHWC", dtype="uint8")


class Brightness(Session):
    """Classifies by mean brightness: the nearer to a class's level, the higher its logit."""

    backend: ClassVar[str] = "brightness"

    def __init__(self, labels: tuple[str, ...] = LABELS, *, batch: int | None = None) -> None:
        info = ModelInfo(
            name="brightness", network="none", target="test", precision="fp32", spec=SPEC, labels=labels, batch=batch
        )
        super().__init__(Path("brightness"), info, SessionOptions())
        self.runs: list[int] = []

    def _open(self) -> None:
        self._levels = np.array([LEVELS[LABELS.index(label)] for label in self.info.labels], np.float32)

    def _run(self, clips: Clips) -> Outputs:
        self.runs.append(len(clips))
        means = clips.reshape(len(clips), -1).mean(axis=1, dtype=np.float32)
        return Outputs(logits=-np.abs(means[:, None] - self._levels).astype(np.float32) / 10)

    def _close(self) -> None:
        del self._levels


@dataclass(frozen=True)
class Plain:
    """A video of one brightness, or one that ramps from left to right or from start to end."""

    name: str
    label: int
    level: int = 0
    readable: bool = True
    right: int | None = None
    end: int | None = None

    def read(self, spec: ClipSpec, *, at: float = 0.5) -> NDArray[np.uint8]:
        if not self.readable:
            msg = f"{self.name} holds no frame"
            raise InputFileError(msg)
        level = self.level if self.end is None else round(self.level + at * (self.end - self.level))
        frames = np.full((spec.frames, spec.size, 2 * spec.size, 3), level, np.uint8)
        if self.right is not None:
            frames[:, :, spec.size :] = self.right
        return frames

    def room(self, spec: ClipSpec) -> float:
        del spec
        return 0.0


def data(*videos: Plain, labels: tuple[str, ...] = LABELS) -> LabeledVideos:
    return LabeledVideos(name="plain", labels=labels, videos=list(videos))


GOOD = (Plain("a", 0, 25), Plain("b", 1, 130), Plain("c", 2, 250), Plain("d", 2, 30))


def test_videos_without_labels_are_scored_all_the_same() -> None:
    with Brightness() as session:
        found = evaluate(session, Videos(name="bare", videos=GOOD), limit=4)
        known = evaluate(session, data(*GOOD))
    assert not isinstance(found, Evaluation)
    assert isinstance(known, Evaluation)
    assert found.names == known.names
    np.testing.assert_array_equal(found.scores, known.scores)


def test_videos_without_labels_that_cannot_be_read_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    with Brightness() as session:
        found = evaluate(session, Videos(name="bare", videos=[*GOOD, Plain("e", 0, readable=False)]))
        with pytest.raises(InputFileError, match="none of the 1 videos of bare could be read; the first: e holds no"):
            evaluate(session, Videos(name="bare", videos=[Plain("e", 0, readable=False)]))
    assert (found.n, found.skipped) == (4, ("e",))
    assert "1 of 5 videos could not be read and are left out: e holds no frame" in caplog.text


def test_counts_right_and_wrong() -> None:
    with Brightness() as session:
        found = evaluate(session, data(*GOOD))
    assert found.predictions.tolist() == [0, 1, 2, 0]
    assert found.top1.percent == 75.0
    assert found.top5.percent == 100.0
    assert {label: part.percent for label, part in found.per_class.items()} == {
        "dark": 100.0,
        "middle": 100.0,
        "bright": 50.0,
    }
    assert found.confusion.tolist() == [[1, 0, 0], [0, 1, 0], [1, 0, 1]]
    assert found.to_dict()["confusion"] == [["bright", "dark", 1]]
    np.testing.assert_allclose(found.scores.sum(axis=1), 1, rtol=1e-6)


def test_labels_are_matched_by_name() -> None:
    shuffled = (Plain("a", 2, 25), Plain("b", 0, 130), Plain("c", 1, 250))
    with Brightness() as session:
        found = evaluate(session, data(*shuffled, labels=("middle", "bright", "dark")))
    assert found.top1.percent == 100.0
    assert found.targets.tolist() == [0, 1, 2]


def test_label_that_the_network_lacks() -> None:
    with pytest.raises(UsageError, match=r"lacks the label 'brigth' of plain: it has 3, such as 'bright'"):
        network_classes(LABELS, data(labels=("dark", "brigth")))
    with pytest.raises(UsageError, match="no labels at all"):
        network_classes((), data())


def test_unreadable_videos_are_named_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    videos = (*GOOD, Plain("broken", 0, readable=False))
    with Brightness() as session, caplog.at_level(logging.WARNING):
        found = evaluate(session, data(*videos))
    assert (found.n, found.skipped) == (4, ("broken",))
    assert [record.getMessage() for record in caplog.records] == [
        "1 of 5 videos could not be read and are left out: broken holds no frame"
    ]


@pytest.mark.parametrize(
    ("videos", "message"),
    [
        ((Plain("x", 0, readable=False),), "none of the 1 videos of plain could be read; the first: x"),
        ((), "no videos"),
    ],
)
def test_nothing_readable(videos: tuple[Plain, ...], message: str) -> None:
    with Brightness() as session, pytest.raises(InputFileError, match=message):
        evaluate(session, data(*videos))
    with pytest.raises(InputFileError, match=message):
        first_clip(data(*videos), SPEC)


def test_first_clip_passes_over_what_cannot_be_read() -> None:
    clip = first_clip(data(Plain("x", 0, readable=False), Plain("y", 0, 77)), SPEC)
    assert clip.shape == SPEC.input_shape()
    assert (clip == 77).all()


def test_views_average_the_scores_over_time_and_crops() -> None:
    in_time, in_space = Plain("time", 0, 30, end=220), Plain("space", 0, 30, right=220)
    with Brightness() as session:
        found = evaluate(session, data(in_time, in_space), views=Views(temporal=3, spatial=3))
        parts = [session.infer(np.full(SPEC.input_shape(), level, np.uint8)).logits for level in (30, 125, 220)]
    powers = np.exp(np.concatenate(parts))
    expected = (powers / powers.sum(axis=1, keepdims=True)).mean(axis=0)
    np.testing.assert_allclose(found.scores, np.stack([expected, expected]), atol=1e-6)


@pytest.mark.parametrize(("batch", "runs"), [(None, [1] * 4), (3, [3, 3]), (2, [2, 2])])
def test_runs_hold_several_videos_where_the_batch_is_fixed(batch: int | None, runs: list[int]) -> None:
    session = Brightness(batch=batch)
    with session:
        found = evaluate(session, data(*GOOD))
    assert session.runs == runs
    assert found.predictions.tolist() == [0, 1, 2, 0]


def test_clips_are_run_as_they_are_read() -> None:
    session, runs_before_read = Brightness(batch=2), []

    class Watched(Plain):
        def read(self, spec: ClipSpec, *, at: float = 0.5) -> NDArray[np.uint8]:
            runs_before_read.append(len(session.runs))
            return super().read(spec, at=at)

    with session:
        evaluate(session, data(Watched("a", 0), Watched("b", 0)), views=Views(temporal=3, spatial=2))
    assert runs_before_read == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("batch", [None, 4])
def test_a_video_that_breaks_off_is_skipped_as_a_whole(batch: int | None) -> None:
    class Broken(Plain):
        def read(self, spec: ClipSpec, *, at: float = 0.5) -> NDArray[np.uint8]:
            if at == 1:
                msg = f"{self.name} breaks off"
                raise InputFileError(msg)
            return super().read(spec, at=at)

    with Brightness(batch=batch) as session:
        found = evaluate(session, data(Broken("broken", 0, 220), *GOOD), views=Views(temporal=3))
    assert (found.names, found.skipped) == (("a", "b", "c", "d"), ("broken",))
    assert found.predictions.tolist() == [0, 1, 2, 0]
    np.testing.assert_allclose(found.scores.sum(axis=1), 1, rtol=1e-6)


def test_limit_and_progress() -> None:
    calls: list[tuple[int, int]] = []
    with Brightness() as session:
        found = evaluate(session, data(*GOOD), limit=2, progress=lambda done, total: calls.append((done, total)))
    assert found.names == ("a", "c")
    assert calls == [(1, 2), (2, 2)]


@pytest.mark.parametrize("text", ["", "1", "x3", "10x", "ax3", "1x3x1", "-1x1"])
def test_views_of_another_form(text: str) -> None:
    with pytest.raises(UsageError, match="TEMPORALxSPATIAL"):
        Views.parse(text)


def test_views_are_read_and_bounded() -> None:
    assert Views.parse("10x3") == Views(temporal=10, spatial=3)
    assert str(Views.parse("10x3")) == "10x3"
    with pytest.raises(UsageError, match="between 1x1 and 100x100, got 0x1"):
        Views.parse("0x1")
