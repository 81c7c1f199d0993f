"""A dataclass as the flags of a command."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from s2tf_edge.cli import app
from s2tf_edge.cli.dataclass_flags import with_flags, with_overrides
from s2tf_edge.option_fields import Choices, Option, check_fields, counts, declare, one_of


@dataclass(frozen=True, kw_only=True)
class Options:
    size: int = field(metadata=declare(Option(help="Its size.", metavar="PIXELS")))
    name: str | bytes | None = field(default=None, metadata=declare(Option(help="Its name.")))
    min_place: Path = field(default=Path("here"), metadata=declare(Option(help="Where it is.")))
    skip: tuple[int, ...] = field(default=(), metadata=declare(Option(help="What to skip.")))
    wide: bool = field(default=False, metadata=declare(Option(help="As wide as it goes.")))
    check: bool = field(default=True, metadata=declare(Option(help="Look at nothing.")))

    def __post_init__(self) -> None:
        counts(1)("size", self.size)


Handed = tuple[Path, Options, int]
Parse = Callable[..., tuple[int, list[Handed]]]


@pytest.fixture
def parse(monkeypatch: pytest.MonkeyPatch) -> Parse:
    """Runs a command; gives its exit code and what it was handed."""

    def parse(*arguments: str) -> tuple[int, list[Handed]]:
        handed: list[Handed] = []

        def command(model: Path, options: Options, times: int = 1) -> None:
            """Takes what it is handed."""
            handed.append((model, options, times))

        monkeypatch.setattr(sys, "argv", ["s2tf-test", *arguments])
        with pytest.raises(SystemExit) as ended:
            app.run(with_flags(command, Options), name="s2tf-test", examples=())
        return int(ended.value.code or 0), handed

    return parse


def test_what_is_not_given_is_at_its_default(parse: Parse) -> None:
    assert parse("net", "--size", "3") == (0, [(Path("net"), Options(size=3), 1)])


def test_every_kind_of_field_has_its_kind_of_flag(parse: Parse) -> None:
    values = ("--name", "a", "--min-place", "b/c", "--skip", "1", "--skip", "2", "--wide", "--no-check", "--times", "2")
    options = Options(size=3, name="a", min_place=Path("b/c"), skip=(1, 2), wide=True, check=False)
    assert parse("net", "--size", "3", *values) == (0, [(Path("net"), options, 2)])


def test_a_command_may_know_what_was_given_where_not_all_was(monkeypatch: pytest.MonkeyPatch) -> None:
    handed: list[tuple[Options | None, dict[str, object]]] = []

    def command(options: Options | None, asked: dict[str, object]) -> None:
        handed.append((options, asked))

    for arguments in ((), ("--wide", "--name", "a", "--skip", "1"), ("--no-check",), ("--size", "3", "--wide")):
        monkeypatch.setattr(sys, "argv", ["s2tf-test", *arguments])
        with pytest.raises(SystemExit) as ended:
            app.run(with_flags(command, Options, given_as="asked"), name="s2tf-test", examples=())
        assert not ended.value.code
    assert handed == [
        (None, {}),
        (None, {"wide": True, "name": "a", "skip": (1,)}),
        (None, {"check": False}),
        (Options(size=3, wide=True), {}),
    ]


def test_options_that_may_be_none_are_that_while_one_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    handed: list[Options | None] = []

    def command(options: Options | None) -> None:
        handed.append(options)

    for arguments in ((), ("--wide",), ("--size", "3")):
        monkeypatch.setattr(sys, "argv", ["s2tf-test", *arguments])
        with pytest.raises(SystemExit, match="0"):
            app.run(with_flags(command, Options), name="s2tf-test", examples=())
    assert handed == [None, None, Options(size=3)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Missing option '--size'"),
        (("--size", "0"), "s2tf-test: error: --size must be one or more, got 0"),
        (("--size", "1", "--no-wide"), "No such option: --no-wide"),
        (("--size", "1", "--check"), "No such option: --check"),
    ],
)
def test_what_is_wrong_is_said_of_the_flag(
    parse: Parse, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    assert parse("net", *arguments) == (2, [])
    assert message in " ".join(capsys.readouterr().err.split())


def test_the_help_is_what_the_fields_say(parse: Parse, capsys: pytest.CaptureFixture[str]) -> None:
    assert parse("--help") == (0, [])
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "--size PIXELS Its size. [required]" in text
    assert "--no-check <bool> Look at nothing." in text
    assert "Takes what it is handed." in text


def test_overrides_are_what_was_given_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    handed: list[dict[str, object]] = []

    def command(model: Path, overrides: dict[str, object]) -> None:
        """Takes what it is handed."""
        handed.append(overrides)

    parsed = with_overrides(command, Options, topics={"All": Options})
    for words in (["--size", "0", "--skip", "1", "--wide", "--no-check"], []):
        monkeypatch.setattr(sys, "argv", ["s2tf-test", "net", *words])
        with pytest.raises(SystemExit, match="0"):
            app.run(parsed, name="s2tf-test", examples=())
    assert handed == [{"size": 0, "skip": (1,), "wide": True, "check": False}, {}]


def test_overrides_have_the_headings_of_their_topics(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def command(overrides: dict[str, object]) -> None:
        """Takes what it is handed."""

    monkeypatch.setattr(sys, "argv", ["s2tf-test", "--help"])
    with pytest.raises(SystemExit, match="0"):
        app.run(with_overrides(command, Options, topics={"Everything": Options}), name="s2tf-test", examples=())
    assert "Everything" in capsys.readouterr().out


@dataclass(frozen=True, kw_only=True)
class Familiar:
    kind: str | None = field(
        default=None,
        metadata=declare(
            Option(
                help="Its kind.",
                choices=Choices(
                    purposes={"fp16": "small", "int8": "smaller"},
                    other_names={"half": "fp16"},
                    switches={"half": "fp16", "int8": "int8"},
                ),
                letter="k",
            )
        ),
    )
    mode: str = field(default="fast", metadata=declare(Option(help="Its mode.", check=one_of(("fast", "slow")))))

    def __post_init__(self) -> None:
        check_fields(self)


@pytest.fixture
def understand(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, list[Familiar]]]:
    def understand(*arguments: str) -> tuple[int, list[Familiar]]:
        handed: list[Familiar] = []

        def command(options: Familiar) -> None:
            """Takes what it is handed."""
            handed.append(options)

        monkeypatch.setattr(sys, "argv", ["s2tf-test", *arguments])
        with pytest.raises(SystemExit, match=r"\d*") as ended:
            app.run(with_flags(command, Familiar), name="s2tf-test", examples=())
        return int(ended.value.code or 0), handed

    return understand


@pytest.mark.parametrize(
    ("arguments", "kind", "mode"),
    [
        ((), None, "fast"),
        (("-k", "fp16"), "fp16", "fast"),
        (("--kind", "FP16", "--mode", "SLOW"), "fp16", "slow"),
        (("--kind", "Half"), "fp16", "fast"),
        (("--half",), "fp16", "fast"),
        (("--int8",), "int8", "fast"),
        (("--half", "--kind", "fp16"), "fp16", "fast"),
        (("--kind", "fp8"), "fp8", "fast"),
    ],
)
def test_familiar_words_become_names(
    understand: Callable[..., tuple[int, list[Familiar]]], arguments: tuple[str, ...], kind: str | None, mode: str
) -> None:
    assert understand(*arguments) == (0, [Familiar(kind=kind, mode=mode)])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--half", "--int8"), "--half and --int8 ask for different values of --kind; give one of them"),
        (("--half", "--kind", "INT8"), "--kind int8 and --half ask for different values of --kind; give one of them"),
        (("--mode", "Slower"), "--mode must be one of fast, slow, got 'Slower'"),
    ],
)
def test_familiar_words_that_do_not_fit(
    understand: Callable[..., tuple[int, list[Familiar]]],
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    said: str,
) -> None:
    assert understand(*arguments) == (2, [])
    assert capsys.readouterr().err == f"s2tf-test: error: {said}\n"
