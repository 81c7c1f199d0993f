"""``s2tf-report`` as a user calls it: exit codes, files, interruption."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import av
import pytest

from s2tf_edge.data.scenes import LABELS
from s2tf_edge.data.synthetic import write_video

DATA = "synthetic?clips=10"
COMMAND = [sys.executable, "-c", "from s2tf_edge.cli.report import main; main()"]
SHORT = ["--data", DATA, "--duration", "0.1", "--warmup", "0", "--limit", "3", "--threads", "1"]


def run(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False, cwd=cwd)


def test_writes_its_files_and_keeps_the_skipped(small_artifact: Path, tmp_path: Path) -> None:
    done = run("gone", small_artifact, *SHORT, "--slo", "p95<60s,drop<1", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout)
    assert values == json.loads((tmp_path / "report" / "report.json").read_text("utf-8"))
    assert next(iter(values.items())) == ("schema_version", 1)
    assert {path.name for path in tmp_path.iterdir()} == {"report"}
    names = {path.name for path in (tmp_path / "report").iterdir()}
    assert names == {"report.html", "report.md", "report.json", "report.csv", "figures"}
    gone, ran = values["artifacts"]
    assert "does not exist" in gone["skipped"]
    assert (ran["n"], ran["baseline"], values["winner"]) == (3, True, small_artifact.name)
    assert values["run"] == f"s2tf-stream {shlex.quote(str(small_artifact))} --camera 0 --threads 1"
    assert f"--data '{DATA}'" in values["command"]


def test_an_unreadable_video_is_named_once(small_artifact: Path, tmp_path: Path) -> None:
    label = json.loads((small_artifact / "meta.json").read_text("utf-8"))["labels"][0]
    with av.open(str(tmp_path / "good.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=25, width=32, height=32)
        for packet in [*stream.encode(av.VideoFrame(32, 32, "yuv420p")), *stream.encode(None)]:
            container.mux(packet)
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    (tmp_path / "list.txt").write_text(f"good.mp4,{label}\nbroken.mp4,{label}\n", encoding="utf-8")
    done = run(small_artifact, *SHORT, "--data", "list.txt", "-q", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "videos that could not be read are left out: broken.mp4\n"
    values = json.loads((tmp_path / "report" / "report.json").read_text("utf-8"))
    assert values["skipped_videos"] == ["broken.mp4"]


def test_names_that_are_no_text_cost_no_report(small_artifact: Path, tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.mp4")
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / name, clips=[(LABELS[0], 0.5)], size=(32, 48), seed=0)
    done = run(small_artifact, *SHORT, "--data", "videos", "-q", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    values = json.loads((tmp_path / "report" / "report.json").read_text("utf-8"))
    assert [each["name"] for each in values["videos"]] == [f"videos/{name}"]


@pytest.fixture
def unlabeled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three videos, and nothing else."""
    folder = tmp_path_factory.mktemp("clips")
    for index, label in enumerate(LABELS[:3]):
        write_video(folder / f"{index}.mp4", clips=[(label, 0.5)], size=(48, 64), seed=index)
    return folder


