"""Flags of a stream out of a TOML file, and which of them the command line replaces."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from s2tf_edge.cli import app
from s2tf_edge.cli.dataclass_flags import with_fields
from s2tf_edge.cli.stream_config import merge_flags, typed_flags
from s2tf_edge.cli.stream_flags import StreamFlags

Merge = Callable[..., Any]


@pytest.fixture
def merge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Merge:
    """Parses a command line, with ``conf/a.toml`` of a text as its config; None where that ends with an error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("S2TF_TOKEN", raising=False)
    for folder in ("conf/net", "typed"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "meta.json").touch()

    def merge(text: str, *arguments: str) -> StreamFlags | None:
        (tmp_path / "conf/a.toml").write_text(text, encoding="utf-8")
        merged: list[StreamFlags] = []

        def command(context: typer.Context, flags: StreamFlags) -> None:
            merged.append(merge_flags(flags, typed_flags(context)))

        monkeypatch.setattr(sys, "argv", ["s2tf-stream", "--config", "conf/a.toml", *arguments])
        with pytest.raises(SystemExit):
            app.run(with_fields(command, StreamFlags), name="s2tf-stream", examples=())
        return merged[0] if merged else None

    return merge


def test_every_kind_of_flag_may_stand_in_the_file(merge: Merge) -> None:
    flags = merge(
        """
        artifact = "net"
        source = ["a.mp4", "rtsp://user:hunter2@host/a"]
        camera = [0]
        roi = ["0,0,0.5,1:door"]
        reconnect = false
        show = true
        max_age = 2
        threshold = 0.5
        save = "out.mp4"
        start = "1:30"
        """
    )
    assert (flags.artifact, flags.camera, flags.roi) == ("conf/net", [0], ["0,0,0.5,1:door"])
    assert flags.source == ["conf/a.mp4", "rtsp://user:hunter2@host/a"]
    assert (flags.reconnect, flags.show, flags.max_age, flags.threshold) == (False, True, 2, 0.5)
    assert (flags.save, flags.start, flags.topk) == (Path("conf/out.mp4"), "1:30", 5)


def test_what_is_typed_comes_first(merge: Merge) -> None:
    text = 'topk = 3\nthreshold = 0.5\nreconnect = false\nshow = true\njsonl = "a.jsonl"\nname = ["a"]\ncamera = [0]'
    flags = merge(text, "--topk", "5", "--reconnect", "--jsonl", "-", "--name", "b")
    # Also where what is typed is the default.
    assert (flags.topk, flags.reconnect, flags.jsonl, flags.name) == (5, True, "-", ["b"])
    assert (flags.threshold, flags.show, flags.camera) == (0.5, True, [0])


@pytest.mark.parametrize("typed", [("b.mp4",), ("--source", "b.mp4"), ("typed", "b.mp4")])
def test_what_is_read_is_replaced_as_a_whole(merge: Merge, typed: tuple[str, ...]) -> None:
    flags = merge('artifact = "net"\nsource = ["a.mp4"]\ncamera = [0, 1]\nname = ["x", "y", "z"]', *typed)
    assert (flags.source, flags.camera, flags.name) == (["b.mp4"], None, None)
    assert flags.artifact == ("typed" if "typed" in typed else "conf/net")


def test_an_artifact_alone_leaves_what_is_read(merge: Merge) -> None:
    flags = merge('artifact = "net"\ncamera = [0]', "typed")
    assert (flags.artifact, flags.camera, flags.source) == ("typed", [0], [])


def test_a_self_test_takes_the_network_alone(merge: Merge) -> None:
    flags = merge('artifact = "net"\ncamera = [0]\nthreads = 2', "--selftest")
    assert (flags.artifact, flags.threads, flags.camera) == ("conf/net", 2, None)


def test_a_variable_comes_before_the_file(merge: Merge, monkeypatch: pytest.MonkeyPatch) -> None:
    assert merge('token = "of the file"').token == "of the file"
    monkeypatch.setenv("S2TF_TOKEN", "of the environment")
    assert merge('token = "of the file"').token == "of the environment"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('source = ["-", "0", "/dev/video0", "lavfi:testsrc", "file:///a.mp4", "/a.mp4"]', None),
        ('source = ["sub/*.mp4", "x.raw#format=h264"]', ["conf/sub/*.mp4", "conf/x.raw#format=h264"]),
        ('source = ["~/a.mp4", ""]', [str(Path.home() / "a.mp4"), ""]),
    ],
)
def test_paths_count_from_the_folder_of_the_file(merge: Merge, line: str, expected: list[str] | None) -> None:
    assert merge(line).source == (expected or ast.literal_eval(line.partition("= ")[2]))


def test_a_folder_for_lines_stays_one(merge: Merge) -> None:
    assert merge('jsonl = "found/"').jsonl == "conf/found/"
    assert merge('jsonl = "-"').jsonl == "-"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max-age = 1", "unknown keys ['max-age']; max-age looks like max_age misspelt"),
        ("selftest = true", "unknown keys ['selftest']"),
        ('config = "b.toml"', "unknown keys ['config']"),
        ('source = "rtsp://user:hunter2@host/a"', 'source must be a list such as ["a", "b"], got something else'),
        ("token = 12345678", "token must be of type str, got something else"),
        ("topk = 2.5", "topk must be of type int, got 2.5"),
        ('jsonl = ""', "jsonl is empty; leave it out"),
    ],
)
def test_what_is_not_allowed_is_told_without_secrets(
    merge: Merge, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    assert merge(text) is None
    err = capsys.readouterr().err
    assert err.startswith("s2tf-stream: error: conf/a.toml")
    assert message in err
    assert "hunter2" not in err
    assert "1234" not in err
