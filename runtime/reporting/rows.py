"""One artifact of a report, and every number of it by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s2tf_edge.runtime.evaluation.accuracy import Drop, Evaluation
from s2tf_edge.runtime.evaluation.confidence import Confidence
from s2tf_edge.runtime.reporting.changes import Change
from s2tf_edge.runtime.reporting.facts import ArtifactFacts
from s2tf_edge.runtime.reporting.measuring.latency import Ratio
from s2tf_edge.runtime.reporting.measuring.measure import Measurement, Skipped
from s2tf_edge.runtime.statistics import Share

__all__ = ["Row"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One artifact of a report."""

    name: str
    """Unique within the report."""
    path: Path
    facts: ArtifactFacts
    outcome: Measurement | Skipped
    drop: Drop | None = None
    """Against the baseline; None for the baseline itself, for what was skipped, and where there is no baseline, or no
    label."""
    agreement: Share | None = None
    """Videos that get the same class as from the baseline; None where there is nothing to compare."""
    calibrated_on: tuple[str, ...] = ()
    """Videos of the evaluation that it was calibrated on."""
    baseline_overlaps: bool = False
    """Whether the baseline was calibrated on some of them."""
    changes: tuple[Change, ...] = ()
    """Videos that it calls otherwise than the baseline."""
    confidence: Confidence | None = None
    """Whether it is as often right as it says; None without labels."""
    speed: Ratio | None = None
    """How many times as fast as the baseline, by what artifacts are compared by; None for the baseline itself, and for
    what was skipped."""
    busy: str = ""
    """What kept the machine busy while it was timed; empty where nothing did."""
    is_baseline: bool = False
    on_front: bool = False
    """Whether no other artifact is both as accurate and as fast, and better in one of them."""

    @property
    def measured(self) -> Measurement | None:
        """What was measured; None where it was skipped."""
        return self.outcome if isinstance(self.outcome, Measurement) else None

    @property
    def can_stream(self) -> bool:
        """Whether ``s2tf-stream`` takes it: sources come at times of their own, and none steps beside another."""
        info = None if self.measured is None else self.measured.info
        return info is not None and (info.step is None or info.batch == 1)

    @property
    def skipped(self) -> str | None:
        """Why it could not run here; None where it ran."""
        return str(self.outcome.error) if isinstance(self.outcome, Skipped) else None

    @property
    def overlap(self) -> str:
        """That it was calibrated on videos of the evaluation, and on how many; empty where it was not."""
        if self.measured is None or not self.calibrated_on:
            return ""
        return f"was calibrated on {len(self.calibrated_on)} of the {self.measured.evaluation.n} videos"

    @property
    def speedup(self) -> Ratio | None:
        """``speed`` where it may be told: on a quiet machine, and where the rounds agree."""
        return self.speed if self.speed and self.speed.rounds_agree and not self.busy else None

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
        return found | {
            **self._measure_accuracy(),
            "n": evaluation.n,
            "n_skipped": len(evaluation.skipped),
            **self._compare_with_baseline(),
            "changed": None if self.agreement is None else len(self.changes),
            "ece": self.confidence.ece if self.confidence else None,
            **_measure_speed(self.measured),
            **self._compare_speed(),
            "latency_n": latency.n,
            "latency_rounds": len(latency.rounds),
            "first_ms": self.measured.first_ms,
            "video_ms": self.measured.video_ms,
            **_measure_throughput(self.measured),
            "cores_busy": self.measured.cores,
            "joules": self.measured.joules,
            "peak_memory_mb": self.measured.peak_memory_mb,
            "load_seconds": self.measured.load_seconds,
        }

    @property
    def _accuracy(self) -> Evaluation | None:
        return self.measured.accuracy if self.measured else None

    def _measure_accuracy(self) -> dict[str, float | None]:
        evaluation = self._accuracy
        found: dict[str, float | None] = {}
        for name in ("top1", "top5"):
            keys = (name, f"{name}_low", f"{name}_high")
            if evaluation is None:
                found |= dict.fromkeys(keys)
            else:
                part: Share = getattr(evaluation, name)
                found |= dict(zip(keys, (part.percent, part.low, part.high), strict=True))
        return found

    def _compare_speed(self) -> dict[str, float | None]:
        keys, found = ("speedup", "speedup_low", "speedup_high"), self.speedup
        if found is None:
            return dict.fromkeys(keys)
        return dict(zip(keys, (found.times, found.low, found.high), strict=True))

    def _compare_with_baseline(self) -> dict[str, float | None]:
        keys, drop = ("drop", "drop_low", "drop_high", "drop_p"), self.drop
        found: dict[str, float | None] = dict.fromkeys(("agreement", "agreement_low", "agreement_high", *keys))
        if self.is_baseline:
            # It is itself, whatever the videos.
            found |= dict.fromkeys(("agreement", "agreement_low", "agreement_high"), 100.0)
            return found | (dict.fromkeys(keys[:3], 0.0) if self._accuracy else {})
        if self.agreement is not None:
            same = self.agreement
            found |= {"agreement": same.percent, "agreement_low": same.low, "agreement_high": same.high}
        if drop is None:
            return found
        return found | dict(zip(keys, (drop.points, drop.low, drop.high, drop.p), strict=True))

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        values: dict[str, Any] = {"name": self.name, "path": str(self.path), "skipped": self.skipped}
        if self.measured is not None:
            info = self.measured.info
            values |= {"network": info.network, "target": info.target, "precision": info.precision}
            values |= {"form": info.form, "hop": info.hop}
            values |= {"baseline": self.is_baseline, "pareto_front": self.on_front}
            values["runtime"] = self.measured.runtime
            values["calibrated_on"] = len(self.calibrated_on)
        values |= self.metrics
        values["precision_obtained"] = self.facts.obtained
        values["verification"] = self.facts.verification
        values["calibration"] = self.facts.calibration
        values["layers"] = dict(self.facts.layers)
        if self.measured is not None:
            classes = self._accuracy.per_class if self._accuracy else None
            values["per_class"] = classes and {
                label: {"top1": part.percent, "n": part.n} for label, part in classes.items()
            }
            values["confusion"] = self._accuracy.to_dict()["confusion"] if self._accuracy else None
            values["profile"] = self.measured.profile.to_dict() if self.measured.profile else None
            values["confidence"] = self.confidence.to_dict() if self.confidence else None
            values["changes"] = [change.to_dict() for change in self.changes]
        return values


def _measure_speed(measured: Measurement) -> dict[str, float | None]:
    """Numbers that have intervals, each with its ends; these are None where there were too few rounds."""
    latency = measured.latency
    found: dict[str, float | None] = {}
    for key in ("p50_ms", "p95_ms", "p99_ms", "clips_per_second"):
        ends = latency.intervals.get(key)
        found |= {key: getattr(latency, key)}
        found |= {f"{key}_low": ends.low if ends else None, f"{key}_high": ends.high if ends else None}
    for end in ("", "_low", "_high"):
        part = found[f"p50_ms{end}"]
        found[f"ms_per_second{end}"] = None if part is None else part / measured.seconds_ahead
    return found


def _measure_throughput(measured: Measurement) -> dict[str, float | None]:
    best = measured.best_batch
    return {
        "requests": measured.side_by_side.count,
        "requests_clips_per_second": measured.side_by_side.clips_per_second,
        "batch": best.count if best else None,
        "batch_clips_per_second": best.clips_per_second if best else None,
    }
