"""Which words are the artifact, which are sources, and what these are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from s2tf_edge.cli.stream_inputs import parse_sources, split_words
from s2tf_edge.errors import InputFileError, UsageError


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("artifact").mkdir()
    Path("artifact/meta.json").touch()
    Path("videos").mkdir()
    for name in ("videos/a.mp4", "videos/b.mp4", "clip"):
        Path(name).touch()


@pytest.mark.parametrize(
    ("words", "artifact", "sources"),
    [
        ("", None, ""),
        ("artifact", "artifact", ""),
        ("artifact clip videos", "artifact", "clip videos"),
        ("model.pt gone", "model.pt", "gone"),
        ("clip gone.mp4", None, "clip gone.mp4"),
        ("videos", None, "videos"),
        ("gone.mp4", None, "gone.mp4"),
        ("0", None, "0"),
        ("-", None, "-"),
        ("rtsp://host/a", None, "rtsp://host/a"),
        ("lavfi:testsrc", None, "lavfi:testsrc"),
        ("*.mp4", None, "*.mp4"),
        ("shots/%04d.png", None, "shots/%04d.png"),
        ("clip#format=h264", None, "clip#format=h264"),
    ],
)
def test_the_first_word_is_the_artifact_if_it_is_one(words: str, artifact: str | None, sources: str) -> None:
    assert split_words(words.split()) == (None if artifact is None else Path(artifact), sources.split())


def test_a_word_that_names_nothing_is_neither() -> None:
    with pytest.raises(InputFileError, match=r"artefact does not exist; the first word is an artifact \(a folder made"):
        split_words(["artefact", "clip"])


def test_a_folder_that_is_neither_is_told_to_be() -> None:
    Path("half_an_artifact").mkdir()
    with pytest.raises(InputFileError, match=r"half_an_artifact is no artifact, which has a meta\.json, and no source"):
        split_words(["half_an_artifact", "clip"])


@pytest.mark.parametrize("words", [("clip", "artifact"), ("artifact", "model.pt")])
def test_an_artifact_comes_first_and_alone(words: tuple[str, str]) -> None:
    with pytest.raises(
        UsageError, match=f"{words[1]} is an artifact, which comes before the sources, and only one does"
    ):
        split_words(words)


def test_sources_are_called_by_their_names_in_order() -> None:
    sources = parse_sources(["clip", "videos", "rtsp://user:hunter2@host/a"], [0], ["front door", " Gate A/B "])
    names = ["front door", "Gate A/B/a.mp4", "Gate A/B/b.mp4", "rtsp://***@host/a", "camera 0"]
    assert [source.name for source in sources] == names
    assert [source.url for source in sources][:2] == ["./clip", "./videos/a.mp4"]


@pytest.mark.parametrize("name", ["", "  ", "two\nlines", "\x1b[2J"])
def test_a_name_is_a_line(name: str) -> None:
    with pytest.raises(UsageError, match="--name must be a line of text"):
        parse_sources(["clip"], [], [name])


def test_more_names_than_sources_are_refused() -> None:
    with pytest.raises(UsageError, match="got 3 names for 2 sources; give --name once for each source"):
        parse_sources(["videos"], [0], ["a", "b", "c"])


def test_nothing_to_read_is_an_error() -> None:
    with pytest.raises(UsageError, match="there is nothing to read"):
        parse_sources([], [], [])
