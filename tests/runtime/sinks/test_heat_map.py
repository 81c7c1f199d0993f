"""Saliency masks drawn over pictures."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from s2tf_edge.preprocess import crop_frames
from s2tf_edge.runtime.sinks.heat_map import HeatMap, crop_region
from s2tf_edge.spec import ClipSpec

SPEC = ClipSpec(frames=1, size=112, resize_short_side=128)
SIZES = [(144, 180), (180, 144), (360, 640), (641, 361), (128, 128), (720, 1280)]


def _mask(row: int, column: int, *, cells: int = 7, floor: float = 1.0, height: float = 1.0) -> NDArray[np.float32]:
    mask = np.full((cells, cells), floor, np.float32)
    mask[row, column] += height
    return mask


def _picture(height: int = 180, width: int = 240, level: int = 90) -> NDArray[np.uint8]:
    return np.full((height, width, 3), level, np.uint8)


def _drawn(heat_map: HeatMap, *, at: float = 0.0, level: int = 90) -> NDArray[np.uint8]:
    image = _picture(level=level)
    heat_map.draw(image, pts_seconds=at)
    return image


def _glow(image: NDArray[np.uint8], level: int = 90) -> NDArray[np.int64]:
    """How far each pixel of the crop is from the gray that it was, without the corner marks at its edge."""
    rows, columns = crop_region(image.shape[0], image.shape[1], SPEC)
    difference = np.abs(image[rows, columns].astype(np.int64) - level).sum(axis=2)
    edge = max(3, min(difference.shape) // 12)
    inner: NDArray[np.int64] = np.zeros_like(difference)
    inner[edge:-edge, edge:-edge] = difference[edge:-edge, edge:-edge]
    return inner


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_the_region_is_what_the_network_sees(height: int, width: int) -> None:
    image = _picture(height, width, level=0)
    rows, columns = crop_region(height, width, SPEC)
    image[rows, columns] = 255
    seen = crop_frames(image[None], SPEC)[0]
    assert (seen[2:-2, 2:-2] == 255).all()
    scale = min(height, width) / SPEC.resize_short_side
    assert rows.stop - rows.start == pytest.approx(SPEC.size * scale, rel=0.01)
    assert columns.stop - columns.start == pytest.approx(SPEC.size * scale, rel=0.01)


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize(("row", "column"), [(3, 3), (1, 5)])
def test_the_glow_lies_over_the_cell_that_is_salient(height: int, width: int, row: int, column: int) -> None:
    heat_map, image = HeatMap(SPEC), _picture(height, width)
    heat_map.update(_mask(row, column))
    heat_map.draw(image, pts_seconds=0)
    glow = _glow(image)
    found = np.argwhere(glow > glow.max() // 2).mean(axis=0) + 0.5
    assert found == pytest.approx((np.array([row, column]) + 0.5) * glow.shape / 7, abs=0.1 * min(glow.shape) / 7)


def test_all_but_the_glow_stays_as_it_is() -> None:
    heat_map, image = HeatMap(SPEC), _picture(360, 640)
    heat_map.update(_mask(3, 3))
    heat_map.draw(image, pts_seconds=0)
    rows, columns = crop_region(360, 640, SPEC)
    outside = image.copy()
    outside[rows, columns] = 90
    assert (outside == 90).all()
    assert (_glow(image) > 0).mean() < 0.3
    assert _glow(image).max() > 120


def test_a_flat_mask_is_no_finding() -> None:
    heat_map = HeatMap(SPEC)
    for seed in range(5):
        noise = np.random.default_rng(seed).normal(1.0, 0.002, (7, 7)).astype(np.float32)
        heat_map.update(noise)
        assert _glow(_drawn(heat_map, at=seed)).max() < 20


def test_a_range_that_grows_or_shrinks_by_a_little_does_not_flicker() -> None:
    heat_map = HeatMap(SPEC)
    peaks = []
    for index in range(20):
        heat_map.update(_mask(3, 3, height=1.0 + 0.1 * (index % 2)))
        peaks.append(int(_glow(_drawn(heat_map, at=10.0 * index)).max()))
    assert max(peaks[2:]) - min(peaks[2:]) < 0.25 * max(peaks)


def test_what_is_less_salient_than_before_glows_less() -> None:
    heat_map = HeatMap(SPEC)
    heat_map.update(_mask(3, 3, height=2.0))
    strong = _glow(_drawn(heat_map)).max()
    heat_map.update(_mask(3, 3, height=0.6))
    assert _glow(_drawn(heat_map, at=10.0)).max() < strong / 2


def test_the_glow_moves_rather_than_jumps() -> None:
    heat_map = HeatMap(SPEC)
    heat_map.update(_mask(3, 1))
    before = _glow(_drawn(heat_map, at=0.0))
    heat_map.update(_mask(3, 5))
    soon, late = _glow(_drawn(heat_map, at=0.1)), _glow(_drawn(heat_map, at=3.0))
    left, right = slice(0, before.shape[1] // 2), slice(before.shape[1] // 2, None)
    assert before[:, right].max() == 0
    assert soon[:, left].max() > 30
    assert soon[:, right].max() > 10
    assert late[:, left].max() == 0
    np.testing.assert_allclose(late, before[:, ::-1], atol=2)


def test_without_a_mask_nothing_is_drawn() -> None:
    heat_map = HeatMap(SPEC)
    assert (_drawn(heat_map) == 90).all()
    heat_map.update(_mask(3, 3))
    heat_map.clear()
    assert (_drawn(heat_map) == 90).all()


@pytest.mark.parametrize("level", [0, 255])
def test_black_and_white_pictures_do_not_wrap_around(level: int) -> None:
    heat_map = HeatMap(SPEC)
    heat_map.update(_mask(3, 3))
    glow = np.abs(np.diff(_drawn(heat_map, level=level).astype(np.int64), axis=0))
    rows, columns = crop_region(180, 240, SPEC)
    assert glow[rows, columns][20:-20, 20:-20].max() < 40


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (3, 5), (14, 14)])
def test_masks_of_any_shape_even_midway(shape: tuple[int, int]) -> None:
    heat_map = HeatMap(SPEC)
    heat_map.update(_mask(3, 3))
    _drawn(heat_map)
    heat_map.update(np.random.default_rng(0).random(shape, dtype=np.float32))
    assert _drawn(heat_map, at=1.0).shape == (180, 240, 3)


def test_a_mask_that_is_not_finite_counts_as_empty_there() -> None:
    heat_map, clean = HeatMap(SPEC), HeatMap(SPEC)
    mask = _mask(3, 3, floor=0.0)
    clean.update(mask.copy())
    mask[0, 0] = np.nan
    heat_map.update(mask)
    np.testing.assert_array_equal(_drawn(heat_map), _drawn(clean))


@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 31)])
def test_tiny_pictures(height: int, width: int) -> None:
    heat_map, image = HeatMap(SPEC), _picture(height, width)
    heat_map.update(_mask(3, 3))
    heat_map.draw(image, pts_seconds=0)
    assert image.shape == (height, width, 3)
    assert (image != 90).any()
