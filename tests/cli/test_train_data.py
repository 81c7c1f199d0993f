"""What s2tf-train and its neighbors make of data as users have them on disk."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from s2tf_edge.cli import evaluate, train
from s2tf_edge.data.scenes import LABELS
from s2tf_edge.data.synthetic import write_video

TINY = ["--model", "s2tf_r3d_10?width=0.0625", "--frames", "8", "--size", "32", "--workers", "0"]

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def split_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes on three sides, two videos each, of which no two are alike."""
    root: Path = tmp_path_factory.mktemp("a split")
    sides = [f"{side}/{label}" for side in ("train", "val", "test") for label in ("down", "up")]
    for seed, folder in enumerate(f"{side}/{take}" for side in sides for take in "12"):
        path = root / f"{folder}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, clips=[(LABELS[3 if "down" in folder else 2], 0.4)], size=(32, 48), seed=seed)
    return root


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs a command in the test's own folder: its exit code, what it printed, what it logged."""
    monkeypatch.chdir(tmp_path)

    def call(main: Callable[[], None], *arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["command", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, " ".join(printed.err.split())

    return call


def test_a_ready_split_is_trained_validated_and_measured_on(run: Run, split_folder: Path) -> None:
    code, out, err = run(train.main, split_folder, *TINY, "--epochs", 1, "--clips-per-video", 1, "--out", "a")
    assert code == 0, err
    assert "on 4 validation videos" in out
    assert f"classes 2: down, up training 4 videos ({split_folder / 'train'}) validation 4 videos (val)" in err
    assert err.index("time about") < err.index("epoch 1/1")
    code, out, err = run(evaluate.main, "a/model.pt", "--data", split_folder)
    assert (code, "4 videos" in out) == (0, True)
    assert f"{split_folder} comes split: test is taken, 4 videos" in err


def test_a_published_layout_is_trained_on(run: Run, split_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(split_folder / "train", tmp_path / "UCF-101")
    lists = {"classInd": "1 down\n2 up\n", "trainlist01": "down/1.mp4 1\nup/1.mp4 2\n", "testlist01": "up/2.mp4\n"}
    for name, text in lists.items():
        (tmp_path / f"{name}.txt").write_text(text, encoding="utf-8")
    code, out, err = run(train.main, "ucf101:.?split=1", *TINY, "--epochs", 1, "--clips-per-video", 1, "--out", "a")
    assert code == 0, err
    assert "on 1 validation videos" in out
    assert "no video to validate on of 'down'" in err
    code, out, _ = run(evaluate.main, "a/model.pt", "--data", "ucf101:.?part=train")
    assert (code, "2 videos" in out) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["one"], 9, "one/train has a single class, 'up'"),
        (["split", "--val-split", "split/train"], 9, "4 videos are on both sides"),
        (["split", "--group-by", "(.)"], 2, "--group-by splits one data set in two, but val is there to validate on"),
        (["split", "--group-by", "(.)"], 2, "or give a share such as --val-split 0.2"),
        (["split", "--val-split", "1"], 2, "must lie between 0 and 1"),
        (["split/train", "--group-by", "(."], 2, "--group-by needs a regular expression with a group"),
        (["hollow"], 9, "hollow/down: an empty class folder"),
        (
            ["ucf101:split"],
            9,
            "split has no list of UCF101, in itself or in ucfTrainTestlist: it holds test/, train/, val/",
        ),
        (["ucf101:none"], 9, "none is no folder; give ucf101:ROOT"),
        (["ucf101:split?fold=1"], 2, "ucf101 has no option 'fold'; it takes split, part"),
        (["hmdb51:split"], 9, "split has no list of HMDB51"),
        (["kinetics:split/train"], 9, "has neither train.csv and val.csv nor folders train/<class>"),
    ],
)
def test_what_is_surely_wrong_is_refused_before_the_first_step(
    run: Run, split_folder: Path, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    shutil.copytree(split_folder, tmp_path / "split")
    shutil.copytree(split_folder / "train/up", tmp_path / "one/train/up")
    shutil.copytree(split_folder / "train/up", tmp_path / "hollow/up")
    (tmp_path / "hollow/down").mkdir()
    ended, out, err = run(train.main, *arguments, *TINY, "--epochs", 1, "--out", "run", "--quiet")
    assert (ended, out) == (code, "")
    assert message in err
    assert not (tmp_path / "run").exists()
