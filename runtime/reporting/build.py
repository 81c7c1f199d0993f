"""Accuracy against latency over several artifacts: what ``s2tf-report`` finds out.

report = make_report([Path("model.pt"), Path("model_openvino_int8")], open_data("clips/test"))
print(report.verdict)
"""

from __future__ import annotations

import datetime
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.errors import UsageError
from s2tf_edge.runtime.evaluation.accuracy import Drop, measure_drop
from s2tf_edge.runtime.evaluation.multi_view import first_few
from s2tf_edge.runtime.reporting.facts import ArtifactFacts, machine_facts, read_facts
from s2tf_edge.runtime.reporting.measure import Measurement, MeasureOptions, Skipped, Steps, measure, no_steps
from s2tf_edge.runtime.statistics import pareto_front

__all__ = ["Report", "Row", "make_report"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One artifact of a report."""

    name: str
    """Unique within the report."""
    path: Path
    facts: ArtifactFacts
    outcome: Measurement | Skipped
    drop: Drop | None = None
    """Against the baseline; None for the baseline itself, for what was skipped, and where there is no baseline."""
    is_baseline: bool = False
    on_front: bool = False
    """Whether no other artifact is both as accurate and as fast, and better in one of them."""

    @property
    def measured(self) -> Measurement | None:
        """What was measured; None where it was skipped."""
        return self.outcome if isinstance(self.outcome, Measurement) else None

    @property
    def skipped(self) -> str | None:
        """Why it could not run here; None where it ran."""
        return str(self.outcome.error) if isinstance(self.outcome, Skipped) else None

    @property
    def metrics(self) -> dict[str, float | None]:
        """Every number of the row by name: percent, percentage points, milliseconds, seconds, MB of 10^6 bytes."""
        found: dict[str, float | None] = {
            "size_mb": self.facts.size_mb,
            "build_seconds": self.facts.build_seconds,
        }
        if self.measured is None:
            return found
        evaluation, latency = self.measured.evaluation, self.measured.latency
        for name, accuracy in (("top1", evaluation.top1), ("top5", evaluation.top5)):
            found |= {name: accuracy.percent, f"{name}_low": accuracy.low, f"{name}_high": accuracy.high}
        return found | {
            "n": evaluation.n,
            "n_skipped": len(evaluation.skipped),
            **self._compare_with_baseline(),
            "p50_ms": latency.p50_ms,
            "p95_ms": latency.p95_ms,
            "p99_ms": latency.p99_ms,
            "latency_n": latency.n,
            "clips_per_second": latency.clips_per_second,
            "peak_memory_mb": self.measured.peak_memory_mb,
            "load_seconds": self.measured.load_seconds,
        }

    def _compare_with_baseline(self) -> dict[str, float | None]:
        keys = ("agreement", "drop", "drop_low", "drop_high")
        drop = self.drop
        if self.is_baseline:
            return dict(zip(keys, (100.0, 0.0, 0.0, 0.0), strict=True))
        if drop is None:
            return dict.fromkeys(keys)
        return dict(zip(keys, (drop.agreement, drop.points, drop.low, drop.high), strict=True))

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        values: dict[str, Any] = {"name": self.name, "path": str(self.path), "skipped": self.skipped}
        if self.measured is not None:
            info = self.measured.info
            values |= {"network": info.network, "target": info.target, "precision": info.precision}
            values |= {"baseline": self.is_baseline, "pareto_front": self.on_front}
            values["runtime"] = self.measured.runtime
        values |= self.metrics
        values["precision_obtained"] = self.facts.obtained
        values["verification"] = self.facts.verification
        values["calibration"] = self.facts.calibration
        if self.measured is not None:
            classes = self.measured.evaluation.per_class
            values["per_class"] = {label: {"top1": part.percent, "n": part.n} for label, part in classes.items()}
        return values


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that was found out."""

    rows: tuple[Row, ...]
    data: str
    """The data set, as the user called it."""
    options: MeasureOptions
    machine: dict[str, str]
    created: str
    """Date and time, ISO 8601 with the offset from UTC."""

    @property
    def measured(self) -> tuple[Row, ...]:
        """The rows that ran."""
        return tuple(row for row in self.rows if row.measured is not None)

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
            "skipped_videos": list(self.skipped_videos),
            "artifacts": [row.to_dict() for row in self.rows],
        }


def make_report(
    paths: Sequence[Path],
    data: LabeledVideos,
    *,
    baseline: str | None = None,
    options: MeasureOptions | None = None,
    steps: Steps = no_steps,
) -> Report:
    """Measures artifacts and compares them.

    Videos that cannot be read are left out, named in one warning and in the report.

    Args:
        paths: artifact folders or ``model.pt`` files, each once.
        data: what accuracy is measured on; must pickle.
        baseline: path or name of one of ``paths``; the first that runs unless given.
        options: how to measure.
        steps: told what is going on.

    Raises:
        UsageError: no path, one given twice, or a baseline that is not among them.
        S2TFError: not one artifact, or not the baseline that was asked for, could run; of the class of its or the first
            one's error, so that a command ends in its exit code.
    """
    options, names = options or MeasureOptions(), _name_artifacts(paths)
    asked = None if baseline is None else _find_baseline(baseline, paths, names)
    outcomes = measure(paths, data, baseline=asked, options=options, steps=steps)
    ran = [index for index, outcome in enumerate(outcomes) if isinstance(outcome, Measurement)]
    if not ran:
        _raise_first(outcomes, names)
    base = ran[0] if asked is None else asked
    front = _find_front(outcomes)
    rows = tuple(
        Row(
            name=names[index],
            path=path,
            facts=read_facts(path),
            outcome=outcomes[index],
            drop=_measure_drop(outcomes, base, index),
            is_baseline=index == base,
            on_front=index in front,
        )
        for index, path in enumerate(paths)
    )
    now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    report = Report(rows=rows, data=data.name, options=options, machine=machine_facts(), created=now)
    if skipped := report.skipped_videos:
        logger.warning("videos that could not be read are left out: %s", first_few(skipped))
    return report


def _name_artifacts(paths: Sequence[Path]) -> list[str]:
    """The last part of each path; the whole path where two have that in common."""
    if not paths or len({path.resolve() for path in paths}) < len(paths):
        msg = f"a report needs one artifact or more, each given once, got {[str(path) for path in paths]}"
        raise UsageError(msg)
    last = [path.resolve().name for path in paths]
    return [name if last.count(name) == 1 else str(path) for name, path in zip(last, paths, strict=True)]


def _find_baseline(baseline: str, paths: Sequence[Path], names: Sequence[str]) -> int:
    for index, (path, name) in enumerate(zip(paths, names, strict=True)):
        if baseline == name or Path(baseline).resolve() == path.resolve():
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
    first, other = outcomes[base], outcomes[index]
    if base == index or isinstance(first, Skipped) or isinstance(other, Skipped):
        return None
    return measure_drop(first.evaluation, other.evaluation)


def _find_front(outcomes: Sequence[Measurement | Skipped]) -> set[int]:
    ran = {index: outcome for index, outcome in enumerate(outcomes) if isinstance(outcome, Measurement)}
    points = [(outcome.latency.p50_ms, outcome.evaluation.top1.percent) for outcome in ran.values()]
    keys = list(ran)
    return {keys[position] for position in pareto_front(points)}
