from __future__ import annotations

import pytest

from s2tf_edge.training.distillation.classes import find_columns

TEACHER = ("Air Drumming", "yoga", "zumba")


def test_spellings_of_one_name_are_one_class() -> None:
    assert find_columns(["YOGA", "air_drumming"], TEACHER) == (1, 0)
    assert find_columns(["air-drumming "], TEACHER) == (0,)


@pytest.mark.parametrize("labels", [["yoga", "walk"], ["yoga", "Yoga"], ["walk"]])
def test_a_class_that_is_missing_or_there_twice_matches_nothing(labels: list[str]) -> None:
    assert find_columns(labels, TEACHER) is None


def test_the_very_same_classes_match_however_alike_they_are() -> None:
    assert find_columns(["yoga", "Yoga", "run"], ("Yoga", "yoga", "run")) == (1, 0, 2)
    assert find_columns(["yoga", "yoga"], ("yoga", "yoga")) is None


def test_a_teacher_with_two_classes_of_one_name_matches_nothing() -> None:
    assert find_columns(["yoga"], ("yoga", "Yoga")) is None
