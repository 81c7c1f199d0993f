from __future__ import annotations

import pytest

from s2tf_edge.export.sources.clips.class_names import class_names


@pytest.mark.parametrize(
    "text",
    [
        '["run", "walk", "jump"]',
        "['run', 'walk', 'jump']",
        '{"0": "run", "1": "walk", "2": "jump"}',
        "{0: 'run', 2: 'jump', 1: 'walk'}",
        '{"walk": 1, "run": 0, "jump": 2}',
        "run\nwalk\njump\n",
        "run, walk,jump",
    ],
)
@pytest.mark.parametrize("count", [3, None])
def test_names_are_read_in_the_forms_that_exporters_write(text: str, count: int | None) -> None:
    assert class_names({"names": text}, count=count) == ("run", "walk", "jump")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        '["run", "walk"]',
        '["run", "run", "walk"]',
        "{0: 'run', 1: 'walk', 3: 'jump'}",
        "[" * 100_000,
        '{"a": {}}',
        '{"a": Infinity, "b": 1, "c": 2}',
        '{"a": 1e999, "b": NaN, "c": 2}',
    ],
)
def test_what_is_no_list_of_as_many_names_is_left_alone(text: str) -> None:
    assert class_names({"labels": text, "author": "run, walk, jump"}, count=3) is None
