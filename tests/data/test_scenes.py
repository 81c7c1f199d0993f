from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from s2tf_edge.data.scenes import LABELS, Scene
from s2tf_edge.errors import UsageError

TIMES = np.arange(16) / 15
SIZE = 48


def clip(label: int, seed: int) -> NDArray[np.uint8]:
    return Scene(label=label, seed=seed).render(TIMES, SIZE)


@pytest.mark.parametrize("label", range(0, len(LABELS), 2))
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_pairs_are_each_other_played_backwards(label: int, seed: int) -> None:
    forwards = clip(label, seed)
    backwards = Scene(label=label + 1, seed=seed).render(-TIMES[::-1], SIZE)
    np.testing.assert_array_equal(forwards[::-1], backwards)


@pytest.mark.parametrize("seed", [0, 1])
def test_scenes_of_one_seed_share_their_frame_at_zero(seed: int) -> None:
    frames = [Scene(label=label, seed=seed).render([0.0], SIZE) for label in range(len(LABELS))]
    for frame in frames[1:]:
        np.testing.assert_array_equal(frame, frames[0])


def test_frames_depend_on_seed_and_time_alone() -> None:
    np.testing.assert_array_equal(clip(3, 7), clip(3, 7))
    np.testing.assert_array_equal(clip(3, 7)[[9, 2]], Scene(label=3, seed=7).render(TIMES[[9, 2]], SIZE))
    assert (clip(3, 7) != clip(3, 8)).mean() > 0.5


@pytest.mark.parametrize("label", range(len(LABELS)))
def test_every_second_moves(label: int) -> None:
    for start in (0.0, 100.0):
        frames = Scene(label=label, seed=5).render(start + TIMES, SIZE).astype(int)
        changed = (np.abs(frames - frames[0]).max(axis=(0, 3)) > 60).mean()
        assert changed > 0.015


def nearest_centroid_accuracy(values: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    train = np.arange(len(labels)) % 20 < 10
    centroids = np.stack([values[train & (labels == label)].mean(axis=0) for label in range(len(LABELS))])
    guesses = np.linalg.norm(values[~train, None] - centroids, axis=2).argmin(axis=1)
    return float((guesses == labels[~train]).mean())


def test_one_frame_tells_nothing() -> None:
    labels = np.arange(400) % len(LABELS)
    frames = np.stack(
        [Scene(label=label, seed=seed).render([0.5], SIZE).reshape(-1) for seed, label in enumerate(labels.tolist())]
    ).astype(np.float64)
    # Chance is 0.1; with 200 test clips, 0.18 is more than 3.5 standard deviations above it.
    assert nearest_centroid_accuracy(frames, labels) < 0.18


def shape_center(frame: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Of the most saturated pixels: the shape's, for all else is muted."""
    saturation = frame.max(axis=2).astype(int) - frame.min(axis=2)
    center: NDArray[np.float64] = np.argwhere(saturation > 0.7 * saturation.max()).mean(axis=0)
    return center


@pytest.mark.parametrize(
    ("name", "axis", "sign"),
    [("moving left", 1, -1), ("moving right", 1, 1), ("moving up", 0, -1), ("moving down", 0, 1)],
)
def test_names_say_where_shapes_move(name: str, axis: int, sign: int) -> None:
    steps = []
    for seed in range(6):
        frames = Scene(label=LABELS.index(name), seed=seed).render(TIMES, 64)
        steps.append(np.median(np.diff([shape_center(frame) for frame in frames], axis=0), axis=0))
    assert np.median(steps, axis=0)[axis] * sign > 1
    assert abs(np.median(steps, axis=0)[1 - axis]) < 0.5


def test_shapes_grow_when_they_approach() -> None:
    def growth(label: str) -> float:
        frames = Scene(label=LABELS.index(label), seed=11).render(TIMES, 64)
        covered = [(frame.max(axis=2).astype(int) - frame.min(axis=2) > 120).sum() for frame in frames]
        return float(np.median(np.diff(covered)))

    assert growth("approaching") > 0 > growth("retreating")


def test_any_size_is_drawn() -> None:
    assert Scene(label=0, seed=0).render([0.0, 0.5], (24, 50)).shape == (2, 24, 50, 3)


@pytest.mark.parametrize(("label", "seed"), [(-1, 0), (10, 0), (0, -1)])
def test_unknown_scenes_are_refused(label: int, seed: int) -> None:
    with pytest.raises(UsageError, match="a label from 0 to 9 and a seed from 0"):
        Scene(label=label, seed=seed)
