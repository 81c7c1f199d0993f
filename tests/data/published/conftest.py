"""Small trees laid out like published data sets, of videos that are made here."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from s2tf_edge.data.datasets import open_data
from s2tf_edge.data.synthetic import write_video

MakeTree = Callable[..., Path]


@pytest.fixture(scope="session")
def made_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video that plays, which all of a tree are copies of."""
    path: Path = tmp_path_factory.mktemp("made") / "made.mp4"
    label = open_data("synthetic?clips=1").labels[0]
    write_video(path, clips=[(label, 0.4)], size=(32, 48))
    return path


@pytest.fixture
def make_tree(tmp_path: Path, made_video: Path) -> MakeTree:
    """Writes videos and lists into the test's own folder."""

    def make(*, videos: list[str], lists: dict[str, str]) -> Path:
        for name in videos:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(made_video, tmp_path / name)
        for name, text in lists.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path

    return make
