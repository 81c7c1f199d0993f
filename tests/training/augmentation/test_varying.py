from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from s2tf_edge.data.datasets import open_data
from s2tf_edge.preprocess import normalize, preprocess
from s2tf_edge.spec import ClipSpec
from s2tf_edge.training.augmentation import Augmentation
from s2tf_edge.training.augmentation.colors import change_colors
from s2tf_edge.training.settings.augmentation import AugmentationSettings

SPEC = ClipSpec(frames=4, size=24, fps=15.0)
PLAIN = AugmentationSettings(min_scale=1.0, brightness=0.0, flip=False)


@pytest.fixture(scope="module")
def frames() -> NDArray[np.uint8]:
    return open_data("synthetic?clips=10").videos[0].read(SPEC)


def _vary(frames: NDArray[np.uint8], *, seed: int = 0, flips: bool = True, **changes: Any) -> NDArray[np.float32]:
    settings = dataclasses.replace(PLAIN, **changes)
    return Augmentation(settings=settings, flips=flips)(frames, SPEC, np.random.default_rng(seed))


def test_without_variation_augmentation_is_a_crop_of_the_whole(frames: NDArray[np.uint8]) -> None:
    np.testing.assert_array_equal(_vary(frames), preprocess(frames, SPEC))


@pytest.mark.parametrize(("allowed", "low", "high"), [(True, 10, 30), (False, 0, 0)])
def test_flips_mirror_about_half_of_the_clips_of_data_that_may_be(
    frames: NDArray[np.uint8], allowed: bool, low: int, high: int
) -> None:
    mirrored = preprocess(np.ascontiguousarray(frames[:, :, ::-1]), SPEC)
    count = sum(np.array_equal(_vary(frames, seed=seed, flips=allowed, flip=True), mirrored) for seed in range(40))
    assert low <= count <= high


