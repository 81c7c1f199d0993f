"""What a report comes to: the artifact to choose, why the others fell short, and the commands to go on with."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from s2tf_edge.runtime.reporting.build import Report
from s2tf_edge.runtime.reporting.conditions import By, Condition, Finding
from s2tf_edge.runtime.reporting.evidence import count_videos_needed
from s2tf_edge.runtime.reporting.measuring.latency import Ratio
from s2tf_edge.runtime.reporting.measuring.measure import Measurement
from s2tf_edge.runtime.reporting.rows import Row
from s2tf_edge.words import counted, first_few

__all__ = [
    "choose",
    "describe_times",
    "judge",
    "judge_one",
    "name_meeting",
    "report_command",
    "shortfalls",
    "stream_command",
    "verdict",
]


def choose(report: Report, conditions: Sequence[Condition], *, by: By = By.BOUND) -> Row | None:
    """The artifact to use under ``conditions``, None where none is shown to meet them all.

    Where a condition bounds the accuracy, every artifact that meets it is accurate enough: the fastest one wins. Where
    none does, the most accurate wins, the faster of two equals; without labels the fastest.
    """
    return _best(report, conditions, [row for row in report.measured if judge(row, conditions, by=by) is Finding.SHOWN])


def judge(row: Row, conditions: Sequence[Condition], *, by: By) -> Finding:
    """What is known of a row and all conditions together."""
    findings = {judge_one(row, condition, by=by) for condition in conditions}
    return next((each for each in (Finding.REFUTED, Finding.NOT_SHOWN) if each in findings), Finding.SHOWN)


def judge_one(row: Row, condition: Condition, *, by: By) -> Finding:
    """What is known of a row and one condition.

    Accuracy on videos that it was calibrated on shows nothing good, and the speed of a busy machine nothing bad.
    """
    finding = condition.judge(row.metrics, by=by)
    return Finding.NOT_SHOWN if by is By.BOUND and _taint(row, condition, finding) else finding


def _taint(row: Row, condition: Condition, finding: Finding) -> str:
    """Why a finding does not count; empty where it does."""
    if condition.quantity.about_speed:
        # On a busy machine it is worse than it would be: what is good all the same, is.
        bad = Finding.REFUTED if condition.asks_for_better else Finding.SHOWN
        return f"as {row.busy}" if row.busy and finding is bad else ""
    is_relative = condition.name in {"drop", "agreement"}
    if not condition.quantity.about_accuracy or (is_relative and row.is_baseline):
        return ""
    if is_relative and row.baseline_overlaps:
        return "as the baseline was calibrated on some of the videos"
    safe = Finding.REFUTED if condition.asks_for_better else Finding.SHOWN
    if row.overlap and finding is not safe:
        return f"as it {row.overlap}"
    return ""


def shortfalls(report: Report, conditions: Sequence[Condition], *, by: By = By.BOUND) -> list[str]:
    """For each artifact that ran and is not shown to meet a condition, its name, what was found, and what it takes."""
    found = []
    for row in report.measured:
        missed = [_explain(condition, row, by) for condition in conditions]
        if any(missed):
            found.append(f"{row.name}: {'; '.join(filter(None, missed))}")
    return found


def name_meeting(report: Report, slo: Sequence[Condition], *, by: By) -> str:
    """What no artifact does where none is chosen: ``meets``, or where some may, ``is shown to meet``."""
    may = any(judge(row, slo, by=by) is Finding.NOT_SHOWN for row in report.measured)
    return "is shown to meet" if may and by is By.BOUND else "meets"


def verdict(report: Report, slo: Sequence[Condition] = (), *, by: By = By.BOUND) -> str:
    """Some sentences that say what to use, what it costs, and what could not be told."""
    sentences = _decide(report, slo, by)
    if why := report.no_ratios:
        is_busy = report.surroundings.is_busy
        ratios, advice = ("no ratio", "stop what else runs") if is_busy else ("none of their ratios", "time for longer")
        sentences += f" {why[0].upper()}{why[1:]}, so {ratios} of speeds is told; {advice}, and measure again."
    return sentences


def _decide(report: Report, slo: Sequence[Condition], by: By) -> str:
    if slo:
        winner, wanted = choose(report, slo, by=by), " and ".join(map(str, slo))
        if winner is None:
            return _explain_no_winner(report, slo, by)
        return f"{winner.name} is the one to use under {wanted}: {_speed(report, winner)}{_cost(report, winner)}."
    fastest = min(report.measured, key=report.cost_of)
    first = f"{fastest.name} is the fastest{_name_ties(report, fastest)}"
    sentence = f"{first}: {_speed(report, fastest)}{_cost(report, fastest)}."
    if not report.has_labels:
        return f"{sentence} The videos have no labels, so there is no top-1."
    if len(report.measured) == 1:
        sentence = f"{fastest.name} takes {_speed(report, fastest)}, with {_top1(fastest):.1f} % top-1."
    best = min(report.measured, key=lambda row: (-_top1(row), report.cost_of(row)))
    if _top1(best) > _top1(fastest):
        cost = f"{brief(report.cost_of(best))} ms{' a second of video' if report.by_second else ''}"
        sentence += f" The most accurate is {best.name}: {_top1(best):.1f} % top-1 at {cost}{_caveat(best)}."
    return sentence


def stream_command(row: Row, *, threads: int) -> str:
    """The command that runs an artifact as it was measured."""
    words = ["s2tf-stream", str(row.path), "--camera", "0"]
    return shlex.join(words + (["--threads", str(threads)] if threads else []))


def report_command(report: Report) -> str:
    """The command that makes the report again."""
    options = report.options
    words = ["s2tf-report", *(str(row.path) for row in report.rows), "--data", report.data]
    words += ["--views", str(options.views), "--hint", options.session.hint]
    words += ["--duration", f"{options.duration_seconds:g}", "--warmup", f"{options.warmup_seconds:g}"]
    for flag, value in (("--limit", options.limit), ("--threads", options.session.threads)):
        words += [flag, str(value)] if value else []
    if report.baseline is not None:
        words += ["--baseline", str(report.baseline.path)]
    return shlex.join(words)


def _best(report: Report, conditions: Sequence[Condition], fit: Sequence[Row]) -> Row | None:
    if not report.has_labels or any(condition.quantity.about_accuracy for condition in conditions):
        return min(fit, key=report.cost_of, default=None)
    return min(fit, key=lambda row: (-_top1(row), report.cost_of(row)), default=None)


def _explain_no_winner(report: Report, slo: Sequence[Condition], by: By) -> str:
    wanted = " and ".join(map(str, slo))
    not_shown = [row for row in report.measured if judge(row, slo, by=by) is Finding.NOT_SHOWN]
    likely = _best(report, slo, [row for row in not_shown if judge(row, slo, by=By.ESTIMATE) is Finding.SHOWN])
    if likely is None:
        return f"No artifact {name_meeting(report, slo, by=by)} {wanted}."
    reasons = [_explain(condition, likely, by) for condition in slo]
    return f"No artifact is shown to meet {wanted}. {likely.name} may: {'; '.join(filter(None, reasons))}."


def _explain(condition: Condition, row: Row, by: By) -> str:
    """What a row is found to miss or leave open of a condition; empty where it meets it."""
    finding = judge_one(row, condition, by=by)
    if finding is Finding.SHOWN:
        return ""
    text = condition.explain(row.metrics)
    if finding is Finding.REFUTED or by is By.ESTIMATE:
        return text
    if taint := _taint(row, condition, condition.judge(row.metrics, by=by)):
        return f"{text}: not shown, {taint}"
    needed = count_videos_needed(condition, row)
    if needed is None:
        return f"{text}: not shown{'; longer timing may tell' if condition.quantity.about_speed else ''}"
    likely = condition.judge(row.metrics, by=By.ESTIMATE) is Finding.SHOWN
    return f"{text}: not shown; some {needed:,} such videos in all would {'show' if likely else 'refute'} it"


def _measured(row: Row) -> Measurement:
    if row.measured is None:
        msg = f"{row.name} was skipped, so there is nothing to choose by"
        raise ValueError(msg)
    return row.measured


def _top1(row: Row) -> float:
    accuracy = _measured(row).accuracy
    if accuracy is None:
        msg = f"{row.name} was measured on videos without labels, so there is no top-1 to choose by"
        raise ValueError(msg)
    return accuracy.top1.percent


def _speed(report: Report, row: Row) -> str:
    measured = _measured(row)
    latency, what = measured.latency, "a clip" if measured.info.step is None else "a step"
    text = f"{brief(latency.p50_ms)} ms {what} (p95 {brief(latency.p95_ms)})"
    if report.by_second:
        text += f", {brief(measured.ms_per_second)} ms a second of video"
    if report.baseline is None or row.speedup is None:
        return text
    return f"{text}, {describe_times(row.speedup)} as fast as {report.baseline.name}"


def brief(value: float) -> str:
    """Three digits, and all of those before the point: 2.07, 969, 1220."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def describe_times(ratio: Ratio) -> str:
    """Such as ``4.0× (3.8 to 4.2)``, with as many decimals as tell the ends from 1."""
    digits = 2 if ratio.times < 2 else 1
    return f"{ratio.times:.{digits}f}× ({ratio.low:.{digits}f} to {ratio.high:.{digits}f})"


