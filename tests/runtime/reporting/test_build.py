"""Reports made from known measurements: numbers, choice, files, and names that try to break out of them."""

from __future__ import annotations

import csv
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import numpy as np
import pytest

from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.data.videos import Videos
from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.runtime.evaluation.accuracy import Drop, Evaluation, measure_drop
from s2tf_edge.runtime.evaluation.confidence import measure_confidence
from s2tf_edge.runtime.evaluation.predictions import Predictions, measure_agreement
from s2tf_edge.runtime.reporting import report_files
from s2tf_edge.runtime.reporting.build import Report, make_report
from s2tf_edge.runtime.reporting.changes import find_changes
from s2tf_edge.runtime.reporting.conditions import By, Finding, check_known, parse_fail_under, parse_slo
from s2tf_edge.runtime.reporting.evidence import count_videos_needed
from s2tf_edge.runtime.reporting.facts import ArtifactFacts, machine_facts, read_facts
from s2tf_edge.runtime.reporting.figures import layers_svg
from s2tf_edge.runtime.reporting.measuring.latency import Latency, compare_rounds
from s2tf_edge.runtime.reporting.measuring.measure import Measurement, MeasureOptions, Skipped
from s2tf_edge.runtime.reporting.measuring.surroundings import Sample, Surroundings
from s2tf_edge.runtime.reporting.measuring.worker import Throughput
from s2tf_edge.runtime.reporting.plot import Point, draw_scatter, scatter_svg
from s2tf_edge.runtime.reporting.report_files import report_values, tabulate_classes, write_report
from s2tf_edge.runtime.reporting.rows import Row
from s2tf_edge.runtime.reporting.svg import new_figure, to_element
from s2tf_edge.runtime.reporting.tiles import make_tiles
from s2tf_edge.runtime.reporting.verdict import choose, judge, report_command, shortfalls, stream_command, verdict
from s2tf_edge.runtime.session import ModelInfo
from s2tf_edge.spec import ClipSpec
from s2tf_edge.step_spec import StateSpec, StepSpec

HOSTILE = "</script><script>alert(1)</script>|$\\frac{`x`}"
LABELS = ("clap", "wave", HOSTILE)
NO_VIDEOS = Videos(name="none", videos=())


def evaluation(wrong: int, *, n: int = 60) -> Evaluation:
    """Of ``n`` videos the first ``wrong`` are taken for the next class."""
    targets = np.arange(n) % 3
    predicted = targets.copy()
    predicted[:wrong] = (predicted[:wrong] + 1) % 3
    names = tuple(f"video{index}" for index in range(n))
    return Evaluation(labels=LABELS, names=names, targets=targets, scores=np.eye(3, dtype=np.float32)[predicted])


def measurement(name: str, *, p50_ms: float, wrong: int, n: int = 60) -> Measurement:
    info = ModelInfo(
        name=name, network="net", target="onnx", precision="fp32", spec=ClipSpec(frames=4, size=8), labels=LABELS
    )
    return Measurement(
        info=info,
        runtime={
            "backend": "onnxruntime",
            "version": "1.0-x",
            "device": "CPU",
            "inference_precision": "f32",
            "threads": 2,
        },
        load_seconds=0.5,
        first_ms=3 * p50_ms,
        latency=Latency.from_rounds(rounds_of(p50_ms)),
        cores=1.9,
        side_by_side=Throughput(count=2, clips_per_second=1200 / p50_ms),
        peak_memory_mb=120.0,
        evaluation=evaluation(wrong, n=n),
    )


def rounds_of(p50_ms: float, *, rounds: int = 20) -> list[list[int]]:
    """Half of the times are ``p50_ms`` or less, and 5 % are half as long again."""
    one = [0.98] * 9 + [1.0] * 3 + [1.02] * 6 + [1.5] * 2
    return [[round(1e6 * p50_ms * part) for part in one] for _ in range(rounds)]


def without_labels(found: Measurement) -> Measurement:
    known = found.evaluation
    bare = Predictions(labels=known.labels, names=known.names, scores=known.scores)
    return replace(found, evaluation=bare)


def drop_of(first: Measurement, other: Measurement) -> Drop | None:
    return measure_drop(first.accuracy, other.accuracy) if first.accuracy and other.accuracy else None


