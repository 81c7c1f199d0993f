"""Clips a second of one network on an NVIDIA GPU, in every runtime that is here: times, their spread, and energy.

    python benchmarks/gpu.py --json figures.json --artifacts build/gpu

The network has random weights, which cost what trained ones cost. ``model.pt`` runs in PyTorch, its artifacts in ONNX
Runtime's CUDA provider, TensorRT and TensorRT-RTX, fp32, fp16 and int8, each in a process of its own and with 1 and 8
clips at once; short turns go over all of them, there and back again, as in ``s2tf-report``. What cannot be built or run
here is a row that says why. float32 is float32 everywhere, without TF32. Energy is of one clip, by the driver's counter
over a stretch of its own.

The JSON is of the form of ``report.json``, so that ``s2tf-report --merge`` takes it beside reports; it is written anew
every few rounds, and what was measured when a run is ended stays. ``--device CPU --tiny`` goes the whole way without a
GPU; its figures say nothing. ``--build-only`` makes the artifacts, for a machine that lacks what exporting takes.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from s2tf_edge.data.datasets import open_data
from s2tf_edge.data.videos import Videos
from s2tf_edge.errors import S2TFError
from s2tf_edge.runtime.reporting.facts import machine_facts
from s2tf_edge.runtime.reporting.measuring.latency import Latency, compare_rounds
from s2tf_edge.runtime.reporting.measuring.surroundings import Watch
from s2tf_edge.runtime.reporting.measuring.worker import ArtifactProcess, Loaded
from s2tf_edge.runtime.reporting.report_files import SCHEMA_VERSION
from s2tf_edge.runtime.session import SessionOptions
from s2tf_edge.whole_file import whole_file
from s2tf_edge.words import one_line

NETWORK = "s2tf_nl_i3d_r50"
TINY: dict[str, Any] = {"name": "s2tf_r3d_10?width=0.0625", "frames": 4, "size": 40}
RUNTIMES = {"onnx": "ONNX Runtime", "trt": "TensorRT", "trt-rtx": "TensorRT-RTX"}
PRECISIONS = ("fp32", "fp16", "int8")
CALIBRATION = "synthetic?clips=20"
BATCHES = (1, 8)
TURN_SECONDS, ENERGY_SECONDS = 0.2, 2.0
WRITE_EVERY = 10
"""Rounds."""
_EXPORT = "from s2tf_edge.cli.export import main; main()"


@dataclass(kw_only=True)
class Form:
    """A network as one runtime and precision have it."""

    title: str
    path: Path
    failure: str = ""
    """Why it could not be made, or did not open."""
    loaded: Loaded | None = None

    @property
    def size_mb(self) -> float:
        files = self.path.iterdir() if self.path.is_dir() else [self.path]
        return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


@dataclass(kw_only=True)
class Contender:
    """A form with so many clips at once, and what was measured of it."""

    form: Form
    batch: int
    process: ArtifactProcess | None = None
    rounds: list[tuple[int, ...]] = field(default_factory=list)
    joules: float | None = None
    """Of a call, which is of all its clips."""
    memory_mb: float = 0.0
    failure: str = ""

    @property
    def name(self) -> str:
        return f"{self.form.title}, {self.batch} at once"

    @property
    def can_run(self) -> bool:
        return self.process is not None and not self.failure

    def attempt(self, step: Callable[[ArtifactProcess], None]) -> None:
        """What fails is a row that says why, and the others go on."""
        if self.process is None or self.failure:
            return
        try:
            step(self.process)
        except S2TFError as error:
            self.failure = one_line(error)
            print(f"{self.name}: {self.failure}", flush=True)

    def warm_up(self, process: ArtifactProcess) -> None:
        process.time(TURN_SECONDS, batch=self.batch)

    def take_turn(self, process: ArtifactProcess) -> None:
        self.rounds.append(process.time(TURN_SECONDS, batch=self.batch).times)

    def finish(self, process: ArtifactProcess) -> None:
        self.memory_mb = process.peak_memory_mb()
        self.joules = process.measure_joules(ENERGY_SECONDS, batch=self.batch)

    def row(self, first: Contender, *, is_busy: bool) -> dict[str, Any]:
        """As an artifact of ``report.json``."""
        path, loaded = self.form.path, self.form.loaded
        values: dict[str, Any] = {"name": self.name, "path": str(path), "clips_at_once": self.batch}
        if loaded is None or not self.rounds:
            return values | {"skipped": self.form.failure or self.failure or "time was up before its first turn"}
        info, latency = loaded.info, Latency.from_rounds(self.rounds)
        values |= {"skipped": None, "network": info.network, "target": info.target, "precision": info.precision}
        values |= {"form": info.form, "hop": info.hop, "runtime": loaded.runtime, "said": []}
        values |= {"size_mb": self.form.size_mb, "load_seconds": loaded.seconds, "first_ms": loaded.first_ms}
        values |= {"latency_n": latency.n, "latency_rounds": len(self.rounds), "peak_memory_mb": self.memory_mb or None}
        for key in ("p50_ms", "p95_ms", "p99_ms", "clips_per_second"):
            # Times are of a call, the rate is of clips.
            factor, ends = self.batch if key == "clips_per_second" else 1, latency.intervals.get(key)
            values[key] = factor * getattr(latency, key)
            values[f"{key}_low"] = factor * ends.low if ends else None
            values[f"{key}_high"] = factor * ends.high if ends else None
        values["ms_per_second"] = latency.p50_ms / self.batch / (info.hop * info.spec.period_seconds)
        values["joules"] = None if self.joules is None else self.joules / self.batch
        values["energy_meter"] = loaded.energy_meter
        return values | self._compare(first, is_busy=is_busy)

    def _compare(self, first: Contender, *, is_busy: bool) -> dict[str, float | None]:
        keys = ("speedup", "speedup_low", "speedup_high")
        if is_busy or first is self or not first.rounds:
            return dict.fromkeys(keys)
        ratio = compare_rounds(first.rounds, self.rounds)
        values = (ratio.times, ratio.low, ratio.high)
        return dict(zip(keys, values, strict=True)) if ratio.rounds_agree else dict.fromkeys(keys)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=NETWORK)
    parser.add_argument("--device", default="GPU", help="GPU, or CPU to see that all of this works")
    parser.add_argument("--runtimes", nargs="*", default=[*RUNTIMES], choices=RUNTIMES, help="beside PyTorch")
    parser.add_argument("--precisions", nargs="+", default=[*PRECISIONS], choices=PRECISIONS)
    parser.add_argument(
        "--artifacts", type=Path, required=True, help="folder to keep them in, and to take those of before"
    )
    parser.add_argument("--build-only", action="store_true")
    parser.add_argument("--build-seconds", type=float, default=240.0, help="after which no other form is begun")
    parser.add_argument("--seconds", type=float, default=10.0, help="of timed calls for each form and batch, at most")
    parser.add_argument("--measure-seconds", type=float, default=240.0, help="after which no other round is begun")
    parser.add_argument("--tiny", action="store_true", help="a network that costs nothing")
    parser.add_argument("--json", type=Path, help="where results go")
    arguments = parser.parse_args()
    forms = build(arguments)
    if not arguments.build_only:
        values = measure(forms, arguments)
        print("\n".join(tabulate(values)))


def build(arguments: argparse.Namespace) -> list[Form]:
    """All forms, with why some could not be made."""
    folder: Path = arguments.artifacts
    folder.mkdir(parents=True, exist_ok=True)
    model, ends = folder / "model.pt", time.monotonic() + arguments.build_seconds
    forms = [Form(title="PyTorch fp32", path=model, failure=make_model(model, arguments))]
    # By precision, so that what there was time for can be compared.
    for precision in arguments.precisions:
        for runtime in arguments.runtimes:
            form = Form(title=f"{RUNTIMES[runtime]} {precision}", path=folder / f"{runtime}_{precision}")
            if not form.path.is_dir():
                form.failure = export_form(model, form.path, runtime, precision, seconds=ends - time.monotonic())
            forms.append(form)
            print(f"{form.title}: {form.failure or form.path}", flush=True)
    return forms


def make_model(path: Path, arguments: argparse.Namespace) -> str:
    """Writes a network of random weights, unless it is there; returns why it could not."""
    if path.is_file():
        return ""
    try:
        import torch

        from s2tf_edge.models import create_model, save_model
    except ImportError as error:
        return f"{path.name} is made with PyTorch: {error}"
    torch.manual_seed(0)
    settings = dict(TINY) if arguments.tiny else {"name": arguments.model}
    save_model(path, create_model(settings.pop("name"), num_classes=10, **settings))
    return ""


def export_form(model: Path, out: Path, runtime: str, precision: str, *, seconds: float) -> str:
    """Exports as a user would, in a process of its own; returns why it could not."""
    if seconds <= 0:
        return "no time was left to build it"
    words = [str(model), "--target", runtime, "--precision", precision, "--dynamic-batch", "--out", str(out), "--quiet"]
    words += ["--calib", CALIBRATION] if precision == "int8" else []
    try:
        done = subprocess.run([sys.executable, "-c", _EXPORT, *words], capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return f"building it took more than the {seconds:.0f} s that were left"
    said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
    return one_line(said[-1]) if done.returncode else ""


def measure(forms: Sequence[Form], arguments: argparse.Namespace) -> dict[str, Any]:
    """All forms by turns; the report, which is written as it grows."""
    # Without classes, which a network of random weights has no use for.
    data = Videos(name="one made video", videos=open_data("synthetic?clips=1").videos)
    contenders = [Contender(form=form, batch=batch) for form in forms for batch in BATCHES]
    ends = time.monotonic() + arguments.measure_seconds
    with contextlib.ExitStack() as stack:
        for form in (each for each in forms if not each.failure):
            process = stack.enter_context(ArtifactProcess(form.path, SessionOptions(device=arguments.device)))
            try:
                form.loaded = process.load(data)
            except S2TFError as error:
                form.failure = one_line(error)
            print(f"{form.title}: {form.failure or 'open'}", flush=True)
            for contender in contenders:
                if contender.form is form and form.loaded:
                    contender.process = process
                    contender.attempt(contender.warm_up)
        return take_turns(contenders, arguments, ends=ends)


def take_turns(contenders: Sequence[Contender], arguments: argparse.Namespace, *, ends: float) -> dict[str, Any]:
    """Rounds until each contender had its seconds or time is up, then energy."""
    watch, count, order = Watch(), 0, 1
    waiting = [each for each in contenders if each.can_run]
    while waiting and time.monotonic() < ends - len(waiting) * ENERGY_SECONDS:
        for contender in waiting[::order]:
            contender.attempt(contender.take_turn)
        watch.sample()
        count, order = count + 1, -order
        used = 1e9 * arguments.seconds
        waiting = [each for each in waiting if each.can_run and sum(map(sum, each.rounds)) < used]
        if count % WRITE_EVERY == 0:
            write(contenders, watch, arguments)
    for contender in contenders:
        contender.attempt(contender.finish)
    return write(contenders, watch, arguments)


def write(contenders: Sequence[Contender], watch: Watch, arguments: argparse.Namespace) -> dict[str, Any]:
    """What is known by now, in the form of ``report.json``; the file is always whole."""
    surroundings = watch.finish()
    first = {each.batch: each for each in reversed(contenders)}
    values: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "created": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "data": "one made video",
        "videos": [],
        "machine": machine_facts(),
        "surroundings": surroundings.to_dict(),
        "settings": {"seconds": arguments.seconds, "device": arguments.device, "tiny": arguments.tiny},
        "artifacts": [each.row(first[each.batch], is_busy=surroundings.is_busy) for each in contenders],
    }
    if arguments.json:
        with whole_file(arguments.json) as file:
            file.write((json.dumps(values, indent=1, ensure_ascii=False) + "\n").encode())
    return values


def tabulate(values: dict[str, Any]) -> list[str]:
    """A row a contender; what did not run stands below, and says why."""
    machine, around = values["machine"], values["surroundings"]
    where = [machine.get("gpu"), machine.get("driver") and f"driver {machine['driver']}", machine["cpu"]]
    ran = [row for row in values["artifacts"] if row["skipped"] is None]
    network = f"`{ran[0]['network']}`, " if ran else ""
    lines = [
        (
            f"{network}{', '.join(filter(None, where))}, {values['created'][:10]}"
            f"{'; the machine was busy, so that no ratio is told' if around['busy'] else ''}:"
        ),
        "",
        (
            "| form | clips at once | clips a second (95 %) | p50, ms a call (95 %) | p95, ms | calls, rounds "
            "| J a clip | times as fast as PyTorch (95 %) |"
        ),
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    failed = dict.fromkeys((title_of(row), one_line(row["skipped"])) for row in values["artifacts"] if row["skipped"])
    return lines + [table_row(row) for row in ran] + ["", *(f"- {title}: {reason}" for title, reason in failed)]


def title_of(row: dict[str, Any]) -> str:
    return str(row["name"]).rpartition(", ")[0]


def table_row(row: dict[str, Any]) -> str:
    rate, p50, times = (with_interval(row, key) for key in ("clips_per_second", "p50_ms", "speedup"))
    joules = "–" if row["joules"] is None else f"{row['joules']:.3g}"
    counts = f"{row['latency_n']}, {row['latency_rounds']}"
    cells = (title_of(row), row["clips_at_once"], rate, p50, f"{row['p95_ms']:.4g}", counts, joules, times)
    return f"| {' | '.join(map(str, cells))} |"


def with_interval(row: dict[str, Any], key: str) -> str:
    if row[key] is None:
        return "–"
    low, high = row[f"{key}_low"], row[f"{key}_high"]
    return f"{row[key]:.4g}" + (f" ({low:.4g} to {high:.4g})" if low is not None else "")


if __name__ == "__main__":
    main()
