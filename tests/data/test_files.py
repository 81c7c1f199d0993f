from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from s2tf_edge.data.files import LabeledFile, VideoFile, list_files, open_files, open_folder, open_list
from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.data.videos import Videos
from s2tf_edge.errors import InputFileError
from s2tf_edge.spec import ClipSpec


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("run/b.mp4", "run/a.AVI", "run/deep/c.webm", "jump/a.mp4", "jump/notes.txt", "jump/.hidden.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/a.mp4").touch()
    (tmp_path / ".loose.mp4").touch()
    return tmp_path


def labeled(videos: Videos) -> LabeledVideos:
    assert isinstance(videos, LabeledVideos)
    return videos


def listed(videos: Videos, folder: Path) -> list[tuple[str, str]]:
    known = labeled(videos)
    return [(Path(video.name).relative_to(folder).as_posix(), known.labels[video.label]) for video in known.videos]


def names(videos: Videos, folder: Path) -> list[str]:
    assert not isinstance(videos, LabeledVideos)
    assert {videos.class_of(index) for index in range(len(videos))} == {None}
    return [Path(video.name).relative_to(folder).as_posix() for video in videos.videos]


def test_a_folder_of_class_folders(folder: Path) -> None:
    videos = labeled(open_folder(folder))
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
    assert ("walk/d.mp4", "walk") in listed(open_folder(folder), folder)


def test_a_link_takes_no_video_of_another_class_away(folder: Path) -> None:
    before = listed(open_folder(folder), folder)
    (folder / "jump/deep").symlink_to(folder / "run/deep")
    assert listed(open_folder(folder), folder) == before


def test_labels_of_a_network_set_the_order(folder: Path) -> None:
    videos = labeled(open_folder(folder, labels=("walk", "run", "jump")))
    assert videos.labels == ("walk", "run", "jump")
    assert [video.label for video in videos.videos] == [2, 1, 1, 1]
    with pytest.raises(InputFileError, match=r"has classes 'jump' that are not among those expected: run"):
        open_folder(folder, labels=["run"])


def test_a_folder_of_videos_has_no_labels(folder: Path) -> None:
    (folder / "run/deep/c.webm").unlink()
    (folder / "run/nothing.txt").touch()
    assert names(open_folder(folder / "run"), folder) == ["run/a.AVI", "run/b.mp4"]
    assert open_folder(folder / "run").name == str(folder / "run")


def test_a_folder_of_both_kinds_is_refused(folder: Path) -> None:
    (folder / "loose.mp4").touch()
    expected = r"holds videos of its own \(loose\.mp4\) as well as folders of videos \(jump, run\).* glob '.*/\*\*'"
    with pytest.raises(InputFileError, match=expected):
        open_folder(folder)
    assert len(open_files(f"{folder}/**")) == 5


def test_a_folder_without_videos_is_refused(folder: Path) -> None:
    with pytest.raises(InputFileError, match=r"empty holds no video \(.*\.mp4.*\); give a folder with videos"):
        open_folder(folder / "empty")


def test_globs_and_single_videos_have_no_labels(folder: Path) -> None:
    assert names(open_files(f"{folder}/run/*"), folder) == ["run/a.AVI", "run/b.mp4"]
    assert names(open_files(f"{folder}/run/b.mp4"), folder) == ["run/b.mp4"]
    with pytest.raises(InputFileError, match=r"run/\*\.mkv matches no video; put a glob in quotes"):
        open_files(f"{folder}/run/*.mkv")


@pytest.mark.parametrize("text", ["run/b.mp4\njump/a.mp4\n", "# two\n\nrun/b.mp4\r\n jump/a.mp4"])
def test_lists_without_labels(folder: Path, text: str) -> None:
    (folder / "list.txt").write_text(text, encoding="utf-8")
    assert names(open_list(folder / "list.txt"), folder) == ["run/b.mp4", "jump/a.mp4"]


def test_what_a_text_stands_for(folder: Path) -> None:
    (folder / "list.CSV").write_text("run/b.mp4,run\ngone.dat\n", encoding="utf-8")
    found = {
        str(folder / "run"): ["run/a.AVI", "run/b.mp4", "run/deep/c.webm"],
        f"{folder}/*/a.*": ["jump/a.mp4", "run/a.AVI"],
        str(folder / "list.CSV"): ["run/b.mp4", "gone.dat"],
        str(folder / "gone.txt"): ["gone.txt"],
    }
    assert {text: [path.relative_to(folder).as_posix() for path in list_files(text)] for text in found} == found


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
    assert listed(open_list(folder / "list.txt"), folder) == expected


