"""What else the machine did while artifacts were timed: other processes, frequency, temperature, governor."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from s2tf_edge.extras import require
from s2tf_edge.words import counted

__all__ = ["Sample", "Surroundings", "Watch"]

_BUSY: Final = 0.10
"""Share of all cores that others may take before latencies are those of a busy machine."""
_LEAST_SECONDS: Final = 0.3
_GOVERNORS: Final = "devices/system/cpu/cpu*/cpufreq/scaling_governor"


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One stretch of time, such as a round; what the system does not tell is None."""

    others: float
    """Share of all cores that processes other than this program's took, from 0 to 1."""
    stolen: float = 0.0
    """Share of all cores that a virtual machine's host gave to others, from 0 to 1."""
    load: float | None = None
    """Load average of a minute."""
    mhz: float | None = None
    """Clock of the cores, their mean."""
    celsius: float | None = None
    """Of the hottest sensor."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """All samples of a run."""

    samples: tuple[Sample, ...] = ()
    cores: int = 1
    governors: tuple[str, ...] = ()
    """Of the cores' frequency; empty where the system does not tell."""

    @property
    def others(self) -> float:
        """Mean share of all cores that others had, the host of a virtual machine included."""
        return _mean([sample.others + sample.stolen for sample in self.samples])

    @property
    def is_busy(self) -> bool:
        """Whether others took so much that no ratio should be told."""
        return self.others > _BUSY

    def explain(self) -> str:
        """What others took, where that is much; empty otherwise."""
        if not self.is_busy:
            return ""
        stolen = _mean([sample.stolen for sample in self.samples])
        who = "other virtual machines" if stolen > self.others / 2 else "other processes"
        cores = f"{self.others * self.cores:.1f} of its {counted(self.cores, 'core')}"
        return f"the machine was busy: {who} took {cores}"

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values: mean, least and most of each."""
        names = ("others", "stolen", "load", "mhz", "celsius")
        return {
            "busy": self.is_busy,
            "samples": len(self.samples),
            "governors": list(self.governors),
            **{name: _summarize([getattr(sample, name) for sample in self.samples]) for name in names},
        }


class Watch:
    """Looks at the machine at the end of each round; begins when it is made.

    Args:
        root: where the kernel shows governors.

    Raises:
        MissingExtraError: psutil is not installed.
    """

    def __init__(self, *, root: Path = Path("/sys")) -> None:
        self._psutil: Any = require("psutil", extra="report", purpose="watching the machine")
        self._root = root
        self._samples: list[Sample] = []
        self._total, self._own = self._read_total(), self._read_own()
        self._since = time.monotonic()

    def sample(self) -> None:
        """Notes what happened since the last time, where that is long enough for the kernel's clocks to tell."""
        if time.monotonic() - self._since < _LEAST_SECONDS:
            return
        self._since = time.monotonic()
        total, own = self._read_total(), self._read_own()
        all_time = total["all"] - self._total["all"]
        if all_time <= 0:
            return
        ours = sum(max(0.0, seconds - self._own.get(process, seconds)) for process, seconds in own.items())
        others = (total["busy"] - self._total["busy"] - ours) / all_time
        stolen = (total["stolen"] - self._total["stolen"]) / all_time
        self._total, self._own = total, own
        self._samples.append(
            Sample(
                others=min(1.0, max(0.0, others)),
                stolen=min(1.0, max(0.0, stolen)),
                load=self._attempt(lambda: self._psutil.getloadavg()[0]),
                mhz=self._attempt(lambda: self._psutil.cpu_freq().current),
                celsius=self._attempt(self._read_celsius),
            )
        )

    def finish(self) -> Surroundings:
        """All that was seen; one sample at least, of whatever time."""
        if not self._samples:
            time.sleep(max(0.0, _LEAST_SECONDS - (time.monotonic() - self._since)))
            self.sample()
        with contextlib.suppress(OSError):
            governors = {path.read_text(encoding="ascii").strip() for path in self._root.glob(_GOVERNORS)}
            return self._gather(tuple(sorted(governors)))
        return self._gather(())

    def _gather(self, governors: tuple[str, ...]) -> Surroundings:
        return Surroundings(samples=tuple(self._samples), cores=os.cpu_count() or 1, governors=governors)

    def _read_total(self) -> dict[str, float]:
        """Seconds of all cores since the start of the machine."""
        times = self._psutil.cpu_times()
        # Linux counts the time of guests in that of their hosts too.
        guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
        stolen = getattr(times, "steal", 0.0)
        everything = sum(times) - guests
        idle = times.idle + getattr(times, "iowait", 0.0)
        return {"all": everything, "stolen": stolen, "busy": everything - idle - stolen}

    def _read_own(self) -> dict[int, float]:
        """Seconds of this process and of each below it, by process id."""
        found: dict[int, float] = {}
        here = self._psutil.Process()
        for process in [here, *here.children(recursive=True)]:
            with contextlib.suppress(self._psutil.Error):
                times = process.cpu_times()
                found[process.pid] = times.user + times.system
        return found

    def _read_celsius(self) -> float | None:
        sensors = self._psutil.sensors_temperatures()
        return max((each.current for found in sensors.values() for each in found), default=None)

    def _attempt(self, read: Any) -> float | None:
        """A number, or None where this system has no such thing."""
        with contextlib.suppress(AttributeError, NotImplementedError, OSError, ValueError, self._psutil.Error):
            value = read()
            return None if value is None else float(value)
        return None


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _summarize(values: Sequence[float | None]) -> dict[str, float] | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    return {"mean": _mean(known), "least": min(known), "most": max(known)}
