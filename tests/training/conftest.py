"""The smallest run there is, for all tests of training."""

from __future__ import annotations

import pytest

from s2tf_edge.data.datasets import open_data
from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.training import TrainConfig


@pytest.fixture(scope="session")
def tiny() -> TrainConfig:
    return TrainConfig(
        model="s2tf_r3d_10?width=0.0625",
        frames=8,
        size=32,
        fps=15.0,
        epochs=2,
        batch_size=5,
        workers=0,
        lr=5e-3,
        clips_per_video=1,
    )


@pytest.fixture(scope="session")
def sides() -> tuple[LabeledVideos, LabeledVideos]:
    """Twenty synthetic videos to train on, ten to validate on."""
    return open_data("synthetic?clips=20"), open_data("synthetic?clips=10&split=test")