def report(*measured: tuple[str, float, int], skipped: str | None = None, labels: bool = True, n: int = 60) -> Report:
    """The first is the baseline; each is (name, p50 in ms, wrong of ``n``)."""
    found = [measurement(name, p50_ms=p50_ms, wrong=wrong, n=n) for name, p50_ms, wrong in measured]
    found = found if labels else [without_labels(each) for each in found]
    rows = [
        Row(
            name=item.info.name,
            path=Path("out dir") / item.info.name,
            facts=ArtifactFacts(size_mb=2.5),
            outcome=item,
            drop=drop_of(found[0], item) if index else None,
            agreement=measure_agreement(found[0].evaluation, item.evaluation) if index else None,
            changes=find_changes(found[0].evaluation, item.evaluation, NO_VIDEOS) if index else (),
            confidence=measure_confidence(item.accuracy) if item.accuracy else None,
            speed=compare_rounds(found[0].latency.rounds, item.latency.rounds) if index else None,
            is_baseline=index == 0,
            on_front=labels and index > 0,
        )
        for index, item in enumerate(found)
    ]
    if skipped:
        rows.append(
            Row(name="gone", path=Path("gone"), facts=ArtifactFacts(), outcome=Skipped(error=InputFileError(skipped)))
        )
    return Report(
        rows=tuple(rows),
        data="clips",
        options=MeasureOptions(),
        machine=machine_facts() | {"gpu": "NVIDIA <H200>", "driver": "580.1"},
        surroundings=Surroundings(samples=(Sample(others=0.01, load=0.5, mhz=2000.0, celsius=50.0),), cores=4),
        created="2026-01-02T03:04:05+00:00",
    )


THREE = (("base", 40.0, 3), ("quick", 10.0, 6), ("rough", 5.0, 30))


def test_metrics_of_a_row() -> None:
    metrics = report(*THREE).rows[1].metrics
    assert metrics["top1"] == 90.0
    assert metrics["drop"] == pytest.approx(5.0)
    assert metrics["drop_low"] is not None
    assert metrics["drop_high"] is not None
    assert metrics["drop_low"] < 5 < metrics["drop_high"]
    assert metrics["agreement"] == pytest.approx(95.0)
    assert (metrics["p50_ms"], metrics["size_mb"], metrics["build_seconds"]) == (10.0, 2.5, None)


def stepping(found: Report, *rows: int, hop: int = 1) -> Report:
    """The same with some artifacts that step: a step takes as long as their clip took."""
    state = StateSpec(name="ring", slots=3, shape=(8, 2, 2))
    step = StepSpec(hop=hop, receptive_field=9, warm_up=8, states=(state,))

    def steps(row: Row) -> Row:
        assert row.measured is not None
        info = replace(row.measured.info, step=step, spec=ClipSpec(frames=8, size=8))
        return replace(row, outcome=replace(row.measured, info=info))

    changed = replace(found, rows=tuple(steps(row) if index in rows else row for index, row in enumerate(found.rows)))
    first, *others = changed.rows
    compared = [replace(row, speed=changed.compare_speed(first, row)) for row in others]
    return replace(changed, rows=(first, *compared))


def test_steps_and_clips_are_compared_by_a_second_of_video() -> None:
    # 25 frames a second: a clip of 4 frames has a hop of 1, as a step has.
    clips = report(("base", 40.0, 3), ("quick", 10.0, 3))
    assert clips.rows[0].metrics["ms_per_second"] == pytest.approx(25 * 40.0)
    mixed = stepping(clips, 1)
    assert (clips.by_second, mixed.by_second) == (False, True)
    assert [row.to_dict()["form"] for row in mixed.rows] == ["clip", "step"]
    assert mixed.rows[1].metrics["ms_per_second"] == pytest.approx(25 * 10.0)
    assert "10 ms a step (p95 15), 250 ms a second of video, 4.0× (3.9 to 4.1) as fast as base" in verdict(mixed)
    assert "10 ms a clip (p95 15), 4.0× (3.9 to 4.1) as fast" in verdict(clips)
    (cost,) = parse_slo("cost<300ms/s")
    assert [cost.judge(row.metrics) for row in mixed.rows] == [Finding.REFUTED, Finding.SHOWN]


def test_steps_of_other_hops_are_compared_by_a_second_of_video() -> None:
    # The second takes longer for a prediction, and four frames at a time it costs the less.
    steps = stepping(report(("single", 10.0, 3), ("four", 20.0, 3)), 0, 1)
    assert not steps.by_second
    assert "single is the fastest: 10 ms a step (p95 15)," in verdict(steps)
    quick = stepping(steps, 1, hop=4)
    assert quick.by_second
    assert "four is the fastest: 20 ms a step (p95 30), 125 ms a second of video, 2.0× (1.9 to" in verdict(quick)


def test_a_report_of_both_forms_says_what_it_compares(tmp_path: Path) -> None:
    write_report(stepping(report(*THREE), 1), tmp_path)
    page, text = ((tmp_path / name).read_text(encoding="utf-8") for name in ("report.html", "report.md"))
    assert "computing for a second of video at each artifact" in page
    assert "◆ on the Pareto front of top-1 and the cost of a second of video" in text
    assert "one clip or step at batch 1" in text
    write_report(stepping(report(*THREE), 0, 1, 2), tmp_path)
    page, text = ((tmp_path / name).read_text(encoding="utf-8") for name in ("report.html", "report.md"))
    assert "latency of one step, p50" in page
    assert "one step at batch 1" in text


