"""Accuracy, or without labels agreement, against latency over several artifacts: what ``s2tf-report`` finds out.

report = make_report([Path("model.pt"), Path("model_openvino_int8")], open_data("clips/test"))
print(report.verdict)
"""

from __future__ import annotations

import datetime
import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from s2tf_edge.data.videos import Videos
from s2tf_edge.errors import UsageError
from s2tf_edge.file_kinds import RUNNABLE, check_kind, find_kind
from s2tf_edge.runtime.evaluation.accuracy import Drop, Evaluation, measure_drop
from s2tf_edge.runtime.evaluation.confidence import Confidence, measure_confidence
from s2tf_edge.runtime.evaluation.predictions import measure_agreement, video_keys
from s2tf_edge.runtime.open import check_signed
from s2tf_edge.runtime.reporting.changes import Change, find_changes
from s2tf_edge.runtime.reporting.data_digest import digest_videos
from s2tf_edge.runtime.reporting.facts import machine_facts, read_calibration, read_facts
from s2tf_edge.runtime.reporting.measuring.latency import MIN_ROUNDS, Ratio, compare_rounds, count_by_time
from s2tf_edge.runtime.reporting.measuring.measure import (
    Measurement,
    Measurements,
    MeasureOptions,
    Skipped,
    Steps,
    measure,
    no_steps,
)
from s2tf_edge.runtime.reporting.measuring.surroundings import Surroundings
from s2tf_edge.runtime.reporting.overlap import find_overlap
from s2tf_edge.runtime.reporting.rows import Row
from s2tf_edge.runtime.statistics import Share, pareto_front
from s2tf_edge.words import first_few

__all__ = ["Report", "make_report"]