@pytest.mark.parametrize(
    "changes",
    [
        {"min_scale": 0.5},
        {"aspect_jitter": 0.4},
        {"brightness": 0.3},
        {"saturation": 0.5},
        {"hue": 0.1},
        {"grayscale": 1.0},
        {"erase": 1.0},
        {"randaugment_count": 3, "randaugment_magnitude": 9},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_each_variation_is_the_same_in_every_frame_and_depends_on_the_generator_alone(
    frames: NDArray[np.uint8], changes: dict[str, Any]
) -> None:
    still = np.repeat(frames[:1], len(frames), axis=0)
    clips = [_vary(still, seed=seed, **changes) for seed in (1, 1, 2)]
    assert clips[0].dtype == np.float32
    assert clips[0].shape == SPEC.input_shape()[1:]
    for clip in clips:
        np.testing.assert_array_equal(clip, np.repeat(clip[:, :1], len(frames), axis=1))
    np.testing.assert_array_equal(clips[0], clips[1])
    assert not np.array_equal(clips[0], preprocess(still, SPEC))
    if "grayscale" not in changes:
        assert not np.array_equal(clips[0], clips[2])


def test_what_is_off_draws_nothing(frames: NDArray[np.uint8]) -> None:
    before, after = np.random.default_rng(3), np.random.default_rng(3)
    Augmentation(settings=PLAIN, flips=True)(frames, SPEC, before)
    # Scale, two coordinates, contrast and brightness are drawn whatever their range.
    after.uniform(1, 1), after.integers(1), after.integers(1), after.uniform(0, 0), after.uniform(0, 0)
    assert before.random() == after.random()


def test_speed_moves_the_instants_closer_together_or_farther_apart() -> None:
    augmentation = Augmentation(settings=dataclasses.replace(PLAIN, speed_jitter=0.5), flips=True)
    rng = np.random.default_rng(0)
    factors = np.array([augmentation.draw_speed(SPEC, rng).fps / SPEC.fps for _ in range(200)])
    assert np.exp(-0.5) <= factors.min() < 0.7
    assert 1.5 < factors.max() <= np.exp(0.5)
    # As often faster as slower.
    assert 80 <= (factors > 1).sum() <= 120
    fast = dataclasses.replace(SPEC, fps=1000.0)
    assert max(augmentation.draw_speed(fast, rng).fps for _ in range(20)) == 1000


@pytest.mark.parametrize(
    ("spec", "min_scale", "short_side"),
    [
        (ClipSpec(frames=1, size=224, resize_short_side=256), 0.7, 256),
        (ClipSpec(frames=1, size=224, resize_short_side=256), 0.35, 512),
        (ClipSpec(frames=1, size=224), 1.0, 224),
        (ClipSpec(frames=1, size=4000), 0.1, 4096),
    ],
)
def test_frames_are_read_as_large_as_the_smallest_crop_needs(spec: ClipSpec, min_scale: float, short_side: int) -> None:
    augmentation = Augmentation(settings=AugmentationSettings(min_scale=min_scale), flips=True)
    assert augmentation.reading_spec(spec).resize_short_side == short_side


def test_an_erased_box_is_of_the_mean_color(frames: NDArray[np.uint8]) -> None:
    clip, plain = _vary(frames, erase=1.0), normalize(frames, SPEC)
    changed = clip != plain
    assert 0.01 < changed.mean() < 0.4
    assert not clip[changed].any()
    rows, columns = np.flatnonzero(changed.any(axis=(0, 1, 3))), np.flatnonzero(changed.any(axis=(0, 1, 2)))
    assert len(rows) == np.ptp(rows) + 1
    assert len(columns) == np.ptp(columns) + 1


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_a_share_of_the_clips_is_erased(frames: NDArray[np.uint8], probability: float) -> None:
    plain = normalize(frames, SPEC)
    count = sum(not np.array_equal(_vary(frames, seed=seed, erase=probability), plain) for seed in range(60))
    assert abs(count / 60 - probability) < 0.2 * (0 < probability < 1) + 1e-9


def _shares(clip: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pixels in [0, 1], [3, N]."""
    return (clip * np.float32(0.225) + np.float32(0.45)).reshape(3, -1)


def test_gray_clips_keep_their_luma(frames: NDArray[np.uint8]) -> None:
    luma = np.array([0.299, 0.587, 0.114]) @ _shares(preprocess(frames, SPEC))  # type: ignore[arg-type]
    for channel in _shares(_vary(frames, grayscale=1.0)):
        np.testing.assert_allclose(channel, luma, atol=1e-5)


@pytest.mark.parametrize("name", ["hue", "saturation"])
def test_hue_and_saturation_leave_gray_alone(name: str) -> None:
    gray = np.broadcast_to(np.arange(0, 240, 10, dtype=np.uint8)[:, None, None], (4, 24, 24, 3))
    spec = dataclasses.replace(SPEC, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    changes: dict[str, Any] = {name: 0.4}
    settings = dataclasses.replace(PLAIN, **changes)
    varied = Augmentation(settings=settings, flips=True)(np.ascontiguousarray(gray), spec, np.random.default_rng(1))
    np.testing.assert_allclose(varied, preprocess(np.ascontiguousarray(gray), spec), atol=1e-4)


def test_a_third_of_a_turn_of_hue_makes_red_green() -> None:
    class Third:
        """Draws a third of a turn, and the middle of every other range."""

        def uniform(self, low: float, high: float) -> float:
            return 1 / 3 if (low, high) == (-0.5, 0.5) else (low + high) / 2

        def random(self) -> float:
            return 0.5

    red = np.zeros((4, 24, 24, 3), np.uint8)
    red[..., 0] = 200
    settings = dataclasses.replace(PLAIN, hue=0.5)
    varied = change_colors(normalize(red, SPEC), SPEC, settings, Third())  # type: ignore[arg-type]
    np.testing.assert_allclose(_shares(varied).T, np.tile([0, 200 / 255, 0], (4 * 24 * 24, 1)), atol=1e-5)
