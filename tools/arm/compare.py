"""Holds what emulated Arm processors say of ``tools/arm/make.py``'s artifacts against what this machine says.

    python -m arm.compare FOLDER

FOLDER is what ``tools/check_arm.sh`` prepared. Every artifact runs in a process of its own, as some have crashed.
Prints a table, and ends with 1 where something differs by more than it may.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np

from arm.judging import (
    ALLOWED_PERCENT,
    FLOAT,
    INTEGER,
    Floats,
    Records,
    Row,
    compare_records,
    difference_percent,
    tabulate,
)
from arm.machine import Ended, Machine

PROCESSORS: Final = ("cortex-a72", "cortex-a76")
"""Those of the Raspberry Pi 4 and 5: without and with dot products and arithmetic in float16."""
NETWORKS: Final = ("r3d", "x3d", "step")
FORMS: Final = tuple(ALLOWED_PERCENT)
STREAMS: Final = ("r3d_onnx_fp32", "r3d_onnx_int8", "step_onnx_int8", "step_openvino_fp32")


class Comparison:
    """What this machine says, and how others compare."""

    def __init__(self, made: Path, here: Machine, work: Path) -> None:
        """Asks this machine."""
        self._made, self._work = made, work
        self._logits = {
            f"{name}_{form}": self._ask(here, f"{name}_{form}") for name in NETWORKS for form in (FLOAT, INTEGER)
        }
        self._records = {name: _records(here.stream(made / name, made / "actions.mp4")) for name in STREAMS}

    def check(self, machine: Machine) -> list[Row]:
        """Everything on one processor, one after the other."""
        artifacts = [(name, form) for name in NETWORKS for form in FORMS]
        rows = [self._check_answer(machine, name, form) for name, form in artifacts]
        return rows + [self._check_stream(machine, name) for name in STREAMS]

    def _ask(self, machine: Machine, name: str) -> Floats:
        ended, out = self._answer(machine, name)
        if ended.code:
            msg = f"this machine cannot run {name}: {ended.describe()}"
            raise SystemExit(msg)
        return _logits(out)

    def _answer(self, machine: Machine, name: str) -> tuple[Ended, Path]:
        frames, out = self._made / f"{name.partition('_')[0]}.npz", self._work / f"{machine.name}-{name}.npz"
        return machine.answer(self._made / name, frames, out), out

    def _check_answer(self, machine: Machine, network: str, form: str) -> Row:
        name = f"{network}_{form}"
        ended, out = self._answer(machine, name)
        row = Row(processor=machine.name, name=name, said=ended.describe(), passed=False, peak_mb=ended.peak_mb)
        if not ended.code:
            facts, against = json.loads(ended.out), INTEGER if form == INTEGER else FLOAT
            percent = difference_percent(_logits(out), self._logits[f"{network}_{against}"])
            passed = percent <= ALLOWED_PERCENT[form]
            said = f"{percent:.2g} % of the range of {against}" if percent else f"equal to {against}, bit for bit"
            row = dataclasses.replace(row, said=said, passed=passed, where=_where(facts), warning=_warning(ended))
        return _tell(row)

    def _check_stream(self, machine: Machine, name: str) -> Row:
        ended = machine.stream(self._made / name, self._made / "actions.mp4")
        row = Row(
            processor=machine.name,
            name=f"stream of {name}",
            said=ended.describe(),
            passed=False,
            peak_mb=ended.peak_mb,
        )
        if not ended.code:
            said, passed = compare_records(_records(ended), self._records[name])
            row = dataclasses.replace(row, said=said, passed=passed)
        return _tell(row)


def _logits(out: Path) -> Floats:
    with np.load(out) as arrays:
        return np.asarray(arrays["logits"])


def _records(ended: Ended) -> Records:
    if ended.code:
        msg = f"this machine cannot stream: {ended.describe()}"
        raise SystemExit(msg)
    return [json.loads(line) for line in ended.out.splitlines()]


def _where(facts: Mapping[str, Any]) -> str:
    kernels = ", ".join(f"{count} {name}" for name, count in facts["kernels"].items())
    return f"{facts['inference_precision']}" + (f" ({kernels})" if kernels else "")


def _warning(ended: Ended) -> str:
    return next((line for line in ended.errors.splitlines() if line.startswith("WARNING")), "")


def _tell(row: Row) -> Row:
    print(f"{row.processor} {row.name}: {row.said}", file=sys.stderr, flush=True)
    return row


def describe_sizes(site: Path) -> str:
    """What the installed runtime takes on disk."""
    sizes = {
        each.name: sum(file.stat().st_size for file in each.rglob("*") if file.is_file()) for each in site.iterdir()
    }
    told = ", ".join(f"{name} {sizes.get(name, 0) / 1e6:.0f} MB" for name in ("openvino", "onnxruntime"))
    return f"installed: {sum(sizes.values()) / 1e6:.0f} MB, of which {told}"


def main(folder: Path) -> int:
    """Runs everything; gives the exit code."""
    with tempfile.TemporaryDirectory() as work:
        comparison = Comparison(folder / "made", Machine(folder), Path(work))
        with ThreadPoolExecutor(len(PROCESSORS)) as pool:
            found = pool.map(comparison.check, [Machine(folder, processor) for processor in PROCESSORS])
            rows = [row for each in found for row in each]
    table = tabulate(rows)
    (folder / "result.md").write_text(table + "\n", encoding="utf-8")
    warnings = sorted({row.warning.replace(f"{folder}/made/", "") for row in rows if row.warning})
    failed = sum(not row.passed for row in rows)
    print("", table, "", *warnings, "", describe_sizes(folder / "site"), sep="\n")
    print(f"{len(rows) - failed} passed, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    sys.exit(main(parser.parse_args().folder.resolve()))
