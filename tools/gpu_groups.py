"""Groups of tests for a GPU, each in processes of its own: what they prove, what they need, what became of them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from gpu_outcomes import VARIABLE

ROOT: Final = Path(__file__).resolve().parents[1]
_MOST_CRASHES: Final = 5
_NO_TESTS: Final = 5
"""With which pytest ends where it has none to run."""
_FIRST_FAILURES: Final = 20
_PATIENCE_SECONDS: Final = 5.0


@dataclass(frozen=True, kw_only=True)
class Group:
    """Tests that belong together."""

    name: str
    proves: str
    select: tuple[str, ...]
    """What pytest is given beside ``-m needs_gpu``."""
    seconds: float
    """After which it is ended."""
    modules: tuple[str, ...] = ()
    """What its tests import, beside what all do."""


_BASE: Final = ("numpy", "av", "typer", "rich", "platformdirs", "pytest")
_EXPORT: Final = ("torch", "onnx", "onnx_ir", "onnxscript", "onnxruntime")
_SUITE: Final = "tests/runtime/backends/test_backends.py"
GROUPS: Final = (
    Group(
        name="driver",
        proves="NVML names the GPU, and its counter of energy moves as a GPU's would",
        select=("tests/runtime/reporting/measuring/test_energy.py",),
        seconds=60,
        modules=("pynvml",),
    ),
    Group(
        name="engine",
        proves="an engine of TensorRT-RTX gives ONNX Runtime's logits, in requests of any size; its layers are timed",
        select=("tests/runtime/backends/test_tensorrt_session.py",),
        seconds=120,
        modules=("onnx", "onnxruntime"),
    ),
    Group(
        name="pytorch",
        proves="PyTorch on the GPU gives the CPU's logits and masks in float32, in forks and threads too",
        select=(_SUITE, "-k", "gpu-torch"),
        seconds=120,
        modules=_EXPORT,
    ),
    Group(
        name="onnxruntime",
        proves="the same of ONNX Runtime's CUDA provider: fp32, fp16, uint8 clips, masks, any number of clips",
        select=(_SUITE, "-k", "gpu-onnx"),
        seconds=180,
        modules=_EXPORT,
    ),
    Group(
        name="trt-rtx",
        proves="the same of engines of TensorRT-RTX",
        select=(_SUITE, "-k", "gpu-trt-rtx"),
        seconds=240,
        modules=_EXPORT,
    ),
    Group(
        name="tensorrt",
        proves="the same of engines of TensorRT",
        select=(_SUITE, "-k", "gpu-trt and not gpu-trt-rtx"),
        seconds=300,
        modules=_EXPORT,
    ),
    Group(
        name="steps",
        proves="networks that step say at every frame what PyTorch says, their past on the GPU; states do not mix",
        select=("tests/export/test_steps.py",),
        seconds=300,
        modules=_EXPORT,
    ),
    Group(
        name="training",
        proves="training in fp32, bf16 and fp16 mixed precision learns, and a killed run goes on alike",
        select=("tests/training/test_gpu.py",),
        seconds=180,
        modules=("torch", "lightning", "safetensors"),
    ),
    Group(
        name="export",
        proves="export verifies the engine itself, fp32, fp16 and int8; what was deferred is built and run",
        select=("tests/export/verify/test_runnable.py",),
        seconds=300,
        modules=_EXPORT,
    ),
    Group(
        name="decoding",
        proves="NVIDIA's video decoder gives the processor's pictures",
        select=("tests/runtime/sources/test_hardware_decoding.py",),
        seconds=60,
    ),
)
"""Cheap and telling first."""


@dataclass(kw_only=True)
class Outcome:
    """What became of a group."""

    name: str
    proves: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    note: str = ""
    """Why it ended before its end, or was not begun."""
    failures: list[dict[str, str]] = field(default_factory=list)
    reasons: dict[str, int] = field(default_factory=dict)
    """Why tests were skipped, and how many."""

    @property
    def is_bad(self) -> bool:
        """Whether something is to be mended: tests that skip say what a machine lacks, and no more."""
        return self.failed > 0 or bool(self.note)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def pytest_words(group: Group) -> list[str]:
    """The command that collects a group, or runs it."""
    # Warnings of other versions than the pinned ones are no failures.
    words = ["-m", "pytest", "-q", "-m", "needs_gpu", "-o", "filterwarnings=default", "--tb=short"]
    return [sys.executable, *words, "-p", "no:cacheprovider", *group.select]


def run_group(group: Group, out: Path, *, seconds: float, env: dict[str, str]) -> Outcome:
    """Runs a group; where a test takes its process down, the tests behind it run in another.

    Args:
        group: what to run.
        out: where its log and its lines go.
        seconds: after which it is ended, at most.
        env: variables of its processes.
    """
    outcome = Outcome(name=group.name, proves=group.proves)
    lacking = [name for name in (*_BASE, *group.modules) if not _has_module(name, env)]
    if lacking:
        outcome.note = f"not run: {', '.join(lacking)} cannot be imported here"
        return outcome
    lines, began = out / f"{group.name}.jsonl", time.monotonic()
    lines.unlink(missing_ok=True)
    (out / f"{group.name}.log").unlink(missing_ok=True)
    ended: list[str] = []
    for _ in range(_MOST_CRASHES):
        left = min(seconds, group.seconds) - (time.monotonic() - began)
        words = [*pytest_words(group), "-p", "gpu_outcomes", *(word for test in ended for word in ("--deselect", test))]
        code = run_logged(words, out / f"{group.name}.log", seconds=left, env={**env, VARIABLE: str(lines)})
        if code is None:
            outcome.note = f"ended after {time.monotonic() - began:.0f} s, in {_last_begun(lines) or 'its beginning'}"
            break
        if code >= 0:
            # Behind a crash there may be no test left to run.
            is_run = code in {0, 1} or (code == _NO_TESTS and bool(ended))
            outcome.note = "" if is_run else f"pytest ended with {code}: {group.name}.log"
            break
        _note_crash(lines, code)
        ended = list(_last_of_each(lines))
    _count(outcome, lines)
    outcome.seconds = round(time.monotonic() - began, 1)
    return outcome


def run_logged(words: Sequence[str], log: Path, *, seconds: float, env: dict[str, str]) -> int | None:
    """Runs a command with all that it starts, its output into a file; None where it was ended for its time."""
    with log.open("ab") as file:
        process = subprocess.Popen(
            words, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
        )
        try:
            return process.wait(max(1.0, seconds))
        except subprocess.TimeoutExpired:
            return None
        finally:
            _end_group(process)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Ends what a command started, itself included, where it is still there."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE_SECONDS)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _has_module(name: str, env: dict[str, str]) -> bool:
    line = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({name!r}) is None)"
    return not subprocess.run(
        [sys.executable, "-c", line], env=env, cwd=ROOT, capture_output=True, check=False
    ).returncode


def _read(lines: Path) -> Iterator[dict[str, Any]]:
    for line in lines.read_text(encoding="utf-8").splitlines() if lines.is_file() else ():
        # The last line of a process that was killed may not be whole.
        with contextlib.suppress(ValueError):
            yield json.loads(line)


def _last_of_each(lines: Path) -> dict[str, dict[str, Any]]:
    """What was noted of each test last, but for failures of its teardown, which count before all."""
    found: dict[str, dict[str, Any]] = {}
    for line in _read(lines):
        if found.get(line["test"], {}).get("outcome") != "failed":
            found[line["test"]] = line
    return found


def _last_begun(lines: Path) -> str:
    begun = [test for test, line in _last_of_each(lines).items() if line["outcome"] == "begun"]
    return begun[-1] if begun else ""


def _note_crash(lines: Path, code: int) -> None:
    reason = f"its process was ended by signal {signal.Signals(-code).name}"
    line = {"test": _last_begun(lines) or "collection", "outcome": "failed", "reason": reason}
    with lines.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def _count(outcome: Outcome, lines: Path) -> None:
    for test, line in _last_of_each(lines).items():
        if line["outcome"] == "passed":
            outcome.passed += 1
        elif line["outcome"] == "skipped":
            outcome.skipped += 1
            outcome.reasons[line["reason"]] = outcome.reasons.get(line["reason"], 0) + 1
        elif line["outcome"] == "failed":
            outcome.failed += 1
            if len(outcome.failures) < _FIRST_FAILURES:
                outcome.failures.append({"test": test, "reason": line["reason"]})
