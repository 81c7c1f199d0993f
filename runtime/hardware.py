"""The machine that builds or runs a network."""

from __future__ import annotations

import os
import platform
import resource
import sys
from pathlib import Path
from typing import Final

__all__ = [
    "count_threads",
    "hardware_facts",
    "has_dot_products",
    "is_arm",
    "resident_memory_mb",
    "saturates_int8",
]

_X86: Final = frozenset({"x86_64", "amd64", "i386", "i686"})
_SUMS_IN_32_BITS: Final = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})
"""Instructions, as Linux names them, that add products of 8 bits without the 16 bits between."""


def hardware_facts() -> dict[str, str]:
    """Processor, cores and operating system, for reading an artifact or a report elsewhere."""
    return {"cpu": _cpu_name(), "cores": str(os.cpu_count() or "unknown"), "system": platform.platform(terse=True)}


def resident_memory_mb() -> float:
    """Resident memory of this process now, in MB of 10^6 bytes; where the system does not tell, its peak so far."""
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


def saturates_int8() -> bool:
    """Whether kernels of int8 add pairs of products in 16 bits here, which overflow where weights have all 8 bits.

    That is what x86 does without VNNI. False where the system does not tell what instructions there are.
    """
    cpuinfo = Path("/proc/cpuinfo")
    if platform.machine().lower() not in _X86 or not cpuinfo.exists():
        return False
    lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), None)
    return flags is not None and _SUMS_IN_32_BITS.isdisjoint(flags)


def is_arm() -> bool:
    """Whether the processor is one of Arm's, or like them."""
    return platform.machine().lower().startswith(("aarch64", "arm"))


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
