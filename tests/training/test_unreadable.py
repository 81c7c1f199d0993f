from __future__ import annotations

from pathlib import Path

import pytest
from torch.utils.data import DataLoader

from s2tf_edge.data.files import LabeledFile
from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.errors import InputFileError
from s2tf_edge.spec import ClipSpec
from s2tf_edge.training.dataset import ClipDataset
from s2tf_edge.training.unreadable import Unreadable


def _videos(count: int) -> LabeledVideos:
    videos = [LabeledFile(path=Path(f"v{index}.mp4"), label=0) for index in range(count)]
    return LabeledVideos(name="DATA", labels=("a",), videos=videos)


def _add(unreadable: Unreadable, *indices: int) -> None:
    for index in indices:
        unreadable.add(index, InputFileError(f"v{index}.mp4 is empty"))


@pytest.mark.parametrize(("count", "allowed"), [(2, 1), (50, 1), (199, 1), (200, 2), (1000, 10)])
def test_one_percent_is_borne_and_one_of_a_small_data_set(count: int, allowed: int) -> None:
    unreadable = Unreadable(_videos(count), consequence="left out of training")
    _add(unreadable, *range(allowed))
    assert len(unreadable.names) == allowed
    refusal = f"^({allowed + 1} of {count}|none of the {count}) videos of DATA"
    with pytest.raises(InputFileError, match=refusal):
        _add(unreadable, allowed)


def test_each_is_reported_once_and_counted_once(caplog: pytest.LogCaptureFixture) -> None:
    unreadable = Unreadable(_videos(300), consequence="left out of training")
    _add(unreadable, 7, 7, 3, 7)
    assert caplog.messages == ["left out of training: v7.mp4 is empty", "left out of training: v3.mp4 is empty"]
    assert str(unreadable) == "2 of 300 videos could not be read: v3.mp4, v7.mp4"


def test_the_refusal_names_the_first_few_and_the_last_reason() -> None:
    unreadable = Unreadable(_videos(600), consequence="left out of training")
    message = (
        r"^7 of 600 videos of DATA cannot be read, more than 1 %: v0.mp4, v1.mp4, v2.mp4, v3.mp4, v4.mp4 and 2 more; "
        r"the last: v6.mp4 is empty; repair them, or take them out$"
    )
    with pytest.raises(InputFileError, match=message):
        _add(unreadable, *range(7))


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_count_together(start: str) -> None:
    # All of the package: where workers are spawned, they cannot import what is of the tests.
    spec = ClipSpec(frames=4, size=16, resize_short_side=16)
    dataset = ClipDataset(_videos(400), spec)
    loader = DataLoader(dataset, sampler=range(4), num_workers=2, multiprocessing_context=start, collate_fn=len)
    assert list(loader) == [1, 1, 1, 1]
    assert dataset.unreadable.names == ["v0.mp4", "v1.mp4", "v2.mp4", "v3.mp4"]
