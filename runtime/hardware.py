"""The machine that builds or runs a network."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = [
    "Cores",
    "MachineMemory",
    "count_threads",
    "find_cores",
    "find_memory",
    "hardware_facts",
    "has_dot_products",
    "instruction_sets",
    "is_arm",
    "resident_memory_mb",
    "saturates_int8",
]

_X86: Final = frozenset({"x86_64", "amd64", "i386", "i686"})
_SETS_OF_X86: Final[Mapping[str, frozenset[str]]] = {
    "AVX2": frozenset({"avx2"}),
    "AVX-512": frozenset({"avx512f"}),
    "VNNI": frozenset({"avx512_vnni", "avx_vnni"}),
    "AMX": frozenset({"amx_int8"}),
    "bf16": frozenset({"avx512_bf16", "amx_bf16"}),
}
_SETS_OF_ARM: Final[Mapping[str, frozenset[str]]] = {
    "NEON": frozenset({"asimd", "neon"}),
    "fp16": frozenset({"asimdhp"}),
    "dotprod": frozenset({"asimddp"}),
    "i8mm": frozenset({"i8mm"}),
    "bf16": frozenset({"bf16"}),
    "SVE": frozenset({"sve"}),
}
"""What networks run faster by, and the words in which Linux says that a processor has it; any of them will do."""
_SUMS_IN_32_BITS: Final = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})
"""Instructions, as Linux names them, that add products of 8 bits without the 16 bits between."""


@dataclass(frozen=True, kw_only=True)
class Cores:
    """How many cores there are, and how many of them this process may use."""

    there: int
    allowed: int
    """By affinity, as ``taskset`` and Docker's ``--cpuset-cpus`` set it."""
    quota: float | None
    """By the quota of its control group, as Docker's ``--cpus`` sets it; None without one."""

    @property
    def usable(self) -> float:
        """The smaller of both."""
        return self.allowed if self.quota is None else min(self.allowed, self.quota)


@dataclass(frozen=True, kw_only=True)
class MachineMemory:
    """In GB of 10^9 bytes."""

    total: float
    """Of the machine, or what the control group of this process may have, where that is less."""
    free: float
    """What could be had now, of the machine."""


def hardware_facts() -> dict[str, str]:
    """Processor, cores and operating system, for reading an artifact or a report elsewhere."""
    return {"cpu": _cpu_name(), "cores": str(os.cpu_count() or "unknown"), "system": platform.platform(terse=True)}


def resident_memory_mb() -> float:
    """Resident memory of this process now, in MB of 10^6 bytes; where the system does not tell, its peak so far."""
    # Not on Windows.
    import resource

    statm = Path("/proc/self/statm")
    if statm.exists():
        pages = int(statm.read_text(encoding="ascii").split()[1])
        return pages * resource.getpagesize() / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def count_threads() -> int | None:
    """Threads of this process now; None where the system does not tell."""
    tasks = Path("/proc/self/task")
    return sum(1 for _ in tasks.iterdir()) if tasks.exists() else None


def is_arm() -> bool:
    """Whether this is a processor of Arm's architecture."""
    return platform.machine().lower().startswith(("aarch64", "arm"))


def instruction_sets() -> dict[str, bool] | None:
    """What networks run faster by, and whether this processor has it; None where the system does not tell."""
    names = _SETS_OF_ARM if is_arm() else _SETS_OF_X86 if platform.machine().lower() in _X86 else None
    words = _processor_words()
    if names is None or words is None:
        return None
    return {name: not words.isdisjoint(any_of) for name, any_of in names.items()}


def saturates_int8() -> bool:
    """Whether kernels of int8 add pairs of products in 16 bits here, which overflow where weights have all 8 bits.

    That is what x86 does without VNNI. False where the system does not tell what instructions there are.
    """
    if platform.machine().lower() not in _X86:
        return False
    words = _processor_words()
    return words is not None and _SUMS_IN_32_BITS.isdisjoint(words)


def find_cores() -> Cores:
    """The cores of this machine and of this process."""
    there = os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else there
    quotas = [*_quotas_of_version_2(), *_quotas_of_version_1()]
    return Cores(there=there, allowed=allowed, quota=min(quotas, default=None))


def find_memory() -> MachineMemory | None:
    """MachineMemory of this machine; None where the system does not tell."""
    path = Path("/proc/meminfo")
    if not path.exists():
        return None
    fields = dict(line.split(":") for line in path.read_text(encoding="ascii").splitlines())
    total, free = (int(fields[name].split()[0]) * 1024 / 1e9 for name in ("MemTotal", "MemAvailable"))
    limits = [*_control_group_texts("", "memory.max"), *_control_group_texts("memory", "memory.limit_in_bytes")]
    return MachineMemory(total=min([total, *(int(text) / 1e9 for text in limits if text.isdigit())]), free=free)


def _processor_words() -> frozenset[str] | None:
    """What Linux says of the first core's instructions; None where it does not."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return None
    for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith(("flags", "Features")):
            return frozenset(line.partition(":")[2].split())
    return None


def _quotas_of_version_2() -> Iterator[float]:
    for text in _control_group_texts("", "cpu.max"):
        share, _, period = text.partition(" ")
        if share.isdigit():
            yield int(share) / int(period)


def _quotas_of_version_1() -> Iterator[float]:
    shares = _control_group_texts("cpu", "cpu.cfs_quota_us")
    for share, period in zip(shares, _control_group_texts("cpu", "cpu.cfs_period_us"), strict=False):
        # -1 is no quota.
        if share.isdigit():
            yield int(share) / int(period)


def _control_group_texts(controller: str, file: str) -> Iterator[str]:
    """What a file says of this process's control group and of each above it; of version 2 for no controller.

    A container sees its own group at the root, whatever path it is told.
    """
    groups = Path("/proc/self/cgroup")
    lines = groups.read_text(encoding="utf-8").splitlines() if groups.exists() else []
    own = [path for _, names, path in (line.split(":", 2) for line in lines) if controller in names.split(",")]
    for path in own[:1]:
        root = Path(f"/sys/fs/cgroup/{controller}".rstrip("/"))
        folder = root / path.lstrip("/")
        for place in dict.fromkeys([folder, *folder.parents]):
            if place.is_relative_to(root) and (place / file).is_file():
                yield (place / file).read_text(encoding="ascii").strip()


def has_dot_products() -> bool:
    """Whether all cores of an Arm processor add four products of 8 bits at once, as those from 2018 on do.

    False where the system does not tell.
    """
    cpuinfo = Path("/proc/cpuinfo")
    if not is_arm() or not cpuinfo.exists():
        return False
    lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    cores = [line.partition(":")[2].split() for line in lines if line.startswith("Features")]
    return bool(cores) and all("asimddp" in features for features in cores)


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            # x86 and older ARM kernels; newer ARM boards name themselves in the device tree instead.
            if key.strip() in {"model name", "Hardware"}:
                return value.strip()
    board = Path("/proc/device-tree/model")
    if board.exists():
        return board.read_text(encoding="utf-8", errors="replace").strip("\0 \n")
    return platform.processor() or platform.machine() or "unknown"
