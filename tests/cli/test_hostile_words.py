"""Labels, names and metadata of others on a terminal: it obeys none of them, and no line grows with what is quoted."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from s2tf_edge.data.datasets import open_data

TITLE = "\x1b]0;owned\x07\x9b2J\u202e"
"""Sets a terminal's title, clears it, and turns its letters around."""
_OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Runs a command in this process; its exit code, and all that it printed."""

    def run(name: str, *arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", [f"s2tf-{name}", *map(str, arguments)])
        code = 0
        try:
            importlib.import_module(f"s2tf_edge.cli.{name}").main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        return code, "".join(capsys.readouterr())

    return run


@pytest.fixture
def hostile(small_artifact: Path, tmp_path: Path) -> Callable[..., Path]:
    """An artifact whose metadata were changed."""

    def make(name: str = f"art {TITLE}", **changes: Any) -> Path:
        folder = tmp_path / name
        shutil.copytree(small_artifact, folder)
        meta = json.loads((folder / "meta.json").read_text("utf-8"))
        (folder / "meta.json").write_text(json.dumps(meta | changes), encoding="utf-8")
        return folder

    return make


def test_a_stream_shows_labels_and_names_as_text(
    hostile: Callable[..., Path], printed: Callable[..., tuple[int, str]]
) -> None:
    labels = [f"{TITLE}{index}" for index in range(len(open_data("synthetic?clips=1").labels))]
    artifact = hostile(labels=labels, network=f"net {TITLE}")
    source = "lavfi:testsrc=size=64x48:rate=25"
    code, out = printed("stream", artifact, "--source", source, "--duration", "1", "--threshold", "0", "--verbose")
    assert code == 0
    assert r"\x1b]0;owned\x07\x9b2J\u202e" in out
    assert not _OBEYED.search(out)
    code, out = printed("stream", artifact, "--source", source, "--duration", "1", "--jsonl", "-", "--quiet")
    assert code == 0
    assert not _OBEYED.search(out)
    found = [json.loads(line) for line in out.splitlines()]
    assert {each["label"] for each in found if each["type"] == "prediction"} <= set(labels)


@pytest.mark.parametrize("key", ["target", "network", "model", "precision", "clip", "labels", "inputs"])
@pytest.mark.parametrize("value", [TITLE * 9000, [TITLE] * 9000, {TITLE: "1 2 " * 9000}])
def test_whatever_metadata_say_a_message_is_one_short_line(
    key: str, value: Any, hostile: Callable[..., Path], printed: Callable[..., tuple[int, str]]
) -> None:
    artifact = hostile("artifact", **{key: value})
    code, out = printed("stream", artifact, "--source", "lavfi:testsrc=size=64x48:rate=25", "--duration", "0.2")
    assert not _OBEYED.search(out)
    assert "Traceback" not in out
    if code:
        assert code == 9
        assert len(out.splitlines()[-1]) <= 400


def test_files_that_are_not_there_are_named_as_text(printed: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    code, out = printed("stream", tmp_path / f"gone {TITLE}.pt", "--source", "gone.mp4")
    assert code == 9
    assert r"gone \x1b]0;owned" in out
    assert not _OBEYED.search(out)
