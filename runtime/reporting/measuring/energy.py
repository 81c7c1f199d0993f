"""Energy that a machine says it took: Intel's and AMD's RAPL counters, INA sensors on boards such as Jetson's, NVML.

The first two are read from the kernel's files. RAPL counts microjoules of a processor package (Linux,
Documentation/power/powercap/powercap.rst); an INA sensor tells power, or voltage and current, of a rail
(Documentation/hwmon/sysfs-interface.rst), which is read often and summed up. NVML counts what NVIDIA's GPUs took, in
steps of up to a tenth of a second: a stretch that is measured should be of several of them.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from s2tf_edge.runtime.backends.nvml import Nvml
from s2tf_edge.words import counted

__all__ = ["Energy", "EnergyMeter", "find_meter"]

_EVERY_SECONDS: Final = 0.02
_WHOLE_BOARD: Final = ("VDD_IN", "POM_5V_IN", "VIN_SYS_5V0", "VIN")
"""Rails of Jetson boards that all others hang on: what lies behind them must not be counted twice."""
_INA: Final = "ina"


@dataclass
class Energy:
    """What a stretch of time took; filled when it ends."""

    joules: float = field(default=0.0)


class EnergyMeter(ABC):
    """Something that tells energy."""

    name: str
    """What is measured, for the reader of a report."""

    @abstractmethod
    @contextmanager
    def measure(self) -> Iterator[Energy]:
        """What is done inside is measured; all of the machine's, not only this program's."""


def find_meter(root: Path = Path("/sys")) -> EnergyMeter | None:
    """The meter of this machine; None where it has none, or one that only the administrator may read.

    Of processors and NVIDIA's GPUs together, where both are told.

    Args:
        root: where the kernel shows its devices.
    """
    found = [meter for meter in (_Rapl.find(root) or _Ina.find(root), _Gpus.find()) if meter]
    return _Together(found) if len(found) > 1 else next(iter(found), None)


class _Rapl(EnergyMeter):
    """Counters of processor packages, which begin anew at a limit."""

    def __init__(self, packages: dict[Path, int]) -> None:
        self.name = f"RAPL, {counted(len(packages), 'processor package')}"
        self._packages = packages

    @classmethod
    def find(cls, root: Path) -> _Rapl | None:
        packages = {}
        # intel-rapl:0 is a package; intel-rapl:0:0, its cores, is a part of it. AMD's are called the same.
        for folder in sorted(root.glob("class/powercap/intel-rapl:*")):
            limit = _read_number(folder / "max_energy_range_uj")
            readable = _read_number(folder / "energy_uj") is not None
            if folder.name.count(":") == 1 and _read_text(folder / "name").startswith("package") and readable and limit:
                packages[folder / "energy_uj"] = limit
        return cls(packages) if packages else None

    @contextmanager
    def measure(self) -> Iterator[Energy]:
        energy, before = Energy(), self._read()
        yield energy
        taken = (
            (after - first) % (limit + 1)
            for after, first, limit in zip(self._read(), before, self._limits, strict=True)
        )
        energy.joules = sum(taken) / 1e6

    @property
    def _limits(self) -> list[int]:
        return list(self._packages.values())

    def _read(self) -> list[int]:
        return [_read_number(path) or 0 for path in self._packages]


class _Ina(EnergyMeter):
    """Sensors that tell power now: of the whole board where one is of that, else of all rails together."""

    def __init__(self, rails: dict[str, tuple[Path, ...]]) -> None:
        whole = [name for name in _WHOLE_BOARD if name in rails]
        self._rails = {whole[0]: rails[whole[0]]} if whole else rails
        self.name = f"INA sensor{'' if len(self._rails) == 1 else 's'}, {', '.join(self._rails)}"

    @classmethod
    def find(cls, root: Path) -> _Ina | None:
        rails: dict[str, tuple[Path, ...]] = {}
        for chip in sorted(root.glob("class/hwmon/hwmon*")):
            if not _read_text(chip / "name").startswith(_INA):
                continue
            for label in sorted(chip.glob("in*_label")):
                number = label.name.removeprefix("in").removesuffix("_label")
                files = (chip / f"in{number}_input", chip / f"curr{number}_input")
                if all(_read_number(file) is not None for file in files):
                    rails[_read_text(label)] = files
            if not any(chip.glob("in*_label")) and _read_number(chip / "power1_input") is not None:
                rails[chip.name] = (chip / "power1_input",)
        return cls(rails) if rails else None

    @contextmanager
    def measure(self) -> Iterator[Energy]:
        energy, ended = Energy(), threading.Event()

        def add_up() -> None:
            last, watts = time.monotonic(), self._read_watts()
            while not ended.wait(_EVERY_SECONDS):
                last, watts = self._add(energy, last, watts)
            self._add(energy, last, watts)

        thread = threading.Thread(target=add_up, name="energy", daemon=True)
        thread.start()
        try:
            yield energy
        finally:
            ended.set()
            thread.join()

    def _add(self, energy: Energy, last: float, watts: float) -> tuple[float, float]:
        now, found = time.monotonic(), self._read_watts()
        energy.joules += (now - last) * (watts + found) / 2
        return now, found

    def _read_watts(self) -> float:
        """Millivolts times milliamperes, or microwatts: both come in millionths of a watt."""
        total = 0
        for files in self._rails.values():
            part = 1
            for file in files:
                part *= _read_number(file) or 0
            total += part
        return total / 1e6


class _Gpus(EnergyMeter):
    """Counters of all NVIDIA GPUs."""

    def __init__(self, nvml: Nvml) -> None:
        self.name = f"NVML, {', '.join(nvml.names)}"
        self._nvml = nvml

    @classmethod
    def find(cls) -> _Gpus | None:
        nvml = Nvml.find()
        return cls(nvml) if nvml and nvml.read_joules() is not None else None

    @contextmanager
    def measure(self) -> Iterator[Energy]:
        energy, before = Energy(), self._nvml.read_joules()
        yield energy
        after = self._nvml.read_joules()
        energy.joules = after - before if after is not None and before is not None else 0.0


class _Together(EnergyMeter):
    """Several, of different parts of the machine."""

    def __init__(self, meters: Sequence[EnergyMeter]) -> None:
        self.name = "; ".join(meter.name for meter in meters)
        self._meters = meters

    @contextmanager
    def measure(self) -> Iterator[Energy]:
        total = Energy()
        with ExitStack() as stack:
            parts = [stack.enter_context(meter.measure()) for meter in self._meters]
            yield total
        total.joules = sum(part.joules for part in parts)


def _read_number(path: Path) -> int | None:
    try:
        return int(_read_text(path))
    except ValueError:
        return None


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
