"""Reports from files: compared across time, put together across devices, and refused where they are none."""

from __future__ import annotations

import copy
import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest

from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.runtime.reporting.compare import Difference, compare_reports
from s2tf_edge.runtime.reporting.data_digest import digest_videos
from s2tf_edge.runtime.reporting.merge import merge_reports, write_merged
from s2tf_edge.runtime.reporting.saved import read_report

HOSTILE = "</script><script>alert(1)</script>"


def artifact(name: str, *, p50_ms: float = 10.0, wrong: int = 0, n: int = 40, spread: float = 0.01) -> dict[str, Any]:
    """Of ``n`` videos of two classes the first ``wrong`` are mistaken."""
    return {
        "name": name,
        "skipped": None,
        "precision": "int8",
        "runtime": {"backend": "openvino"},
        "p50_ms": p50_ms,
        "p50_ms_low": p50_ms * (1 - spread),
        "p50_ms_high": p50_ms * (1 + spread),
        "p95_ms": 1.5 * p50_ms,
        "ms_per_second": 20 * p50_ms,
        "peak_memory_mb": 100.0,
        "size_mb": 2.0,
        "top1": 100 * (n - wrong) / max(n, 1),
        "top1_low": 50.0,
        "top1_high": 100.0,
        "said": ["b" if index < wrong else "a" for index in range(n)],
    }


