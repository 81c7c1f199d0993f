from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from s2tf_edge.data.files import VideoFile, open_folder, open_list
from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.spec import ClipSpec


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("run/b.mp4", "run/a.AVI", "run/deep/c.webm", "jump/a.mp4", "jump/notes.txt", "jump/.hidden.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/a.mp4").touch()
    (tmp_path / "loose.mp4").touch()
    return tmp_path


def listed(videos: LabeledVideos, folder: Path) -> list[tuple[str, str]]:
    return [(Path(video.name).relative_to(folder).as_posix(), videos.labels[video.label]) for video in videos.videos]


def test_a_folder_of_class_folders(folder: Path) -> None:
    videos = open_folder(folder)
    assert videos.labels == ("jump", "run")
    assert videos.flips
    assert listed(videos, folder) == [
        ("jump/a.mp4", "jump"),
        ("run/a.AVI", "run"),
        ("run/b.mp4", "run"),
        ("run/deep/c.webm", "run"),
    ]


def test_a_link_back_to_a_folder_counts_no_video_twice(folder: Path) -> None:
    before = listed(open_folder(folder), folder)
    (folder / "run/deep/self").symlink_to(folder / "run/deep")
    (folder / "run/top").symlink_to(folder)
    (folder / "run/other").symlink_to(folder / "jump")
    assert listed(open_folder(folder), folder) == before


def test_linked_folders_are_followed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "d.mp4").touch()
    (folder / "walk").symlink_to(elsewhere)
    (folder / "jump/more").symlink_to(elsewhere)
    names = [name for name, _ in listed(open_folder(folder), folder)]
    assert "walk/d.mp4" in names


def test_labels_of_a_network_set_the_order(folder: Path) -> None:
    videos = open_folder(folder, labels=("walk", "run", "jump"))
    assert videos.labels == ("walk", "run", "jump")
    assert [video.label for video in videos.videos] == [2, 1, 1, 1]
    with pytest.raises(UsageError, match=r"has classes \['jump'\] that are not among those expected: run"):
        open_folder(folder, labels=["run"])


def test_a_folder_without_classes_is_refused(folder: Path) -> None:
    with pytest.raises(InputFileError, match="empty holds no folder; give a folder of class folders"):
        open_folder(folder / "empty")
    (folder / "run/deep/c.webm").unlink()
    (folder / "run/only/more").mkdir(parents=True)
    with pytest.raises(InputFileError, match=r"run holds 2 folders, none of them with a video; .*\.mp4"):
        open_folder(folder / "run")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("run/b.mp4 run\njump/a.mp4 jump\n", [("run/b.mp4", "run"), ("jump/a.mp4", "jump")]),
        ("# a comment\n\nrun/b.mp4,running fast\r\n", [("run/b.mp4", "running fast")]),
        ("\ufeffrun/a.AVI\tjump over, twice\n", [("run/a.AVI", "jump over, twice")]),
        ("run/b.mp4 2\njump/a.mp4 0\n", [("run/b.mp4", "2"), ("jump/a.mp4", "0")]),
    ],
)
def test_lists(folder: Path, text: str, expected: list[tuple[str, str]]) -> None:
    (folder / "list.txt").write_text(text, encoding="utf-8")
    videos = open_list(folder / "list.txt")
    assert listed(videos, folder) == expected


def test_paths_with_spaces_and_commas(folder: Path) -> None:
    (folder / "run/b.mp4").rename(folder / "run/a, b and.mp4 c.mp4")
    (folder / "list.csv").write_text("run/a, b and.mp4 c.mp4, two words\n", encoding="utf-8")
    assert listed(open_list(folder / "list.csv"), folder) == [("run/a, b and.mp4 c.mp4", "two words")]


def test_numbers_count_from_zero_and_names_are_sorted(folder: Path) -> None:
    (folder / "list.txt").write_text("run/b.mp4 2\njump/a.mp4 0\n", encoding="utf-8")
    videos = open_list(folder / "list.txt")
    assert (videos.labels, [video.label for video in videos.videos]) == (("0", "1", "2"), [2, 0])
    (folder / "list.txt").write_text("run/b.mp4 run\njump/a.mp4 jump\n", encoding="utf-8")
    videos = open_list(folder / "list.txt", labels=None)
    assert (videos.labels, [video.label for video in videos.videos]) == (("jump", "run"), [1, 0])


def test_class_index_names_the_numbers(folder: Path) -> None:
    (folder / "classInd.txt").write_text("1 Jump\n2 Run\n3 Walk\n", encoding="utf-8")
    (folder / "trainlist01.txt").write_text("run/b.mp4 2\njump/a.mp4 1\n", encoding="utf-8")
    videos = open_list(folder / "trainlist01.txt")
    assert (videos.labels, [video.label for video in videos.videos]) == (("Jump", "Run", "Walk"), [1, 0])
    (folder / "trainlist01.txt").write_text("run/b.mp4 4\n", encoding="utf-8")
    with pytest.raises(InputFileError, match=r"has labels \[4\] that classInd\.txt does not name"):
        open_list(folder / "trainlist01.txt")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("run/b.mp4\n", r"list\.txt, line 1: expected 'path label' or 'path,label' .* got 'run/b\.mp4'"),
        ("run/b.mp4 run\njump/notes.txt jump\n", "line 2: expected"),
        ("run/b.mp4 run\nrun/x.mp4 run\nrun/y.mp4 run\n", r"lists 2 videos of 3 that do not exist, .*x\.mp4"),
        ("# nothing\n", r"list\.txt lists no video"),
    ],
)
def test_lists_that_make_no_sense_are_refused(folder: Path, text: str, message: str) -> None:
    (folder / "list.txt").write_text(text, encoding="utf-8")
    with pytest.raises(InputFileError, match=message):
        open_list(folder / "list.txt")


def test_a_binary_file_is_no_list(folder: Path) -> None:
    (folder / "list.txt").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(InputFileError, match=r"list\.txt is not a text file"):
        open_list(folder / "list.txt")


def test_a_video_file_reads_its_clips(make_video: Callable[..., Path]) -> None:
    video = VideoFile(path=make_video(frames=8), label=3)
    assert video.read(ClipSpec(frames=4, size=16, fps=30), at=1).shape == (4, 16, 21, 3)


def test_weizmann_splits_into_classes(shared_clips: Path) -> None:
    videos = open_folder(shared_clips / "weizmann")
    assert (len(videos), len(videos.labels)) == (60, 10)
