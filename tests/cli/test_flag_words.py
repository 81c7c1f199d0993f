"""Names of Python in an error become the flags of the command that runs."""

from __future__ import annotations

import logging
import sys
from typing import Annotated

import pytest
import typer
from typer.main import get_command

from s2tf_edge.cli import app
from s2tf_edge.cli.flag_words import FlagWords
from s2tf_edge.errors import UsageError


def _command(
    max_drop: float = 0.0,
    batch: int = 1,
    wide: Annotated[bool, typer.Option("--wide")] = False,
    no_verify: Annotated[bool, typer.Option("--no-verify")] = False,
    reconnect: bool = True,
    eval_data: Annotated[str, typer.Option("-e", "--eval")] = "",
) -> None:
    """Says what it cannot do, in Python's words."""
    del max_drop, batch, wide, no_verify, reconnect, eval_data
    logging.getLogger("s2tf_edge").warning("leaving out `wide`")
    msg = "`batch=4` and `dynamic=True` do not fit together"
    raise UsageError(msg)


@pytest.mark.parametrize(
    ("python", "flags"),
    [
        ("`max_drop` needs videos; give `eval=DATA`", "--max-drop needs videos; give --eval DATA"),
        ("`batch=4` and `wide=True`, or `wide` alone", "--batch 4 and --wide, or --wide alone"),
        ("`verify=False` or `reconnect=False`", "--no-verify or --no-reconnect"),
        ("`reconnect=True`", "--reconnect"),
        ("`eval='clips/a b'` or `eval=\"it's\"`", "--eval clips/a b or --eval it's"),
        ("`verify` and `other=1` are no flags here", "`verify` and `other=1` are no flags here"),
        ("make one with `openssl rand -hex 16`", "make one with `openssl rand -hex 16`"),
    ],
)
def test_names_become_flags(python: str, flags: str) -> None:
    parser = typer.Typer()
    parser.command()(_command)
    assert FlagWords("s2tf-test", get_command(parser).params).translate(python) == flags


@pytest.mark.parametrize(
    ("command", "python", "words"),
    [
        ("s2tf-stream", "`max_age_seconds` must be more than zero", "max age must be more than zero"),
        ("s2tf-stream", "export a network with `mask=True`", "export a network with --mask"),
        ("s2tf-stream", "or `camera(N)`; save with `VideoSink`", "or --camera N; save with --save"),
        ("s2tf-stream", "choose another `file`", "choose another place with --jsonl"),
        ("s2tf-report", "choose another `folder`", "choose another folder with --out"),
        ("s2tf-export", "choose another `folder`", "choose another `folder`"),
    ],
)
def test_a_command_has_words_beside_its_flags(command: str, python: str, words: str) -> None:
    assert FlagWords(command, ()).translate(python) == words


def test_errors_and_logs_are_in_the_words_of_the_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["s2tf-test"])
    with pytest.raises(SystemExit):
        app.run(_command, name="s2tf-test", examples=())
    assert capsys.readouterr().err.splitlines() == [
        "leaving out --wide",
        "s2tf-test: error: --batch 4 and `dynamic=True` do not fit together",
    ]


def test_a_command_within_a_command_has_words_of_its_own(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def outer() -> None:
        """Runs the other."""
        app.make_app(_command, name="s2tf-inner")([], standalone_mode=False)

    monkeypatch.setattr(sys, "argv", ["s2tf-outer"])
    with pytest.raises(SystemExit):
        app.run(outer, name="s2tf-outer", examples=())
    assert "s2tf-outer: error: --batch 4 and `dynamic=True`" in capsys.readouterr().err
    assert app.translate("`batch`") == "`batch`"
