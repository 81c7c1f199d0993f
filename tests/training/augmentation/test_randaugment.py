from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from s2tf_edge.data.datasets import open_data
from s2tf_edge.spec import ClipSpec
from s2tf_edge.training.augmentation.randaugment import OPERATIONS, randaugment

FILL = np.array([115, 100, 90], np.float32)
MEASURED = {"stretch_contrast", "equalize"}
"""They have no magnitude."""


@pytest.fixture(scope="module")
def frames() -> NDArray[np.uint8]:
    clip = open_data("synthetic?clips=10").videos[1].read(ClipSpec(frames=3, size=32, fps=5.0))
    # Room above and below, so that every operation has something to do.
    return (20 + clip * 0.85).astype(np.uint8)


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_changes_more_with_its_level_and_nothing_at_zero(name: str, frames: NDArray[np.uint8]) -> None:
    before = frames.copy()
    changes = []
    for level in (0.0, 0.3, 0.9, -0.9):
        result = OPERATIONS[name](frames, level, FILL)
        assert result.dtype == np.uint8
        assert result.shape == frames.shape
        changes.append(float(np.abs(result.astype(int) - frames).mean()))
    np.testing.assert_array_equal(frames, before)
    if name in MEASURED:
        assert min(changes) == max(changes) > 1
    else:
        assert changes[0] == 0
        assert changes[0] < changes[1] < changes[2]
        assert changes[3] > changes[0]


@pytest.mark.parametrize(
    ("name", "level", "expected"),
    [
        ("posterize", 1.0, [0, 64, 112, 240]),
        ("solarize", 0.5, [0, 64, 120, 5]),
        ("brightness", 0.5, [0, 93, 174, 255]),
    ],
)
def test_levels_are_mapped_as_they_should_be(name: str, level: float, expected: list[int]) -> None:
    pixels = np.repeat(np.array([0, 64, 120, 250], np.uint8), 3).reshape(1, 1, 4, 3)
    result = OPERATIONS[name](pixels, level, FILL)[0, 0, :, 0]
    assert result.tolist() == expected


def test_equalizing_spreads_what_is_narrow_over_all_levels() -> None:
    pixels = np.repeat(np.arange(100, 116, dtype=np.uint8), 3).reshape(1, 4, 4, 3)
    result = OPERATIONS["equalize"](pixels, 0.5, FILL)
    assert result[..., 0].ravel().tolist() == [17 * step for step in range(16)]


def test_a_shift_moves_the_picture_and_fills_the_rest() -> None:
    frames = np.full((2, 20, 20, 3), 200, np.uint8)
    moved = OPERATIONS["translate_x"](frames, 1.0, FILL)
    np.testing.assert_array_equal(moved[:, :, :11], 200)
    np.testing.assert_array_equal(moved[:, :, 11:], np.broadcast_to(FILL.astype(np.uint8), (2, 20, 9, 3)))


def test_a_rotation_keeps_lengths_whatever_the_proportions() -> None:
    frames = np.zeros((1, 60, 120, 3), np.uint8)
    frames[:, 29:31, 40:80] = 255
    rotated = OPERATIONS["rotate"](frames, 1.0, np.zeros(3, np.float32))[0, :, :, 0] > 127
    rows, columns = np.nonzero(rotated)
    assert abs(np.hypot(np.ptp(rows), np.ptp(columns)) - 40) < 2
    assert abs(np.degrees(np.arctan2(np.ptp(rows), np.ptp(columns))) - 30) < 2


def test_all_operations_are_drawn_and_a_generator_repeats_them(frames: NDArray[np.uint8]) -> None:
    one = [randaugment(frames, np.random.default_rng(seed), count=1, magnitude=9, fill=FILL) for seed in range(150)]
    again = randaugment(frames, np.random.default_rng(7), count=1, magnitude=9, fill=FILL)
    np.testing.assert_array_equal(again, one[7])
    seen = {clip.tobytes() for clip in one}
    for name, operation in OPERATIONS.items():
        made = {operation(frames, level, FILL).tobytes() for level in (-0.9, 0.9)}
        assert made & seen, name
