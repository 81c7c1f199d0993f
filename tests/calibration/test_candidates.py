from __future__ import annotations

from pathlib import Path

import pytest

from s2tf_edge.calibration.candidates import Candidate, read_candidates, tabulate

CANDIDATES = [
    Candidate(name="long name", milliseconds=1.235),
    Candidate(name="short", result="no kernel\nfor this shape"),
    Candidate(name="quick", milliseconds=0.5),
]


def test_a_line_each_and_the_fastest_is_marked() -> None:
    assert tabulate(CANDIDATES) == [
        "  long name      1.24 ms",
        "  short      no kernel",
        "  quick          0.50 ms  fastest",
    ]
    assert tabulate([]) == []


def test_they_come_back_from_the_description_of_an_artifact() -> None:
    written = [each.to_dict() for each in CANDIDATES]
    assert written[:2] == [
        {"recipe": "long name", "result": "ok", "ms": 1.235},
        {"recipe": "short", "result": "no kernel\nfor this shape", "ms": None},
    ]
    for key in ("candidates", "attempts"):
        assert read_candidates({key: written}) == CANDIDATES
    assert [each.is_ok for each in read_candidates({"attempts": written})] == [True, False, True]
    assert read_candidates({}) == []


def test_precisions_come_before_the_presets_of_the_fastest() -> None:
    forms = [{"recipe": name, "result": "ok", "ms": 1.0} for name in ("int8", "mixed")]
    assert [each.name for each in read_candidates({"attempts": forms[1:], "candidates": forms[:1]})] == ["int8"]


def test_what_does_not_compile_has_no_file(tmp_path: Path) -> None:
    assert Candidate(name="a", path=tmp_path).written == tmp_path
    with pytest.raises(ValueError, match="there is no file of short: no kernel"):
        _ = CANDIDATES[1].written