def test_paths_with_spaces_and_commas(folder: Path) -> None:
    (folder / "run/b.mp4").rename(folder / "run/a, b and.mp4 c.mp4")
    (folder / "list.csv").write_text("run/a, b and.mp4 c.mp4, two words\n", encoding="utf-8")
    assert listed(open_list(folder / "list.csv"), folder) == [("run/a, b and.mp4 c.mp4", "two words")]


def test_numbers_count_from_zero_and_names_are_sorted(folder: Path) -> None:
    (folder / "list.txt").write_text("run/b.mp4 2\njump/a.mp4 0\n", encoding="utf-8")
    videos = labeled(open_list(folder / "list.txt"))
    assert (videos.labels, [video.label for video in videos.videos]) == (("0", "1", "2"), [2, 0])
    (folder / "list.txt").write_text("run/b.mp4 run\njump/a.mp4 jump\n", encoding="utf-8")
    videos = labeled(open_list(folder / "list.txt", labels=None))
    assert (videos.labels, [video.label for video in videos.videos]) == (("jump", "run"), [1, 0])


def test_class_index_names_the_numbers(folder: Path) -> None:
    (folder / "classInd.txt").write_text("1 Jump\n2 Run\n3 Walk\n", encoding="utf-8")
    (folder / "trainlist01.txt").write_text("run/b.mp4 2\njump/a.mp4 1\n", encoding="utf-8")
    videos = labeled(open_list(folder / "trainlist01.txt"))
    assert (videos.labels, [video.label for video in videos.videos]) == (("Jump", "Run", "Walk"), [1, 0])
    (folder / "trainlist01.txt").write_text("run/b.mp4 4\n", encoding="utf-8")
    with pytest.raises(InputFileError, match=r"has labels \[4\] that classInd\.txt does not name"):
        open_list(folder / "trainlist01.txt")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("run\n", r"list\.txt, line 1: expected 'path', 'path label' or 'path,label' .* got 'run'"),
        ("run/b.mp4 run\njump/notes.txt jump\n", "line 2: expected"),
        ("run/b.mp4\njump/a.mp4 jump\n", "has a label in line 2 and none in line 1; give all videos a label, or none"),
        (
            "run/b.mp4 run\nrun/x.mp4 run\nrun/y.mp4 run\n",
            r"lists 3 videos, of which 2 do not exist, .*x\.mp4.*; take them",
        ),
        ("path,label\nrun/b.mp4,run\n", r"line 1: expected .* got 'path,label'; take it out, if it names columns"),
        ("# nothing\n", r"list\.txt lists no video"),
    ],
)
def test_lists_that_make_no_sense_are_refused(folder: Path, text: str, message: str) -> None:
    (folder / "list.txt").write_text(text, encoding="utf-8")
    with pytest.raises(InputFileError, match=message):
        open_list(folder / "list.txt")


def test_lists_of_ucf101_away_from_their_videos_are_told_what_they_are(folder: Path) -> None:
    (folder / "trainlist02.txt").write_text("Run/v_Run_g01_c01.avi 1\n", encoding="utf-8")
    with pytest.raises(
        InputFileError, match=r"of which one does not exist.*; UCF101 as it comes .* 'ucf101:ROOT\?split=2'"
    ):
        open_list(folder / "trainlist02.txt")


def test_one_missing_video_in_a_hundred_is_left_out(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "list.txt").write_text("run/b.mp4 run\n" * 99 + "run/x.mp4 walk\n", encoding="utf-8")
    videos = labeled(open_list(folder / "list.txt"))
    assert (len(videos), videos.labels) == (99, ("run", "walk"))
    assert "lists 100 videos, of which one does not exist" in caplog.text


def test_directions_are_not_mirrored(folder: Path) -> None:
    assert labeled(open_folder(folder)).flips
    (folder / "run").rename(folder / "turn_left")
    assert not labeled(open_folder(folder)).flips


def test_a_binary_file_is_no_list(folder: Path) -> None:
    (folder / "list.txt").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(InputFileError, match=r"list\.txt is not a text file"):
        open_list(folder / "list.txt")


def test_a_video_file_reads_its_clips(make_video: Callable[..., Path]) -> None:
    video = LabeledFile(path=make_video(frames=8), label=3)
    assert video.read(ClipSpec(frames=4, size=16, fps=30), at=1).shape == (4, 16, 21, 3)


@pytest.mark.parametrize(("frames", "room"), [(4, 0), (3, 0), (8, 1), (10, 1.5)])
def test_a_video_file_knows_how_far_a_clip_can_move(make_video: Callable[..., Path], frames: int, room: float) -> None:
    video = VideoFile(path=make_video(frames=frames))
    assert video.room(ClipSpec(frames=4, size=16, fps=30)) == pytest.approx(room, abs=0.01)


def test_weizmann_splits_into_classes(shared_clips: Path) -> None:
    videos = labeled(open_folder(shared_clips / "weizmann"))
    assert (len(videos), len(videos.labels)) == (60, 10)
