"""What is known of an artifact without running it, and of the machine that runs it."""

from __future__ import annotations

import contextlib
import json
import platform
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from s2tf_edge.errors import InputFileError
from s2tf_edge.runtime.artifact import CALIBRATION_FILE, VERIFICATION_FILE, read_meta
from s2tf_edge.runtime.backends.nvml import Nvml
from s2tf_edge.runtime.hardware import hardware_facts
from s2tf_edge.words import counted

__all__ = ["ArtifactFacts", "machine_facts", "read_calibration", "read_facts"]

_MAX_JSON_BYTES = 2**20


@dataclass(frozen=True, kw_only=True)
class ArtifactFacts:
    """An artifact as it lies on disk; whatever cannot be read is None."""

    size_mb: float | None = None
    """All its files, in MB of 10^6 bytes."""
    build_seconds: float | None = None
    obtained: str | None = None
    """Precision that the layers got, such as ``Conv 12 i8 + 1 f32``."""
    layers: Mapping[str, int] = field(default_factory=dict)
    """The same as counts by precision, of all types together."""
    verification: str | None = None
    """Agreement with the network it was made from, at export."""
    calibration: str | None = None
    """How an integer artifact was calibrated."""


def read_facts(path: Path) -> ArtifactFacts:
    """Facts of an artifact folder or a ``model.pt``; never fails, as a report also lists what is broken."""
    if not path.is_dir():
        return ArtifactFacts(size_mb=path.stat().st_size / 1e6 if path.is_file() else None)
    size_mb = sum(file.stat().st_size for file in path.iterdir() if file.is_file()) / 1e6
    try:
        meta = read_meta(path)
    except InputFileError:
        return ArtifactFacts(size_mb=size_mb)
    seconds = _number(meta.build.get("seconds"))
    return ArtifactFacts(
        size_mb=size_mb,
        build_seconds=seconds,
        obtained=_describe_layers(meta.precision.get("obtained")),
        layers=_count_layers(meta.precision.get("obtained")),
        verification=_describe_verification(_read_json(path / VERIFICATION_FILE)),
        calibration=_describe_calibration(read_calibration(path)),
    )


def read_calibration(path: Path) -> Mapping[str, Any]:
    """What ``calib.json`` of an artifact folder says; empty where there is none that can be read."""
    return _read_json(path / CALIBRATION_FILE)


def machine_facts() -> dict[str, str]:
    """Processor, cores, NVIDIA's GPUs, operating system and versions, for reading a report elsewhere."""
    from s2tf_edge import __version__

    nvml = Nvml.find()
    gpus = {"gpu": ", ".join(nvml.names), "driver": nvml.driver} if nvml else {}
    return hardware_facts() | gpus | {"python": platform.python_version(), "s2tf-edge": __version__}


def _describe_layers(layers: Any) -> str | None:
    """``{"Conv": {"i8": 12, "f32": 1}}`` as ``Conv 12 i8 + 1 f32``."""
    if not isinstance(layers, Mapping):
        return None
    parts = []
    for kind, counts in layers.items():
        if isinstance(counts, Mapping):
            by_count = sorted(counts.items(), key=lambda item: str(item[1]).zfill(9), reverse=True)
            parts.append(f"{kind} {' + '.join(f'{count} {precision}' for precision, count in by_count)}")
    return ", ".join(parts) or None


def _count_layers(layers: Any) -> dict[str, int]:
    """``{"Conv": {"i8": 12, "f32": 1}}`` as ``{"i8": 12, "f32": 1}``."""
    found: Counter[str] = Counter()
    for counts in layers.values() if isinstance(layers, Mapping) else ():
        for precision, count in counts.items() if isinstance(counts, Mapping) else ():
            if isinstance(count, int):
                found[str(precision)] += count
    return dict(found)


def _describe_verification(values: Mapping[str, Any]) -> str | None:
    parts = []
    for key, template in (
        ("max_error", "max error {:.2g}"),
        ("cosine", "cosine {:.6f}"),
        ("top1_agreement", "top-1 agreement {:.0%}"),
        ("n", "n = {:.0f}"),
    ):
        number = _number(values.get(key))
        if number is not None:
            parts.append(template.format(number))
    return ", ".join(parts) or None


def _number(value: Any) -> float | None:
    """As a float; None of what is none, or a whole number of hundreds of digits."""
    with contextlib.suppress(OverflowError):
        return float(value) if isinstance(value, (int, float)) else None
    return None


def _describe_calibration(values: Mapping[str, Any]) -> str | None:
    method, clips = values.get("method"), values.get("clips")
    count = len(clips) if isinstance(clips, list) else clips
    parts = [str(method)] if method else []
    parts += [counted(count, "clip")] if isinstance(count, int) else []
    return ", ".join(parts) or None


def _read_json(path: Path) -> Mapping[str, Any]:
    with contextlib.suppress(OSError, ValueError, RecursionError):
        if path.stat().st_size <= _MAX_JSON_BYTES:
            values = json.loads(path.read_text(encoding="utf-8"))
            return values if isinstance(values, dict) else {}
    return {}
