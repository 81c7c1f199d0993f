"""The machine that builds or runs a network."""

from __future__ import annotations

import os
import platform
from pathlib import Path

__all__ = ["hardware_facts"]


def hardware_facts() -> dict[str, str]:
    """Processor, cores and operating system, for reading an artifact or a report elsewhere."""
    return {"cpu": _cpu_name(), "cores": str(os.cpu_count() or "unknown"), "system": platform.platform(terse=True)}


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
