"""What fields of an options dataclass say about themselves."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from s2tf_edge.errors import UsageError
from s2tf_edge.option_fields import (
    Check,
    Choices,
    Option,
    check_expressions,
    check_fields,
    choices_of,
    command_words,
    counts,
    declare,
    given_fields,
    in_command_order,
    in_range,
    one_of,
)


@dataclass(frozen=True, kw_only=True)
class Options:
    wide: bool = field(default=False, metadata=declare(Option(help="a switch")))
    skip: tuple[str, ...] = field(default=(), metadata=declare(Option(help="several", check=check_expressions)))
    kind: str | None = field(default=None, metadata=declare(Option(help="one", check=one_of(("a", "b")))))
    look_twice: bool = field(default=True, metadata=declare(Option(help="a switch that is on")))
    place: Path = field(default=Path("a"), metadata=declare(Option(help="a path")))


def test_words_are_those_that_a_command_line_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = Options(wide=True, skip=("x", "-y"), kind="b", look_twice=False, place=Path("c d"))
    words = [command_words(each, getattr(options, each.name)) for each in in_command_order(options)]
    assert words == [
        ["--kind", "b"],
        ["--place", str(tmp_path / "c d")],
        ["--skip", "x", "--skip", "-y"],
        ["--wide"],
        ["--no-look-twice"],
    ]


def test_only_what_differs_from_its_default_was_given() -> None:
    assert given_fields(Options()) == []
    assert [each.name for each in given_fields(Options(kind="a", look_twice=False))] == ["kind", "look_twice"]


def test_no_value_is_checked_that_is_not_there() -> None:
    check_fields(Options())
    with pytest.raises(UsageError, match="`kind` must be one of a, b, got 'c'"):
        check_fields(Options(kind="c"))
    with pytest.raises(UsageError, match=r"`skip` '\(' is not a regular expression: missing \)"):
        check_fields(Options(skip=("a", "(")))


@pytest.mark.parametrize(
    ("check", "allowed", "refused", "message"),
    [
        (counts(1), 1, 0, "`x` must be one or more, got 0"),
        (counts(0), 0, -1, "`x` must be 0 or more, got -1"),
        (counts(2, 3), 3, 4, "`x` must be from 2 to 3, got 4"),
        (in_range("in [0, 1)", lambda x: 0 <= x < 1), 0.5, 1.0, r"`x` must lie in \[0, 1\), got 1"),
        (in_range("in [0, 1)", lambda x: 0 <= x < 1), 0.0, float("nan"), "got nan"),
    ],
)
def test_numbers_have_a_range(check: Check, allowed: float, refused: float, message: str) -> None:
    check("x", allowed)
    with pytest.raises(UsageError, match=message):
        check("x", refused)


def test_a_name_is_known_in_whatever_case_and_by_its_other_names() -> None:
    choices = Choices(purposes={"trt": "GPUs", "onnx": ""}, other_names={"tensorrt": "trt"})
    assert [choices.name(text) for text in ("trt", "TRT", "TensorRT", "Onnx", "tflite")] == [
        *("trt", "trt", "trt", "onnx", "tflite")
    ]
    assert choices.explain() == "trt (GPUs), onnx"


def test_a_check_of_names_has_the_names() -> None:
    assert choices_of(Option(help="one", check=one_of(("a", "b")))) == Choices(purposes={"a": "", "b": ""})
    assert choices_of(Option(help="a number", check=counts(1))) is None
