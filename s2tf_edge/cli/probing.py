"""Asks runtimes what they are and what they run on, each in a process of its own: one that crashes takes none along.

Imports none of them.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from s2tf_edge.cli.probes import BROKEN, DEVICES, FACTS, INSTALLED, LACKS, PROBES, STEP, VERSION

__all__ = ["RuntimeState", "probe_runtimes"]

_CHILD: Final = (
    # A file in the folder where a user happens to be is no runtime.
    "import sys; sys.path[:] = [path for path in sys.path if path]; from s2tf_edge.cli.probes import main; main()"
)
_PATIENCE_SECONDS: Final = 120.0
"""A driver may hang; nothing that works takes that long, on a slow board with a slow card."""


@dataclass(frozen=True, kw_only=True)
class RuntimeState:
    """What came of asking a runtime."""

    is_installed: bool
    version: str | None = None
    devices: tuple[str, ...] = ()
    """What it can run on, as it calls them."""
    lacks: str | None = None
    """Why it has no device."""
    broken: str | None = None
    """What is wrong with it; None where it works, or is not there."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What only this runtime has to say."""

    @property
    def works(self) -> bool:
        """Whether it is there and nothing is wrong with it."""
        return self.is_installed and self.broken is None


def probe_runtimes(
    names: Sequence[str] = tuple(PROBES), *, patience_seconds: float = _PATIENCE_SECONDS
) -> dict[str, RuntimeState]:
    """Asks all of them side by side.

    Args:
        names: of ``probes.PROBES``.
        patience_seconds: one that takes longer is stopped, and broken.
    """
    with ThreadPoolExecutor(max_workers=len(names) or 1) as pool:
        return dict(zip(names, pool.map(lambda name: _probe(name, patience_seconds), names), strict=True))


def _probe(name: str, patience_seconds: float) -> RuntimeState:
    with subprocess.Popen(
        [sys.executable, "-c", _CHILD, name],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
    ) as child:
        try:
            said, _ = child.communicate(timeout=patience_seconds)
        except subprocess.TimeoutExpired:
            child.kill()
            said, _ = child.communicate()
            return _state(said, ending=f"it did not answer within {patience_seconds:g} s of")
    return _state(said, ending=_ending(child.returncode))


def _ending(code: int) -> str | None:
    """How a process ended, as the beginning of a sentence; None where it ended well."""
    if code == 0:
        return None
    if code > 0:
        return f"its process ended with exit code {code} while"
    try:
        return f"its process crashed ({signal.Signals(-code).name}) while"
    except ValueError:
        return f"its process crashed (signal {-code}) while"


def _state(said: str, *, ending: str | None) -> RuntimeState:
    found: dict[str, Any] = {}
    facts: dict[str, Any] = {}
    for line in said.splitlines():
        told = json.loads(line)
        facts |= told.pop(FACTS, {})
        found |= told
    broken = found.get(BROKEN)
    if ending is not None:
        broken = f"{ending} {found.get(STEP, 'starting')}"
    return RuntimeState(
        is_installed=found.get(INSTALLED, False),
        version=found.get(VERSION),
        devices=tuple(found.get(DEVICES, ())),
        lacks=found.get(LACKS),
        broken=broken,
        facts=facts,
    )
