"""Labels drawn on pictures."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from s2tf_edge.runtime.sinks.glyphs import draw_text
from s2tf_edge.runtime.sinks.overlay import Overlay
from s2tf_edge.runtime.streaming.records import Prediction


def _prediction(*topk: tuple[str, float]) -> Prediction:
    label, score = topk[0]
    return Prediction(source=0, t_start=0.0, t_end=1.0, label=label, score=score, topk=topk, age_ms=1.0, infer_ms=1.0)


def _drawn(width: int, height: int, *topk: tuple[str, float]) -> NDArray[np.uint8]:
    image = np.full((height, width, 3), 90, np.uint8)
    Overlay(width, height).draw(image, _prediction(*topk))
    return image


def test_text_has_the_height_asked_for_and_ink() -> None:
    text = draw_text("Ångström", height=20)
    assert text.shape[0] == 20
    assert text.max() > 200
    assert draw_text(" ", height=20).max() == 0


def test_letters_differ_and_unknown_ones_are_boxes() -> None:
    assert not np.array_equal(draw_text("b", height=32), draw_text("d", height=32))
    np.testing.assert_array_equal(draw_text("跳", height=32), draw_text("□", height=32))
    np.testing.assert_array_equal(draw_text("e\N{COMBINING ACUTE ACCENT}", height=32), draw_text("é", height=32))


@pytest.mark.parametrize(("width", "height"), [(180, 144), (144, 256), (1920, 1080), (64, 48)])
def test_it_fits_pictures_of_any_size_and_leaves_the_upper_half_alone(width: int, height: int) -> None:
    image = _drawn(width, height, ("playing squash or racquetball with friends", 0.75), ("b", 0.2), ("c", 0.05))
    assert (image[: height // 2 - 1] == 90).all()
    assert (image[height // 2 :] != 90).any()


def test_a_tiny_picture_stays_as_it_is() -> None:
    assert (_drawn(40, 16, ("walk", 1.0)) == 90).all()


def test_a_higher_score_has_a_longer_bar() -> None:
    def bar(score: float) -> int:
        image = _drawn(640, 480, ("", score)).astype(int)
        return int((image[..., 1] - image[..., 0] > 50).sum())

    assert 0 == bar(0.0) < bar(0.3) < bar(0.6) < bar(1.0)


def test_the_panel_follows_the_prediction() -> None:
    overlay = Overlay(320, 240)
    images = []
    for label in ("walk", "walk", "run"):
        images.append(np.full((240, 320, 3), 90, np.uint8))
        overlay.draw(images[-1], _prediction((label, 0.5)))
    np.testing.assert_array_equal(images[0], images[1])
    assert not np.array_equal(images[1], images[2])