def write(
    path: Path, *artifacts: dict[str, Any], cpu: str = "chip", busy: bool = False, n: int = 40, **others: Any
) -> Path:
    values = {
        "schema_version": 1,
        "videos": [{"name": f"video{index}", "true": "a"} for index in range(n)],
        "artifacts": list(artifacts),
        "machine": {"cpu": cpu, "cores": "4"},
        "surroundings": {"busy": busy},
        "data": "clips",
        "created": "2026-01-02T03:04:05+00:00",
        **others,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


def compare(tmp_path: Path, old: dict[str, Any], new: dict[str, Any], **of_new: Any) -> dict[str, Difference]:
    reports = [
        read_report(write(tmp_path / "old.json", old)),
        read_report(write(tmp_path / "new.json", new, **of_new)),
    ]
    return {each.quantity: each for each in compare_reports(*reports).differences}


def test_what_is_slower_is_a_regression(tmp_path: Path) -> None:
    found = compare(tmp_path, artifact("net"), artifact("net", p50_ms=12.0))
    assert found["p50"].finding == "regression"
    assert re.fullmatch(r"\+20\.0 % \(\+1\d\.\d to \+2\d\.\d\)", found["p50"].change)
    assert found["top-1"].finding == "no change shown"
    assert found["memory"].finding == "no change shown"


def test_what_two_runs_may_differ_by_is_none(tmp_path: Path) -> None:
    assert compare(tmp_path, artifact("net"), artifact("net", p50_ms=10.3))["p50"].finding == "no change shown"
    wide = compare(tmp_path, artifact("net", spread=0.2), artifact("net", p50_ms=12.0))
    assert wide["p50"].finding == "no change shown"
    assert compare(tmp_path, artifact("net"), artifact("net", p50_ms=8.0))["p50"].finding == "improvement"


def test_speeds_of_other_machines_or_busy_ones_are_not_told(tmp_path: Path) -> None:
    slow = artifact("net", p50_ms=20.0)
    assert compare(tmp_path, artifact("net"), slow, cpu="other")["p50"].finding == "not told: other machine"
    assert compare(tmp_path, artifact("net"), slow, busy=True)["p50"].finding == "not told: busy machine (new)"
    few = {key: value for key, value in slow.items() if key != "p50_ms_low"}
    assert compare(tmp_path, artifact("net"), few)["p50"].finding == "not told: too few rounds"


def test_top1_is_compared_video_by_video(tmp_path: Path) -> None:
    lost = compare(tmp_path, artifact("net", wrong=1), artifact("net", wrong=9))["top-1"]
    assert (lost.old, lost.new, lost.finding) == (97.5, 77.5, "regression")
    assert lost.change.startswith("-20.0 points (-")
    assert "p = 0.0078" in lost.change
    few = compare(tmp_path, artifact("net", wrong=1), artifact("net", wrong=3))["top-1"]
    assert few.finding == "no change shown"


def in_folder(folder: str, count: int = 40) -> list[dict[str, str]]:
    return [{"name": f"{folder}/video{index}.mp4", "true": "a"} for index in range(count)]


def test_videos_that_lie_elsewhere_are_the_same_by_their_names(tmp_path: Path) -> None:
    old = read_report(write(tmp_path / "old.json", artifact("net", wrong=1), videos=in_folder("/build-1/clips")))
    new = read_report(write(tmp_path / "new.json", artifact("net", wrong=9), videos=in_folder("/build-2/clips")))
    found = compare_reports(old, new)
    assert found.verdict == "1 regression: top-1 of net"
    assert found.differences[0].change.endswith("n = 40, p = 0.0078")
    # Names that say nothing: one video of each of two folders.
    twice = [*in_folder("/a", 20), *in_folder("/b", 20)]
    other = [*in_folder("/c", 20), *in_folder("/d", 20)]
    pair = [
        read_report(write(tmp_path / f"{number}.json", artifact("net"), videos=videos))
        for number, videos in enumerate((twice, other))
    ]
    assert compare_reports(*pair).verdict == "no regression is shown in 1 artifact; not told: top-1 of net"
    assert compare_reports(*pair).differences[0].finding == "not told: other videos"


def test_what_was_measured_otherwise_is_not_told(tmp_path: Path) -> None:
    settings = {"threads": 4, "hint": "latency", "device": "auto", "views": "1x1"}
    old = read_report(write(tmp_path / "old.json", artifact("net"), settings=settings))
    slow = artifact("net", p50_ms=25.0, wrong=9) | {"peak_memory_mb": 200.0}
    new = read_report(write(tmp_path / "new.json", slow, settings=settings | {"threads": 1, "views": "3x1"}))
    found = {each.quantity: each.finding for each in compare_reports(old, new).differences}
    assert found == {
        "top-1": "not told: other views (1x1 and 3x1)",
        "p50": "not told: other threads (4 and 1)",
        "memory": "not told: other threads (4 and 1)",
    }
    assert compare_reports(old, new).verdict.endswith("; not told: top-1 of net, p50 of net, memory of net")


def test_memory_counts_from_a_tenth_on(tmp_path: Path) -> None:
    more = artifact("net") | {"peak_memory_mb": 130.0}
    assert compare(tmp_path, artifact("net"), more)["memory"].finding == "regression"


def test_artifacts_that_are_gone_are_named(tmp_path: Path) -> None:
    old = read_report(write(tmp_path / "old.json", artifact("a"), artifact("b")))
    new = read_report(write(tmp_path / "new.json", artifact("a"), artifact("c")))
    found = compare_reports(old, new)
    assert (found.gone, found.added) == (("b",), ("c",))
    assert found.verdict == "no regression is shown in 1 artifact; gone: b"
    with pytest.raises(UsageError, match="no artifact in common: a, b; d"):
        compare_reports(old, read_report(write(tmp_path / "other.json", artifact("d"))))


def test_devices_side_by_side(tmp_path: Path) -> None:
    skipped = {"name": HOSTILE, "skipped": "no runtime"}
    reports = [
        read_report(write(tmp_path / "x" / "report.json", artifact("net"), artifact(HOSTILE, wrong=3), cpu="x")),
        read_report(write(tmp_path / "y" / "report.json", artifact("net", p50_ms=70.0), skipped, cpu="y", busy=True)),
    ]
    merged = merge_reports(reports)
    assert merged.busy == ("y, 4 cores",)
    write_merged(merged, tmp_path)
    values = json.loads((tmp_path / "merged.json").read_text("utf-8"))
    assert [row["p50_ms"] for row in values["rows"]] == [10.0, 70.0, 10.0, None]
    with (tmp_path / "merged.csv").open(encoding="utf-8", newline="") as file:
        assert [row["device"] for row in csv.DictReader(file)] == ["x, 4 cores", "y, 4 cores"] * 2
    page = (tmp_path / "merged.html").read_text("utf-8")
    assert "<script" not in page
    assert "skipped: no runtime" in page
    assert "x, 4 cores" in (tmp_path / "accuracy-latency.svg").read_text("utf-8")


def test_two_devices_of_one_kind_are_told_apart(tmp_path: Path) -> None:
    reports = [read_report(write(tmp_path / name / "report.json", artifact("net"))) for name in ("left", "right")]
    assert [
        str(tmp_path / name) in device
        for name, device in zip(("left", "right"), merge_reports(reports).devices, strict=True)
    ] == [True] * 2
    with pytest.raises(UsageError, match="two reports or more, got 1"):
        merge_reports(reports[:1])


@pytest.mark.parametrize(("digests", "is_other"), [("aa", False), ("ab", True), (("a", None), True), ((), False)])
def test_accuracy_stands_beside_that_of_the_same_videos_only(tmp_path: Path, digests: Any, is_other: bool) -> None:
    """By their digest; reports that have none yet by names and classes, which are the same here."""
    others = [{"data_sha256": digest} for digest in digests] or [{}, {}]
    reports = [
        read_report(write(tmp_path / cpu / "report.json", artifact("net"), cpu=cpu, **values))
        for cpu, values in zip("xy", others, strict=True)
    ]
    merged = merge_reports(reports)
    assert merged.other_videos == (("y, 4 cores",) if is_other else ())
    write_merged(merged, tmp_path)
    first, second = json.loads((tmp_path / "merged.json").read_text("utf-8"))["rows"]
    assert (first["top1"], second["top1"]) == (100.0, None if is_other else 100.0)
    assert (first["p50_ms"], second["p50_ms"]) == (10.0, 10.0)
    page = (tmp_path / "merged.html").read_text("utf-8")
    assert ("other videos than the first report" in page) == is_other
    assert "no ratio is made of them" in page
    assert ("y, 4 cores" in (tmp_path / "accuracy-latency.svg").read_text("utf-8")) != is_other


def test_names_of_videos_count_and_their_folders_do_not(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("left", "right")]
    for folder in folders:
        folder.mkdir()
        (folder / "a.mp4").write_bytes(b"0" * 100_000)
    left, right = (str(folder / "a.mp4") for folder in folders)
    made = ("synthetic 3", "walk")
    first = digest_videos([(left, "run"), made])
    assert digest_videos([made, (right, "run")]) == first
    assert len({first, *(digest_videos(pairs) for pairs in ([made], [(left, None), made], [(left, "run")] * 2))}) == 4
    (folders[1] / "a.mp4").write_bytes(b"0" * 99_999)
    assert digest_videos([made, (right, "run")]) != first
    assert digest_videos([("gone/a.mp4\0", "run")]) != first


def test_a_machine_is_called_by_its_gpu_too(tmp_path: Path) -> None:
    facts = {"cpu": "chip", "cores": "16", "gpu": "NVIDIA H200\n"}
    path = write(tmp_path / "report.json", artifact("net"), machine=facts)
    assert read_report(path).machine == "chip, 16 cores, NVIDIA H200"


def test_what_was_measured_without_videos_stands_beside_reports(tmp_path: Path) -> None:
    """As benchmarks/gpu.py writes it: no label, no answer, no accuracy."""
    row = {key: value for key, value in artifact("net", n=0).items() if not key.startswith("top1")}
    reports = [
        read_report(write(tmp_path / "x" / "report.json", artifact("net"), cpu="x")),
        read_report(write(tmp_path / "y" / "results.json", row | {"said": []}, cpu="y", n=0)),
    ]
    merged = merge_reports(reports[::-1])
    assert merged.other_videos == ()
    assert [row.number("top1") for row in merged.rows] == [None, 100.0]
    write_merged(merged, tmp_path)
    assert "no labels" in (tmp_path / "merged.html").read_text("utf-8")


def test_a_folder_stands_for_its_report(tmp_path: Path) -> None:
    assert read_report(write(tmp_path / "report.json", artifact("net")).parent).machine == "chip, 4 cores"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda values: values.pop("schema_version"), "has no schema_version; make it again"),
        (lambda values: values.update(schema_version=7), "has schema_version '7'"),
        (lambda values: values.update(artifacts="none"), "no report of version 1"),
        (lambda values: values.update(artifacts=[]), "report.json has no artifact that ran, of 0; give a report"),
        (lambda values: values["artifacts"][0].pop("said"), "KeyError: 'said'"),
        (lambda values: values["artifacts"][0].update(said=["a"]), "ValueError: zip"),
        (lambda values: values.update(machine=3), "AttributeError"),
        (lambda values: values.update(videos=[3]), "TypeError"),
    ],
)
def test_what_is_no_report_is_refused(tmp_path: Path, change: Any, message: str) -> None:
    path = write(tmp_path / "report.json", artifact("net"))
    values = copy.deepcopy(json.loads(path.read_text("utf-8")))
    change(values)
    path.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(InputFileError, match=re.escape(message)):
        read_report(path)


@pytest.mark.parametrize("text", ["", "{", "[1]", "[" * 100_000, "3"])
def test_what_is_no_json_is_refused_in_a_short_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "report.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputFileError) as caught:
        read_report(path)
    assert len(str(caught.value)) < 400
    with pytest.raises(InputFileError, match="cannot read"):
        read_report(tmp_path / "none.json")