@pytest.mark.parametrize(
    ("slo", "winner"),
    [
        ("drop<10", "quick"),  # accurate enough: the fastest
        ("drop<60", "rough"),
        ("p95<20ms", "quick"),  # fast enough: the most accurate
        ("p95<0.1s", "base"),
        ("p95<=60,top1>=95", "base"),
        ("p95<20ms,drop<1", None),
        ("memory>1gb", None),
    ],
)
def test_the_winner_of_an_slo_by_estimates(slo: str, winner: str | None) -> None:
    found = choose(report(*THREE), parse_slo(slo), by=By.ESTIMATE)
    assert (found.name if found else None) == winner


@pytest.mark.parametrize(
    ("slo", "winner"),
    [
        ("drop<20", "quick"),  # 5 points, and at most 14
        ("drop<10", "base"),  # that of the others may be more; the baseline loses nothing to itself
        ("drop<10,p95<20ms", None),
        ("p95<20ms", "quick"),
        ("top1>80,p95<20ms", None),
        ("top1>79,p95<20ms", "quick"),  # 90 %, and at least 79.9
    ],
)
def test_the_winner_of_an_slo_is_shown_to_meet_it(slo: str, winner: str | None) -> None:
    found = choose(report(*THREE), parse_slo(slo))
    assert (found.name if found else None) == winner


@pytest.mark.parametrize(
    ("slo", "findings"),
    [
        ("drop<4", "shown, not shown, refuted"),
        ("top1>=93", "not shown, not shown, refuted"),
        ("top1<94,p95<1s", "not shown, not shown, shown"),
        ("agreement>90", "shown, not shown, refuted"),
        ("memory<1gb", "shown, shown, shown"),
        ("size<1gb,memory>1gb", "refuted, refuted, refuted"),
    ],
)
def test_a_bound_is_judged_by_the_worse_end_of_the_interval(slo: str, findings: str) -> None:
    found = [judge(row, parse_slo(slo), by=By.BOUND).value for row in report(*THREE).rows]
    assert ", ".join(found) == findings


def test_what_is_not_known_is_not_shown() -> None:
    (condition,) = parse_slo("top1>10")
    assert condition.judge({"top1": None, "top1_low": None, "top1_high": None}) is Finding.NOT_SHOWN
    assert condition.judge({"top1": None}, by=By.ESTIMATE) is Finding.NOT_SHOWN
    assert condition.judge({"top1": 20.0, "top1_low": 5.0, "top1_high": 40.0}, by=By.ESTIMATE) is Finding.SHOWN


@pytest.mark.parametrize("slo", ["drop<4", "drop<10", "top1>80", "top5>=97", "agreement>90"])
def test_as_many_videos_as_are_said_to_be_needed_are_enough_and_half_are_not(slo: str) -> None:
    (condition,) = parse_slo(slo)
    needed = count_videos_needed(condition, report(*THREE).rows[1])
    assert needed is not None

    def finding(times: float) -> Finding:
        n = round(times * needed)
        wrong = [round(n * count / 60) for count in (3, 6)]
        base, other = (evaluation(each, n=n) for each in wrong)
        drop, same = measure_drop(base, other), measure_agreement(base, other)
        metrics = {"drop_low": drop.low, "drop_high": drop.high, "top5_low": other.top5.low, "top5_high": 100.0}
        metrics |= {"top1_low": other.top1.low, "top1_high": other.top1.high}
        return condition.judge(metrics | {"agreement_low": same.low, "agreement_high": same.high})

    assert finding(0.5) is Finding.NOT_SHOWN
    assert finding(1.1) is not Finding.NOT_SHOWN


