from __future__ import annotations

import numpy as np
import pytest

from s2tf_edge.data.datasets import open_data
from s2tf_edge.preprocess import scale_frames
from s2tf_edge.spec import ClipSpec
from s2tf_edge.training.augmentation.framing import draw_crop, resize


@pytest.mark.parametrize("size", [31, 39, 60])
def test_resizing_gives_the_pixels_of_inference_to_two_levels(size: int) -> None:
    frames = open_data("synthetic?clips=10").videos[0].read(ClipSpec(frames=3, size=40))
    np.testing.assert_allclose(resize(frames, size).astype(int), scale_frames(frames, size).astype(int), atol=2)


def test_what_fits_is_left_as_it_is() -> None:
    frames = np.zeros((2, 8, 8, 3), np.uint8)
    assert resize(frames, 8) is frames


def test_crops_are_squares_of_all_sizes_and_places() -> None:
    frames = np.zeros((2, 40, 60, 3), np.uint8)
    frames[..., 0], frames[..., 1] = np.arange(40)[:, None], np.arange(60)
    rng = np.random.default_rng(0)
    crops = [draw_crop(frames, rng, min_scale=0.5, aspect_jitter=0) for _ in range(200)]
    sides = {crop.shape[1] for crop in crops}
    assert all(crop.shape[1] == crop.shape[2] for crop in crops)
    assert sides == set(range(20, 41))
    assert len({int(crop[0, 0, 0, 0]) for crop in crops}) > 15
    assert min(crop[0, 0, 0, 1] for crop in crops) == 0
    assert max(crop[0, -1, -1, 1] for crop in crops) == 59


def test_aspect_jitter_stretches_both_ways_within_the_picture() -> None:
    frames = np.zeros((1, 100, 100, 3), np.uint8)
    rng = np.random.default_rng(0)
    shapes = np.array([draw_crop(frames, rng, min_scale=0.5, aspect_jitter=0.5).shape[1:3] for _ in range(300)])
    aspects = shapes[:, 1] / shapes[:, 0]
    assert np.exp(-0.5) * 0.97 < aspects.min() < 0.7
    assert 1.4 < aspects.max() < np.exp(0.5) * 1.03
    assert shapes.max() <= 100