def _name_ties(report: Report, fastest: Row) -> str:
    """Those that are not shown to be slower, as far as that can be told."""
    others = [row for row in report.measured if row is not fastest]
    ratios = {row.name: report.compare_speed(row, fastest) for row in others}
    tied = [name for name, ratio in ratios.items() if ratio is not None and not ratio.is_different]
    return f" (not shown to be faster than {first_few(tied, 3)})" if tied else ""


def _cost(report: Report, row: Row) -> str:
    return _change(report, row) + _caveat(row)


def _caveat(row: Row) -> str:
    return f"; it {row.overlap}" if row.overlap else ""


def _change(report: Report, row: Row) -> str:
    drop = row.drop
    if not report.has_labels:
        same = row.agreement
        if report.baseline is None or same is None:
            return ""
        return f", and agrees with {report.baseline.name} on {same.percent:.1f} % of {counted(same.n, 'video')}"
    if drop is None:
        return f", {_top1(row):.1f} % top-1"
    # A gain is told as a positive number too, and its interval is turned round with it.
    low, high = (drop.low, drop.high) if drop.points >= 0 else (-drop.high, -drop.low)
    interval = f"95 % interval {low:+.1f} to {high:+.1f}, n = {drop.n}"
    if drop.points == 0:
        return f", with the same top-1 ({interval})"
    if low <= 0 <= high:
        interval += ": too few videos to tell it from none"
    change = "for a drop" if drop.points > 0 else "with a gain"
    return f", {change} of {abs(drop.points):.1f} points in top-1 ({interval})"