_BINS: Final = 60

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that was found out."""

    rows: tuple[Row, ...]
    data: str
    """The data set, as the user called it."""
    options: MeasureOptions
    machine: dict[str, str]
    surroundings: Surroundings
    """What else the machine did while artifacts were timed."""
    created: str
    """Date and time, ISO 8601 with the offset from UTC."""

    @property
    def measured(self) -> tuple[Row, ...]:
        """The rows that ran."""
        return tuple(row for row in self.rows if row.measured is not None)

    @property
    def has_labels(self) -> bool:
        """Whether the videos have labels, without which there is no top-1."""
        return any(row.measured and row.measured.accuracy for row in self.rows)

    @property
    def forms(self) -> frozenset[str]:
        """What the artifacts that ran make a prediction of: ``clip``, ``step``."""
        return frozenset(row.measured.info.form for row in self.rows if row.measured)

    @property
    def by_second(self) -> bool:
        """Whether artifacts are compared by what a second of video costs, and not by a prediction."""
        return compares_seconds([row.measured for row in self.rows if row.measured])

    def cost_of(self, row: Row) -> float:
        """What a row is called fast by: ms of a prediction, or of a second of video."""
        if row.measured is None:
            msg = f"{row.name} was skipped, so there is nothing to choose by"
            raise ValueError(msg)
        return _cost(row.measured, by_second=self.by_second)

    def compare_speed(self, slow: Row, fast: Row) -> Ratio | None:
        """How many times as fast a row is as another, where that may be told; None where not."""
        if slow.measured is None or fast.measured is None:
            return None
        found = _compare(slow.measured, fast.measured, by_second=self.by_second)
        return found if found.rounds_agree and not self.surroundings.is_busy else None

    def _count_times(self) -> dict[str, Any]:
        """How many predictions of each artifact took how long, in bins of equal ratio over the times of all."""
        rounds = {row.name: row.measured.latency.rounds for row in self.rows if row.measured}
        low = min(min(map(min, each)) for each in rounds.values()) / 1e6
        high = max(max(map(max, each)) for each in rounds.values()) / 1e6
        # One time alone has no range.
        ends = {"low_ms": 0.99 * low, "high_ms": 1.01 * high}
        return ends | {"counts": {name: count_by_time(each, **ends, bins=_BINS) for name, each in rounds.items()}}

    @property
    def no_ratios(self) -> str:
        """Why no ratio of speeds is told, of any artifact or of some; empty where all are."""
        if self.surroundings.is_busy:
            return self.surroundings.explain()
        unsure = [row.name for row in self.rows if row.speed is not None and row.speedup is None]
        if not unsure:
            return ""
        few = any(row.speed.rounds < MIN_ROUNDS for row in self.rows if row.speed)
        why = "there were too few rounds to compare" if few else "the rounds do not agree about"
        return f"{why} {first_few(unsure, 3)}"

    @property
    def skipped_videos(self) -> tuple[str, ...]:
        """The videos that could not be read, for one artifact or more."""
        names = [name for row in self.rows if row.measured for name in row.measured.evaluation.skipped]
        return tuple(dict.fromkeys(names))

    @property
    def baseline(self) -> Row | None:
        """What the others are compared with."""
        return next((row for row in self.rows if row.is_baseline), None)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        session = self.options.session
        return {
            "created": self.created,
            "data": self.data,
            "data_sha256": digest_videos((name, true) for name, true, _ in self._videos),
            "baseline": self.baseline.name if self.baseline else None,
            "settings": {
                "views": str(self.options.views),
                "limit": self.options.limit,
                "duration_seconds": self.options.duration_seconds,
                "warmup_seconds": self.options.warmup_seconds,
                "batch": 1,
                "threads": session.threads,
                "hint": session.hint,
                "device": session.device,
            },
            "machine": self.machine,
            "surroundings": self.surroundings.to_dict(),
            "skipped_videos": list(self.skipped_videos),
            "times": self._count_times(),
            "videos": [{"name": name, "true": true} for name, true, _ in self._videos],
            "artifacts": [row.to_dict() | self._answers(row) for row in self.rows],
        }

    @functools.cached_property
    def _videos(self) -> tuple[tuple[str, str | None, int], ...]:
        """Those that one artifact or more scored: name, class, and how often the two came before."""
        keys = [key for row in self.rows if row.measured for key in video_keys(row.measured.evaluation)]
        return tuple(dict.fromkeys(keys))

    def _answers(self, row: Row) -> dict[str, Any]:
        """The class that an artifact says of each video; None where it did not score it."""
        if row.measured is None:
            return {}
        found = row.measured.evaluation
        said = {key: found.labels[best] for key, best in zip(video_keys(found), found.predictions, strict=True)}
        return {"said": [said.get(key) for key in self._videos]}


def make_report(
    paths: Sequence[Path],
    data: Videos,
    *,
    baseline: str | None = None,
    options: MeasureOptions | None = None,
    steps: Steps = no_steps,
) -> Report:
    """Measures artifacts and compares them.

    Videos that cannot be read are left out, named in one warning and in the report.

    Args:
        paths: artifact folders or ``model.pt`` files, each once.
        data: what accuracy, or without labels agreement, is measured on; must pickle.
        baseline: path or name of one of ``paths``; the first that runs unless given.
        options: how to measure.
        steps: told what is going on.

    Raises:
        UsageError: no path, one given twice, or a baseline that is not among them.
        InputFileError: one of them is not signed by whom the session's options ask for.
        S2TFError: not one artifact, or not the baseline that was asked for, could run; of the class of its or the first
            one's error, so that a command ends in its exit code.
    """
    # What is no artifact at all should not be found after minutes of measuring others.
    paths = [check_kind(path, RUNNABLE).stands_for for path in paths]
    options, names = options or MeasureOptions(), _name_artifacts(paths)
    if options.session.require_signature is not None:
        for path in paths:
            check_signed(path, options.session.require_signature)
    asked = None if baseline is None else _find_baseline(baseline, paths, names)
    found = measure(paths, data, baseline=asked, options=options, steps=steps)
    outcomes = found.outcomes
    ran = [index for index, outcome in enumerate(outcomes) if isinstance(outcome, Measurement)]
    if not ran:
        _raise_first(outcomes, names)
    report = Report(
        rows=_make_rows(paths, names, found, base=ran[0] if asked is None else asked, seen=data.limit(options.limit)),
        data=data.name,
        options=options,
        machine=machine_facts(),
        surroundings=found.surroundings,
        created=datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
    )
    _warn(report)
    return report


def _make_rows(
    paths: Sequence[Path], names: Sequence[str], found: Measurements, *, base: int, seen: Videos
) -> tuple[Row, ...]:
    """What is known of each artifact, beside the one at ``base``."""
    outcomes, front = found.outcomes, _find_front(found.outcomes)
    by_second = compares_seconds([outcome for outcome in outcomes if isinstance(outcome, Measurement)])
    overlaps = [_find_overlap(path, outcome, seen) for path, outcome in zip(paths, outcomes, strict=True)]
    return tuple(
        Row(
            name=names[index],
            path=path,
            facts=read_facts(path),
            outcome=outcomes[index],
            drop=_measure_drop(outcomes, base, index),
            agreement=_measure_agreement(outcomes, base, index),
            calibrated_on=overlaps[index],
            baseline_overlaps=bool(overlaps[base]),
            changes=_find_changes(outcomes, base, index, seen),
            confidence=_measure_confidence(outcomes[index]),
            speed=_measure_ratio(outcomes, base, index, by_second=by_second),
            busy=found.surroundings.explain(),
            is_baseline=index == base,
            on_front=index in front,
        )
        for index, path in enumerate(paths)
    )


def _warn(report: Report) -> None:
    if skipped := report.skipped_videos:
        logger.warning("videos that could not be read are left out: %s", first_few(skipped, 3, separator="; "))
    for row in report.rows:
        if row.overlap:
            logger.warning("%s %s; give other videos to learn how accurate it is", row.name, row.overlap)


def _name_artifacts(paths: Sequence[Path]) -> list[str]:
    """The last part of each path; the whole path where two have that in common."""
    if not paths or len({path.resolve() for path in paths}) < len(paths):
        msg = f"a report needs one artifact or more, each given once, got {[str(path) for path in paths]}"
        raise UsageError(msg)
    last = [path.resolve().name for path in paths]
    return [name if last.count(name) == 1 else str(path) for name, path in zip(last, paths, strict=True)]


def _find_baseline(baseline: str, paths: Sequence[Path], names: Sequence[str]) -> int:
    for index, (path, name) in enumerate(zip(paths, names, strict=True)):
        if baseline == name or find_kind(baseline).stands_for.resolve() == path.resolve():
            return index
    msg = f"the baseline must be one of the artifacts {', '.join(names)}, got {baseline!r}"
    raise UsageError(msg)


def _raise_first(outcomes: Sequence[Measurement | Skipped], names: Sequence[str]) -> NoReturn:
    failed = [
        (name, outcome.error) for name, outcome in zip(names, outcomes, strict=True) if isinstance(outcome, Skipped)
    ]
    name, error = failed[0]
    msg = f"no artifact could run here; {name}: {error}"
    raise type(error)(msg) from error


def _measure_drop(outcomes: Sequence[Measurement | Skipped], base: int, index: int) -> Drop | None:
    first, other = _accuracy(outcomes[base]), _accuracy(outcomes[index])
    return measure_drop(first, other) if first and other and base != index else None


def _measure_agreement(outcomes: Sequence[Measurement | Skipped], base: int, index: int) -> Share | None:
    first, other = outcomes[base], outcomes[index]
    if base == index or isinstance(first, Skipped) or isinstance(other, Skipped):
        return None
    return measure_agreement(first.evaluation, other.evaluation)


def _measure_ratio(
    outcomes: Sequence[Measurement | Skipped], base: int, index: int, *, by_second: bool
) -> Ratio | None:
    first, other = outcomes[base], outcomes[index]
    if base == index or isinstance(first, Skipped) or isinstance(other, Skipped):
        return None
    return _compare(first, other, by_second=by_second)


def _compare(slow: Measurement, fast: Measurement, *, by_second: bool) -> Ratio:
    ratio = compare_rounds(slow.latency.rounds, fast.latency.rounds)
    return ratio.scaled(fast.seconds_ahead / slow.seconds_ahead) if by_second else ratio


def _find_changes(outcomes: Sequence[Measurement | Skipped], base: int, index: int, data: Videos) -> tuple[Change, ...]:
    first, other = outcomes[base], outcomes[index]
    if base == index or isinstance(first, Skipped) or isinstance(other, Skipped):
        return ()
    return find_changes(first.evaluation, other.evaluation, data)


def _measure_confidence(outcome: Measurement | Skipped) -> Confidence | None:
    found = _accuracy(outcome)
    return measure_confidence(found) if found else None


def _find_overlap(path: Path, outcome: Measurement | Skipped, data: Videos) -> tuple[str, ...]:
    if isinstance(outcome, Skipped):
        return ()
    scored = set(outcome.evaluation.names)
    return tuple(name for name in find_overlap(read_calibration(path), data, outcome.info.spec) if name in scored)


def _accuracy(outcome: Measurement | Skipped) -> Evaluation | None:
    return None if isinstance(outcome, Skipped) else outcome.accuracy


def compares_seconds(measured: Sequence[Measurement]) -> bool:
    """Whether only what a second of video costs can be compared: where steps stand beside clips, or other hops.

    How far a stream goes on by with each clip is chosen when it is run, how far by a step when it is exported.
    """
    paces = {(one.info.form, one.info.hop * one.info.spec.period_seconds) for one in measured}
    return len(paces) > 1 and any(form == "step" for form, _ in paces)


def _cost(measured: Measurement, *, by_second: bool) -> float:
    return measured.ms_per_second if by_second else measured.latency.p50_ms


def _find_front(outcomes: Sequence[Measurement | Skipped]) -> set[int]:
    """The artifacts on the Pareto front; without labels there is none."""
    by_second = compares_seconds([outcome for outcome in outcomes if isinstance(outcome, Measurement)])
    points = {
        index: (_cost(outcome, by_second=by_second), outcome.accuracy.top1.percent)
        for index, outcome in enumerate(outcomes)
        if isinstance(outcome, Measurement) and outcome.accuracy
    }
    keys = list(points)
    return {keys[position] for position in pareto_front(list(points.values()))}
