from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from s2tf_edge.data.datasets import open_data
from s2tf_edge.preprocess import preprocess
from s2tf_edge.spec import ClipSpec
from s2tf_edge.training.augmentation import Augmentation
from s2tf_edge.training.dataset import ClipDataset
from s2tf_edge.training.settings.augmentation import AugmentationSettings

SPEC = ClipSpec(frames=4, size=24, resize_short_side=28, fps=15.0)
STRONG = Augmentation(settings=AugmentationSettings(min_scale=0.5, brightness=0.3), flips=True)


def _item(dataset: ClipDataset, index: int) -> tuple[Tensor, int | Tensor]:
    item = dataset[index]
    assert item is not None
    return item[0], item[1]


def test_evaluation_clips_are_the_center_crop_of_the_center_clip() -> None:
    videos = open_data("synthetic?clips=10")
    clip, label = _item(ClipDataset(videos, SPEC), 3)
    assert label == videos.videos[3].label
    np.testing.assert_array_equal(clip.numpy(), preprocess(videos.videos[3].read(SPEC, at=0.5), SPEC))


def test_training_clips_depend_on_seed_epoch_and_video_alone() -> None:
    videos = open_data("synthetic?clips=10")
    datasets = [ClipDataset(videos, SPEC, seed=seed, augmentation=STRONG) for seed in (1, 1, 2)]
    first, again, other_seed = (_item(dataset, 3)[0] for dataset in datasets)
    other_epoch = _item(datasets[0], 3 + len(videos))[0]
    assert first.shape == SPEC.input_shape()[1:]
    assert torch.equal(first, again)
    assert not torch.equal(first, other_seed)
    assert not torch.equal(first, other_epoch)


def test_an_epoch_may_take_several_clips_of_each_video() -> None:
    videos = open_data("synthetic?clips=10")
    dataset = ClipDataset(videos, SPEC, repeats=3, augmentation=STRONG)
    assert len(dataset) == 30
    assert [_item(dataset, index)[1] for index in range(30)] == [video.label for video in videos.videos] * 3
    assert not torch.equal(_item(dataset, 4)[0], _item(dataset, 14)[0])
