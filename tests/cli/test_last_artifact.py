"""The artifact that was exported last."""

from __future__ import annotations

from pathlib import Path

import pytest

from s2tf_edge.cli.cache import last_artifact, remember_artifact
from s2tf_edge.errors import UsageError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_last_one_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("first", "zweites ä"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    remember_artifact(tmp_path / "first")
    remember_artifact(Path("zweites ä"))
    assert last_artifact() == tmp_path / "zweites ä"


def test_none_yet() -> None:
    with pytest.raises(UsageError, match="none was exported yet; export one with: s2tf-export"):
        last_artifact()


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"artifact": 3}'])
def test_a_damaged_note_counts_as_none(cache: Path, content: str) -> None:
    (cache / "s2tf-edge").mkdir(parents=True)
    (cache / "s2tf-edge/last.json").write_text(content)
    with pytest.raises(UsageError, match="none was exported yet"):
        last_artifact()


def test_one_that_is_gone_is_named(tmp_path: Path) -> None:
    remember_artifact(tmp_path / "gone")
    with pytest.raises(UsageError, match="gone, is gone; export one"):
        last_artifact()


def test_a_cache_that_cannot_be_written_does_not_matter(cache: Path, tmp_path: Path) -> None:
    cache.write_text("a file, not a folder")
    remember_artifact(tmp_path)
    assert cache.read_text() == "a file, not a folder"