def test_without_labels_agreement_and_latency_are_left(small_artifact: Path, unlabeled: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(small_artifact, other)
    bounds = ("--slo", "agreement>=100,p95<60s", "--out", "r")
    done = run(small_artifact, other, *SHORT, "--data", unlabeled, *bounds, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    values = json.loads((tmp_path / "r" / "report.json").read_text("utf-8"))
    assert [(each["top1"], each["agreement"], each["n"]) for each in values["artifacts"]] == [(None, 100, 3)] * 2
    assert values["winner"] in {"other", small_artifact.name}
    assert done.stdout.count("no labels") == 2
    assert "agreement %" in done.stdout


def test_a_bound_that_takes_labels_is_refused_before_anything_runs(unlabeled: Path, tmp_path: Path) -> None:
    for bound in (("--slo", "drop<1"), ("--fail-under", "top1=70")):
        done = run("gone", *SHORT, "--data", unlabeled, *bound, cwd=tmp_path)
        assert done.returncode == 2
        assert "needs videos with labels" in done.stderr
        assert "or give --data as a folder of class folders" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_bounds_that_are_missed_end_in_6_with_the_report_written(small_artifact: Path, tmp_path: Path) -> None:
    done = run(small_artifact, *SHORT, "--fail-under", "top1=100,p95=60s", "--out", "r", cwd=tmp_path)
    assert done.returncode == 6
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("s2tf-report: error: not shown to meet --fail-under; small é artifact: top1 is ")
    assert "p95" not in last
    assert "small é artifact takes" in done.stdout.replace("\n", " ")
    assert (tmp_path / "r" / "report.html").exists()


@pytest.mark.slow
def test_an_artifact_that_was_calibrated_on_the_videos_shows_nothing(small_artifact: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(small_artifact, other)
    clips = [{"video": f"synthetic/0/train/{index}", "at": 0.5, "sha256": ""} for index in range(10)]
    (other / "calib.json").write_text(json.dumps({"method": "minmax", "clips": clips}), encoding="utf-8")
    done = run(other, *SHORT, "--slo", "top1>=0", "--out", "r", cwd=tmp_path)
    assert done.returncode == 6
    said = "other was calibrated on 3 of the 3 videos; give other videos to learn how accurate it is"
    assert said in done.stderr.replace("\n", " ")
    assert "not shown, as it was calibrated on 3 of the 3 videos" in done.stderr
    done = run(other, small_artifact, *SHORT, "--slo", "top1>=0", "--out", "r", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    values = json.loads((tmp_path / "r" / "report.json").read_text("utf-8"))
    assert values["winner"] == small_artifact.name
    assert values["findings"]["other"] == [{"bound": "top1 >= 0 %", "finding": "not shown"}]
    assert run(other, *SHORT, "--slo", "top1>=0", "--by", "estimate", "--out", "r", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["gone", *SHORT], 9, "no artifact could run here; gone: gone does not exist"),
        (["gone", *SHORT, "--slo", "fast"], 2, "--slo must look like"),
        (["gone", *SHORT, "--by", "luck"], 2, "--by must be bound, which is the worse end"),
        (["gone", *SHORT, "--hint", "speed"], 2, "hint must be one of latency, throughput"),
        (["gone", "gone", *SHORT], 2, "each given once"),
        (["gone", *SHORT, "--baseline", "gone"], 9, "the baseline gone could not run here: gone does not exist"),
    ],
)
def test_mistakes_leave_no_report(arguments: list[str], code: int, message: str, tmp_path: Path) -> None:
    done = run(*arguments, "-q", cwd=tmp_path)
    assert done.returncode == code
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_interrupted_it_leaves_nothing(
    interrupt: Callable[..., subprocess.CompletedProcess[str]], small_artifact: Path, tmp_path: Path
) -> None:
    arguments = (small_artifact, *SHORT, "--duration", "3600")
    done = interrupt("report", *arguments, at="measuring latency", cwd=tmp_path)
    assert done.returncode == 130, done.stderr
    assert done.stderr == "s2tf-report: error: interrupted\n"
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def reported(small_artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reported")
    done = run(small_artifact, *SHORT, "--out", "r", "-q", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "r"


def test_reports_are_compared_across_time(reported: Path, tmp_path: Path) -> None:
    done = run("--compare", reported, reported / "report.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "no regression is shown in 1 artifact" in done.stdout
    assert "no change shown" in done.stdout
    values = json.loads((reported / "report.json").read_text("utf-8"))
    values["artifacts"][0]["peak_memory_mb"] *= 2
    worse = tmp_path / "worse.json"
    worse.write_text(json.dumps(values), encoding="utf-8")
    done = run("--compare", reported, worse, "--json", cwd=tmp_path)
    assert done.returncode == 6
    assert [each["finding"] for each in json.loads(done.stdout)["differences"]].count("regression") == 1
    assert "error: 1 regression: memory of small é artifact" in done.stderr


def test_reports_of_devices_are_merged(reported: Path, tmp_path: Path) -> None:
    values = json.loads((reported / "report.json").read_text("utf-8"))
    values["machine"]["cpu"] = "another"
    (tmp_path / "other.json").write_text(json.dumps(values), encoding="utf-8")
    done = run("--merge", reported, "other.json", "--out", "all", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "2 results of 2 devices: all/merged.html" in done.stdout
    assert "other videos" not in done.stdout
    assert {path.name for path in (tmp_path / "all").iterdir()} == {
        "merged.html",
        "merged.json",
        "merged.csv",
        "accuracy-latency.svg",
    }
    (tmp_path / "other.json").write_text(json.dumps(values | {"data_sha256": "another"}), encoding="utf-8")
    done = run("--merge", reported, "other.json", "--out", "more", cwd=tmp_path)
    assert "accuracy is of other videos, and left out, on: another, " in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--compare", "a"], 2, "--compare takes two reports, the old one and the new one, got 1"),
        (["--compare", "a", "b"], 9, "cannot read a"),
        (["--compare", "--merge", "a", "b"], 2, "got both"),
        (["--compare", "a", "b", "--data", "x"], 2, "take nothing else; got --data beside one"),
        (["--merge", "a"], 9, "cannot read a"),
        (["a"], 2, "give one artifact or more and --data, or two reports with --compare or --merge"),
        ([*SHORT], 2, "give one artifact or more and --data"),
    ],
)
def test_mistakes_with_reports(arguments: list[str], code: int, message: str, tmp_path: Path) -> None:
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == code
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
