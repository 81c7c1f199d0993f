from __future__ import annotations

from pathlib import Path

import pytest

from s2tf_edge.data.datasets import open_data
from s2tf_edge.data.published.address import is_published, parse_address
from s2tf_edge.errors import InputFileError, UsageError


@pytest.mark.parametrize(
    ("text", "expected"),
    [("ucf101:x", True), ("hmdb51:x?split=1", True), ("kinetics:.", True), ("ucf101:", False), ("C:\\x", False)],
)
def test_addresses_are_told_from_paths(text: str, expected: bool) -> None:
    assert is_published(text) is expected


def test_options_and_folders_with_question_marks(tmp_path: Path) -> None:
    folder = tmp_path / "what? a=b"
    folder.mkdir()
    address = parse_address(f"hmdb51:{folder}?split=3&part=test")
    assert (address.root, address.split, address.part) == (folder, 3, "test")
    address = parse_address(f"hmdb51:{folder}")
    assert (address.root, address.split, address.part) == (folder, 1, None)


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert parse_address("kinetics:~").root == tmp_path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ucf101:{}?fold=1", r"ucf101 has no option 'fold'; it takes split, part, as in 'ucf101:ROOT\?part=train'"),
        ("ucf101:{}?split=4", "ucf101 takes a split of 1, 2, 3, got '4'"),
        ("ucf101:{}?part=val", "ucf101 takes a part of train, test, got 'val'"),
        ("kinetics:{}?split=1", "kinetics has no option 'split'; it takes part"),
    ],
)
def test_other_options_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_data(text.format(tmp_path))


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="none is no folder; give hmdb51:ROOT with the folder"):
        open_data(f"hmdb51:{tmp_path / 'none'}")