def test_what_was_calibrated_on_the_videos_shows_nothing_of_its_accuracy(tmp_path: Path) -> None:
    found = report(*THREE)
    rows = [replace(row, calibrated_on=("video3", "video5") if row.name == "quick" else ()) for row in found.rows]
    found = replace(found, rows=tuple(rows))
    slo = parse_slo("drop<20,p95<20ms")
    assert choose(found, slo) is None
    assert judge(found.rows[1], parse_slo("p95<20ms"), by=By.BOUND) is Finding.SHOWN
    assert judge(found.rows[1], parse_slo("top1>95"), by=By.BOUND) is Finding.NOT_SHOWN
    assert judge(found.rows[1], parse_slo("top1>99"), by=By.BOUND) is Finding.REFUTED
    assert getattr(choose(found, slo, by=By.ESTIMATE), "name", None) == "quick"
    baseline = replace(found, rows=tuple(replace(row, calibrated_on=(), baseline_overlaps=True) for row in found.rows))
    assert [judge(row, parse_slo("drop<20"), by=By.BOUND).value for row in baseline.rows] == [
        "shown",
        "not shown",
        "not shown",
    ]
    assert judge(found.rows[1], parse_slo("top1<99"), by=By.BOUND) is Finding.SHOWN
    assert judge(found.rows[1], parse_slo("top1<70"), by=By.BOUND) is Finding.NOT_SHOWN
    assert verdict(found, parse_slo("p95<20ms")).endswith("; it was calibrated on 2 of the 60 videos.")
    assert verdict(found, slo).endswith("wanted < 20 points: not shown, as it was calibrated on 2 of the 60 videos.")
    write_report(found, tmp_path, slo=slo)
    for name in ("report.html", "report.md"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert text.count("was calibrated on 2 of the 60 videos, so they do not show how accurate it is") == 1
    assert [row["calibrated_on"] for row in report_values(found)["artifacts"]] == [0, 2, 0]


def test_no_number_of_videos_tells_what_is_the_bound_itself() -> None:
    row = report(*THREE).rows[1]
    bounds = parse_slo("top1>90,drop<5,p95<15ms")
    assert [count_videos_needed(bound, row) for bound in bounds] == [None] * 3


def test_a_verdict_on_five_videos_says_that_nothing_is_shown(tmp_path: Path) -> None:
    few = report(("base", 40.0, 0), ("quick", 10.0, 0), n=5)
    slo = parse_slo("p95<20ms,drop<1")
    text = verdict(few, slo)
    assert text == (
        "No artifact is shown to meet p95 < 20 ms and drop < 1 points. quick may: drop is 0.00 (-43.45 to 43.45) "
        "points, wanted < 1 points: not shown; some 390 such videos in all would show it."
    )
    assert report_values(few, slo=slo)["findings"]["quick"] == [
        {"bound": "p95 < 20 ms", "finding": "shown"},
        {"bound": "drop < 1 points", "finding": "not shown"},
    ]
    assert "quick is the one to use" in verdict(few, slo, by=By.ESTIMATE)
    write_report(few, tmp_path, slo=slo)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "What is not shown to meet p95 &lt; 20 ms, drop &lt; 1 points" in page
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["winner"] is None


def test_without_labels_the_fastest_that_agrees_wins() -> None:
    found = report(*THREE, labels=False)
    assert getattr(choose(found, parse_slo("agreement>90")), "name", None) == "base"
    assert getattr(choose(found, parse_slo("agreement>90"), by=By.ESTIMATE), "name", None) == "quick"
    assert getattr(choose(found, parse_slo("agreement>80")), "name", None) == "quick"
    assert getattr(choose(found, parse_slo("p95<1s")), "name", None) == "rough"


def test_without_labels_what_takes_them_is_not_known() -> None:
    first, second, _ = (row.metrics for row in report(*THREE, labels=False).rows)
    known = {key for key, value in second.items() if value is not None}
    assert not {key for key in second if key.startswith(("top1", "top5", "drop"))} & known
    assert (second["agreement"], second["n"], first["agreement"], first["drop"]) == (95, 60, 100, None)
    assert report(*THREE, labels=False).rows[1].to_dict()["per_class"] is None
    assert tabulate_classes(report(*THREE, labels=False)) == []


def test_without_labels_the_verdict_says_so() -> None:
    text = verdict(report(*THREE, labels=False))
    assert text == (
        "rough is the fastest: 5 ms a clip (p95 7.5), 8.0× (7.8 to 8.2) as fast as base, and agrees with base on "
        "55.0 % of 60 videos. The videos have no labels, so there is no top-1."
    )
    alone = verdict(report(THREE[0], labels=False))
    assert alone == "base is the fastest: 40 ms a clip (p95 60). The videos have no labels, so there is no top-1."


@pytest.mark.parametrize("text", ["top1>70", "p95<1s,top5>70", "drop<1"])
def test_bounds_that_take_labels_are_refused_without_them(text: str) -> None:
    labeled = LabeledVideos(name="clips", labels=("a",), videos=[])
    check_known(parse_slo(text), labeled)
    check_known(parse_slo("agreement>90,p95<1s"), Videos(name="clips", videos=[]))
    with pytest.raises(UsageError, match=r"a bound on (top1|top5|drop) needs videos with labels, and those of clips"):
        check_known(parse_slo(text), Videos(name="clips", videos=[]))


def test_shortfalls_say_what_was_missed() -> None:
    found, floor = report(*THREE, skipped="no runtime"), parse_fail_under("top1=90,p95=40ms")
    assert shortfalls(found, floor, by=By.ESTIMATE) == [
        "base: p95 is 60.00 ms, wanted <= 40 ms",
        "rough: top1 is 50.00 (37.74 to 62.26) %, wanted >= 90 %",
    ]
    show = "not shown; some 140 such videos in all would show it"
    assert shortfalls(found, floor) == [
        f"base: top1 is 95.00 (86.30 to 98.29) %, wanted >= 90 %: {show}; p95 is 60.00 ms, wanted <= 40 ms",
        "quick: top1 is 90.00 (79.85 to 95.34) %, wanted >= 90 %: not shown",
        "rough: top1 is 50.00 (37.74 to 62.26) %, wanted >= 90 %",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "`slo` must look like"),
        ("p95", "`slo` must look like"),
        ("p95=40ms", "`slo` must look like"),
        ("p95<40ms,", "`slo` must look like"),
        ("p97<40ms", "`slo` knows no 'p97'; it takes top1"),
        ("p95<40mb", "p95 is given in ms or s, got 'mb'"),
    ],
)
def test_conditions_of_another_form(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        parse_slo(text)


def test_fail_under_takes_no_comparison() -> None:
    with pytest.raises(UsageError, match="`fail_under` must look like 'top1=70,p95=40ms'"):
        parse_fail_under("top1<70")


def test_the_verdict_is_computed() -> None:
    text = verdict(report(*THREE))
    assert "rough is the fastest: 5 ms a clip (p95 7.5), 8.0× (7.8 to 8.2) as fast as base" in text
    assert "for a drop of 45.0 points in top-1 (95 % interval +" in text
    assert "The most accurate is base: 95.0 % top-1 at 40 ms." in text
    assert verdict(report(*THREE), parse_slo("p95<1ms")) == "No artifact meets p95 < 1 ms."


def test_the_verdict_admits_what_few_videos_cannot_tell() -> None:
    gain = verdict(report(("base", 40.0, 2), ("quick", 10.0, 1)))
    assert "with a gain of 1.7 points in top-1" in gain
    assert "too few videos to tell it from none" in gain
    low, high = re.findall(r"interval ([+-][\d.]+) to ([+-][\d.]+)", gain)[0]
    assert float(low) < 0 < 1.7 < float(high)
    assert "with the same top-1" in verdict(report(("base", 40.0, 2), ("quick", 10.0, 2)))


def test_a_step_of_several_streams_has_no_command_to_stream_with() -> None:
    found = stepping(report(("a", 10.0, 0)), 0)
    assert report_values(found, slo=parse_slo("p95<99ms"))["run"].startswith("s2tf-stream ")
    (row,) = found.rows
    assert row.measured is not None
    two = replace(row, outcome=replace(row.measured, info=replace(row.measured.info, batch=2)))
    assert report_values(replace(found, rows=(two,)), slo=parse_slo("p95<99ms"))["run"] is None


def test_commands_quote_paths() -> None:
    found = report(*THREE)
    assert stream_command(found.rows[1], threads=2) == "s2tf-stream 'out dir/quick' --camera 0 --threads 2"
    assert report_command(found).startswith("s2tf-report 'out dir/base' 'out dir/quick' 'out dir/rough' --data clips ")
    assert report_command(found).endswith("--baseline 'out dir/base'")


def test_class_drops_put_the_worst_first() -> None:
    found = tabulate_classes(report(*THREE))
    assert [item.n for item in found] == [20, 20, 20]
    assert [item.worst for item in found] == sorted((item.worst for item in found), reverse=True)
    assert sum(item.drops[1] or 0 for item in found) == pytest.approx(3 * 45.0)
    assert tabulate_classes(report(THREE[0])) == []


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    hostile = report(THREE[0], (HOSTILE, 10.0, 6), skipped=f"bad {HOSTILE}")
    write_report(hostile, folder, slo=parse_slo("p95<20ms"))
    return folder


class Structure(HTMLParser):
    """Elements by name, checking that they nest; every reference to something outside the file."""

    VOID = frozenset({"meta", "wbr", "br", "img"})

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.open: list[str] = []
        self.outside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        self.outside += [
            value for key, value in attrs if key in {"src", "href"} and value and not value.startswith(("#", "data:"))
        ]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_html_stands_alone_and_hostile_names_stay_text(written: Path) -> None:
    structure = Structure()
    structure.feed((written / "report.html").read_text("utf-8"))
    assert structure.open == []
    assert structure.outside == []
    assert "script" not in structure.seen
    assert {"svg", "table", "pre", "figure"} <= set(structure.seen)
    assert "alert(1)" in (written / "report.html").read_text("utf-8")
    assert "NVIDIA &lt;H200&gt;, driver 580.1" in (written / "report.html").read_text("utf-8")


def test_markdown_has_whole_tables_and_no_html(written: Path) -> None:
    text = (written / "report.md").read_text("utf-8")
    prose = "\n".join(line for line in text.splitlines() if not line.startswith("    "))
    assert not re.search(r"(?<!\\)<", prose)
    tables: dict[int, set[int]] = {}
    for number, block in enumerate(text.split("\n\n")):
        for line in block.splitlines():
            if line.startswith("|"):
                tables.setdefault(number, set()).add(len(re.findall(r"(?<!\\)\|", line)))
    assert len(tables) == 3
    assert all(len(columns) == 1 for columns in tables.values())


def test_json_and_csv_hold_the_same_numbers(written: Path) -> None:
    values = json.loads((written / "report.json").read_text("utf-8"))
    with (written / "report.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == [item["name"] for item in values["artifacts"]] == ["base", HOSTILE, "gone"]
    assert float(rows[1]["top1"]) == values["artifacts"][1]["top1"] == 90.0
    assert rows[1]["runtime_threads"] == "2"
    assert (rows[2]["top1"], rows[2]["skipped"]) == ("", f"bad {HOSTILE}")
    assert values["winner"] == HOSTILE
    assert values["artifacts"][1]["per_class"]["clap"]["n"] == 20


def test_without_labels_every_file_says_so(tmp_path: Path) -> None:
    write_report(report(*THREE, labels=False, skipped="no runtime"), tmp_path)
    structure = Structure()
    text = (tmp_path / "report.html").read_text("utf-8")
    structure.feed(text)
    assert structure.open == []
    assert "Accuracy against latency</h2>" not in text
    assert len(re.findall(">no labels</td>", text)) == 3 * 2 + 2
    assert "They have no labels, so there is no top-1." in text
    lines = (tmp_path / "report.md").read_text("utf-8").splitlines()
    (line,) = [each for each in lines if each.startswith("| quick |") and "| no labels |" in each]
    assert line.split(" | ")[1:5] == ["no labels", "no labels", "no labels", "95.0"]
    assert any("so there is no top-1. Agreement on 60 videos" in each for each in lines)
    values = json.loads((tmp_path / "report.json").read_text("utf-8"))["artifacts"][1]
    assert (values["top1"], values["drop"], values["pareto_front"], values["agreement"]) == (None, None, False, 95)
    with (tmp_path / "report.csv").open(encoding="utf-8", newline="") as file:
        assert [row["top1"] for row in csv.DictReader(file)] == [""] * 4


def test_unreadable_videos_are_named_in_every_file(tmp_path: Path) -> None:
    found = report(*THREE[:2])
    measured = found.rows[1].measured
    assert measured is not None
    skipped = ("plain.mp4", f"{HOSTILE}.mp4")
    outcome = replace(measured, evaluation=replace(measured.evaluation, skipped=skipped))
    write_report(replace(found, rows=(found.rows[0], replace(found.rows[1], outcome=outcome))), tmp_path)
    values = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert values["skipped_videos"] == list(skipped)
    assert [artifact["n_skipped"] for artifact in values["artifacts"]] == [0, 2]
    for name in ("report.html", "report.md"):
        text = (tmp_path / name).read_text("utf-8").replace("\\", "")
        assert "2 could not be read and are left out: plain.mp4; " in text
    structure = Structure()
    structure.feed((tmp_path / "report.html").read_text("utf-8"))
    assert "script" not in structure.seen


def test_the_hint_is_not_said_to_reach_every_runtime(written: Path) -> None:
    for name in ("report.html", "report.md"):
        assert "only OpenVINO takes one; clips run one by one" in (written / name).read_text("utf-8")


def test_values_without_an_slo_name_no_winner() -> None:
    values = report_values(report(*THREE))
    assert (values["winner"], values["run"], values["slo"]) == (None, None, [])


def points(*at: tuple[float, float]) -> list[Point]:
    return [
        Point(
            name=f"artifact_{i}",
            runtime=("openvino", "onnxruntime")[i % 2],
            precision=("fp32", "int8", "fp16")[i % 3],
            size_mb=1.0 + i,
            p50_ms=x,
            p50_low=0.9 * x,
            p50_high=1.2 * x,
            top1=y,
            top1_low=y - 9,
            top1_high=y + 5,
            on_front=i == 0,
        )
        for i, (x, y) in enumerate(at)
    ]


@pytest.mark.parametrize("at", [[(5.0, 80.0), (6.0, 70.0)], [(1.0, 50.0), (900.0, 90.0)], [(3.0, 0.0)]])
def test_the_plot_is_well_formed_and_takes_the_pages_colors(at: list[tuple[float, float]]) -> None:
    text = scatter_svg([replace(points(*at)[0], name=HOSTILE), *points(*at)[1:]])
    svg = to_element(text, label="Accuracy")
    root = ElementTree.fromstring(svg)
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert any(text and text.startswith("</script>") for text in texts)
    assert "var(--ink" in svg
    assert "var(--accent" in svg
    assert root.get("width") is None
    assert text == scatter_svg([replace(points(*at)[0], name=HOSTILE), *points(*at)[1:]])
    assert "var(" not in text


@pytest.mark.parametrize(
    ("at", "is_crowd"),
    [
        ([(12.0, 91.8), (12.4, 92.0)], False),
        ([(20 + 0.3 * i, 88 + 0.4 * (i % 3)) for i in range(6)], True),
        ([(10 * 1.12**i, 60 + 7 * i % 30) for i in range(12)], True),
        ([(100.0, 99.5), (98.0, 1.0), (0.5, 50.0)], False),
        ([(389.0, 85.0), (25.0, 85.0), (74.0, 85.0), (8.46, 85.0), (9.62, 85.0), (4.37, 85.0)], False),
    ],
    ids=["two alike", "six alike", "twelve", "corners", "one level"],
)
def test_labels_lie_inside_the_axes_near_their_points_and_not_on_one_another(
    at: list[tuple[float, float]], is_crowd: bool
) -> None:
    with new_figure(9.6, 5.4) as figure:
        (axes,) = draw_scatter(figure, points(*at)).axes
    boxes = [text.get_window_extent() for text in axes.texts]
    assert [text.get_text() for text in axes.texts] == [f"artifact_{i}" for i in range(len(at))]
    for one, other in combinations(boxes, 2):
        width = min(one.x1, other.x1) - max(one.x0, other.x0)
        height = min(one.y1, other.y1) - max(one.y0, other.y0)
        assert min(width, height) <= 0
    for box, point in zip(boxes, at, strict=True):
        assert axes.bbox.x0 - 1 <= box.x0 < box.x1 <= axes.bbox.x1 + 1
        assert axes.bbox.y0 - 1 <= box.y0 < box.y1 <= axes.bbox.y1 + 1
        x, y = axes.transData.transform(point)
        assert math.dist((x, y), (np.clip(x, box.x0, box.x1), np.clip(y, box.y0, box.y1))) < 100
        if not is_crowd:
            # None is nearer to another's mark; in a crowd lines lead to them.
            near = [
                math.dist(mark, (np.clip(mark[0], box.x0, box.x1), np.clip(mark[1], box.y0, box.y1)))
                for mark in axes.transData.transform(at)
            ]
            assert at[int(np.argmin(near))] == point


def test_artifacts_are_checked_before_anything_runs(tmp_path: Path) -> None:
    from s2tf_edge.data.datasets import open_data

    data = open_data("synthetic?clips=2")
    with pytest.raises(UsageError, match="each given once"):
        make_report([tmp_path / "a", tmp_path / "b" / ".." / "a"], data)
    with pytest.raises(UsageError, match="the baseline must be one of the artifacts a, got 'c'"):
        make_report([tmp_path / "a"], data, baseline="c")


def test_facts_of_what_is_broken(tmp_path: Path) -> None:
    assert read_facts(tmp_path / "gone") == ArtifactFacts()
    (tmp_path / "meta.json").write_text("[" * 100_000)
    assert read_facts(tmp_path) == ArtifactFacts(size_mb=0.1)


def test_facts_of_an_artifact(tmp_path: Path) -> None:
    meta = {
        "format": 1,
        "network": "net",
        "labels": ["a"],
        "clip": {"frames": 4, "size": 8},
        "target": "onnx",
        "precision": {"asked": "int8", "obtained": {"Conv": {"f32": 1, "i8": 12}, "MatMul": {"i8": 1}}},
        "inputs": {},
        "outputs": {},
        "model": "model.onnx",
        "files": {"model.onnx": ""},
        "build": {"seconds": 2.5},
    }
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    (tmp_path / "verify.json").write_text(
        json.dumps({"max_error": 0.01, "cosine": 0.9999, "n": 8, "top1_agreement": 1})
    )
    (tmp_path / "calib.json").write_text(json.dumps({"method": "minmax", "clips": [{}, {}]}))
    facts = read_facts(tmp_path)
    assert facts.build_seconds == 2.5
    assert facts.obtained == "Conv 12 i8 + 1 f32, MatMul 1 i8"
    assert facts.verification == "max error 0.01, cosine 0.999900, top-1 agreement 100%, n = 8"
    assert facts.calibration == "minmax, 2 clips"


def busy(found: Report, share: float = 0.9) -> Report:
    around = Surroundings(samples=(Sample(others=share),), cores=2)
    rows = tuple(replace(row, busy=around.explain()) for row in found.rows)
    return replace(found, rows=rows, surroundings=around)


def test_on_a_busy_machine_no_ratio_is_told(tmp_path: Path) -> None:
    found = busy(report(*THREE))
    assert [row.metrics["speedup"] for row in found.rows] == [None] * 3
    text = verdict(found)
    assert "×" not in text
    assert "The machine was busy: other processes took 1.8 of its 2 cores, so no ratio of speeds is told" in text
    write_report(found, tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert ">not shown</td>" in page
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["surroundings"]["busy"] is True


def test_a_busy_machine_shows_nothing_bad_of_speed() -> None:
    found = busy(report(*THREE))
    quick = found.rows[1]
    assert judge(quick, parse_slo("p50<20ms"), by=By.BOUND) is Finding.SHOWN
    assert judge(quick, parse_slo("p50<5ms"), by=By.BOUND) is Finding.NOT_SHOWN
    assert judge(quick, parse_slo("p50<5ms"), by=By.ESTIMATE) is Finding.REFUTED
    assert judge(quick, parse_slo("clips/s>1000"), by=By.BOUND) is Finding.NOT_SHOWN
    assert "not shown, as the machine was busy" in "".join(shortfalls(found, parse_slo("p50<5ms")))


def test_rounds_that_disagree_are_named() -> None:
    found = report(("base", 40.0, 3), ("quick", 10.0, 3), ("wild", 5.0, 3))
    measured = found.rows[2].measured
    assert measured is not None
    wild = [[4 * time for time in times] if index % 2 else times for index, times in enumerate(rounds_of(5.0))]
    outcome = replace(measured, latency=Latency.from_rounds(wild))
    row = replace(found.rows[2], outcome=outcome, speed=compare_rounds(rounds_of(40.0), wild))
    found = replace(found, rows=(*found.rows[:2], row))
    assert row.metrics["speedup"] is None
    assert found.rows[1].metrics["speedup"] == pytest.approx(4)
    assert "the rounds do not agree about wild, so none of their ratios" in verdict(found).lower()


def test_one_that_is_as_fast_is_named() -> None:
    text = verdict(report(("base", 40.0, 3), ("quick", 10.0, 3), ("twin", 10.1, 3)))
    assert text.startswith("quick is the fastest (not shown to be faster than twin): 10 ms a clip")


def test_a_latency_is_judged_by_its_interval() -> None:
    found = report(("base", 40.0, 3))
    measured = found.rows[0].measured
    assert measured is not None
    wide = [[round(1e6 * ms)] * 10 for ms in np.linspace(30, 50, 12)]
    row = replace(found.rows[0], outcome=replace(measured, latency=Latency.from_rounds(wide)))
    found = replace(found, rows=(row,))
    assert judge(row, parse_slo("p50<41ms"), by=By.BOUND) is Finding.NOT_SHOWN
    assert judge(row, parse_slo("p50<41ms"), by=By.ESTIMATE) is Finding.SHOWN
    assert judge(row, parse_slo("p50<60ms"), by=By.BOUND) is Finding.SHOWN
    assert "longer timing may tell" in "".join(shortfalls(found, parse_slo("p50<41ms")))


SCHEMA = json.loads(Path(report_files.__file__).with_name("report.schema.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "found",
    [
        report(*THREE, skipped="cannot"),
        report(THREE[0]),
        report(*THREE, labels=False),
        busy(report(*THREE)),
        stepping(report(*THREE), 1),
    ],
    ids=["some skipped", "one", "no labels", "busy", "steps"],
)
def test_the_json_keeps_to_its_schema(found: Report) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    validator = jsonschema.Draft202012Validator(SCHEMA)
    values = json.loads(json.dumps(report_values(found, slo=parse_slo("p95<20ms"))))
    validator.validate(values)
    # Every name is in the schema, and a schema that takes anything would be none.
    names = SCHEMA["properties"]
    assert set(values) == set(names)
    ran = set(SCHEMA["$defs"]["ran"]["properties"])
    assert all(set(item) == ran for item in values["artifacts"] if item["skipped"] is None)
    del values["artifacts"][0]["p50_ms"]
    assert not validator.is_valid(values)


def test_tiles_say_what_to_use_how_fast_and_at_what_cost() -> None:
    use, speed, cost = make_tiles(report(*THREE), parse_slo("drop<20"))
    assert (use.value, use.tone) == ("quick", "good")
    assert speed.value == "10 ms a clip"
    assert "4.0× (3.9 to 4.1) as fast as base" in speed.note
    assert cost.value == "5.0 points of top-1"
    assert "too few videos to tell it from none" in cost.note


def test_long_times_are_no_powers_of_ten() -> None:
    found = report(("base", 1234.4, 3))
    assert "base takes 1234 ms a clip (p95 1852)" in verdict(found)
    assert make_tiles(found)[1].value == "1234 ms a clip"


def test_tiles_where_nothing_is_shown() -> None:
    use, speed, cost = make_tiles(report(*THREE), parse_slo("p95<1ms"))
    assert (use.value, use.tone) == ("none", "bad")
    assert "base" in speed.note
    assert cost.value == "95.0 %"


def test_tiles_of_what_was_shown_to_lose() -> None:
    *_, cost = make_tiles(report(*THREE))
    assert (cost.value, cost.tone) == ("45.0 points of top-1", "bad")
    assert "a drop is shown" in cost.note


def test_tiles_without_labels_and_on_a_busy_machine() -> None:
    first, speed, agreement = make_tiles(busy(report(*THREE, labels=False)))
    assert first.title == "The fastest"
    assert "no ratio: the machine was busy" in speed.note
    assert (agreement.title, agreement.value) == ("Agreement", "55.0 %")


def test_every_figure_is_also_a_file(written: Path) -> None:
    names = {path.stem for path in (written / "figures").iterdir()}
    assert names == {"accuracy-latency", "times", "class-drops", "reliability"}
    page = (written / "report.html").read_text("utf-8")
    for path in (written / "figures").iterdir():
        assert ElementTree.fromstring(path.read_text("utf-8")).tag.endswith("svg")
    assert page.count("<svg") == len(names)
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_layers_are_drawn_where_they_are_known() -> None:
    root = ElementTree.fromstring(layers_svg({"int8": {"i8": 12, "f32": 1}, "fp32": {"f32": 13}}))
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"12", "1", "13", "i8", "f32"} <= set(texts)
