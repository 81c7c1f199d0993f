"""Videos whose label changed, and a frame of each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from s2tf_edge.data.datasets import open_data
from s2tf_edge.data.synthetic import write_video
from s2tf_edge.errors import UsageError
from s2tf_edge.runtime.evaluation.accuracy import Evaluation
from s2tf_edge.runtime.evaluation.predictions import Predictions
from s2tf_edge.runtime.reporting.changes import find_changes

LABELS = ("approaching", "moving left", "moving right")


@pytest.fixture
def names(tmp_path: Path) -> tuple[str, ...]:
    for index, label in enumerate(LABELS):
        folder = tmp_path / label
        folder.mkdir()
        write_video(folder / f"{index}.mp4", clips=[(label, 0.4)], size=(48, 64), seed=index)
    return tuple(str(path) for path in sorted(tmp_path.rglob("*.mp4")))


def said(names: tuple[str, ...], *classes: int) -> Evaluation:
    scores = np.full((len(names), 3), 0.1, np.float32)
    scores[np.arange(len(names)), classes] = 0.8
    return Evaluation(labels=LABELS, names=names, targets=np.arange(len(names)), scores=scores)


def test_what_is_lost_comes_first_with_its_picture(names: tuple[str, ...], tmp_path: Path) -> None:
    before, after = said(names, 0, 0, 0), said(names, 1, 1, 1)
    lost, wrong, won = find_changes(before, after, open_data(str(tmp_path)))
    assert [change.kind for change in (lost, wrong, won)] == ["lost", "wrong", "won"]
    assert (lost.true, lost.before, lost.after) == ("approaching", "approaching", "moving left")
    assert lost.before_score == pytest.approx(0.8)
    assert lost.jpeg.startswith(b"\xff\xd8")
    assert lost.to_dict()["video"] == names[0]
    assert "jpeg" not in lost.to_dict()


def test_what_stays_is_no_change(names: tuple[str, ...], tmp_path: Path) -> None:
    same = said(names, 0, 1, 2)
    assert find_changes(same, same, open_data(str(tmp_path))) == ()


def test_without_labels_nobody_knows_which_is_right(names: tuple[str, ...], tmp_path: Path) -> None:
    first, second = (
        Predictions(labels=LABELS, names=names, scores=said(names, *classes).scores)
        for classes in ((0, 1, 2), (0, 1, 1))
    )
    (change,) = find_changes(first, second, open_data(str(tmp_path)))
    assert (change.kind, change.true) == ("unknown", None)


def test_a_video_that_is_gone_has_no_picture(names: tuple[str, ...], tmp_path: Path) -> None:
    data = open_data(str(tmp_path))
    Path(names[0]).unlink()
    (change,) = find_changes(said(names, 0, 1, 2), said(names, 1, 1, 2), data)
    assert change.jpeg == b""


def test_nothing_in_common(names: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to compare"):
        find_changes(said(names[:1], 0), said(("other",), 0), open_data(str(tmp_path)))
