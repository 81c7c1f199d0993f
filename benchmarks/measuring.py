"""Times the same artifact twice, and one of a fifth more layers, as ``s2tf-report`` does: what does it call different?

    python benchmarks/measuring.py --out docs/report.md

The network is a chain of equal 3-D convolutions, 25 of them or 30. Its artifact is measured beside a copy of itself and
the longer chain, ``--runs`` times on the machine as it is, and as often beside ``--busy`` processes that compute. A
ratio is told, or not, by the rules of the report. ``benchmark_app`` of OpenVINO times the same file by turns with ours
(``-hint latency``), both as they are started by a user.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor, nn

from folds import check_page, write_between
from s2tf_edge.data.datasets import open_data
from s2tf_edge.runtime.hardware import hardware_facts
from s2tf_edge.runtime.reporting.measuring.latency import Ratio, compare_rounds
from s2tf_edge.runtime.reporting.measuring.measure import Measurement, MeasureOptions, measure
from s2tf_edge.runtime.reporting.measuring.worker import ArtifactProcess
from s2tf_edge.runtime.session import SessionOptions

BEGIN, END = "<!-- table of benchmarks/measuring.py -->", "<!-- end of table -->"
FRAMES, SIZE, WIDTH, LAYERS = 8, 32, 16, 25
_EXPORT = "from s2tf_edge.cli.export import main; main()"
_STARTER = """
import subprocess, sys
streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
print(subprocess.Popen([sys.executable, "-c", "while True: sum(range(10_000))"], **streams).pid)
"""
_MEDIAN = re.compile(r"Median:\s+([\d.]+) ms")


class Chain(nn.Module):
    """Convolutions that each cost the same."""

    def __init__(self, layers: int, classes: int) -> None:
        super().__init__()
        self.first = nn.Conv3d(3, WIDTH, 3, padding=1)
        self.body = nn.Sequential(*(nn.Conv3d(WIDTH, WIDTH, 3, padding=1) for _ in range(layers)))
        self.head = nn.Linear(WIDTH, classes)

    def forward(self, clip: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(self.first(clip)).mean((2, 3, 4)))
        return logits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--busy", type=int, default=2, help="processes beside it in the second half of the runs")
    parser.add_argument("--duration", type=float, default=10.0, help="seconds for each artifact, as in s2tf-report")
    parser.add_argument("--targets", nargs="+", default=["openvino", "onnx"])
    parser.add_argument("--out", type=Path, help=f"a page whose lines between {BEGIN} and {END} are replaced")
    arguments = parser.parse_args()
    if arguments.out:
        check_page(parser, arguments.out, BEGIN, END)
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        for target in arguments.targets:
            artifacts = [make_artifact(Path(temporary), layers, target) for layers in (LAYERS, LAYERS * 6 // 5)]
            artifacts.insert(1, artifacts[0].with_name(f"{artifacts[0].name}_again"))
            shutil.copytree(artifacts[0], artifacts[1])
            for count in dict.fromkeys((0, arguments.busy)):
                with busy_processes(count):
                    rows += time_alike(artifacts, target, beside=count, arguments=arguments)
            if target == "openvino":
                rows.append(beside_benchmark_app(artifacts[0], runs=3 * arguments.runs))
                print(rows[-1], flush=True)
    facts = hardware_facts()
    lines = [
        f"{facts['cpu']}, {facts['cores']} cores; {LAYERS} convolutions of {WIDTH} channels, on {FRAMES} × {SIZE}².",
        "",
        "| runtime | beside | compared | runs | ratio: median, lowest to highest | told | called different |",
        "|---|---|---|---|---|---|---|",
        *rows,
    ]
    print("\n".join(lines))
    if arguments.out:
        write_between(arguments.out, BEGIN, END, lines)


def make_artifact(folder: Path, layers: int, target: str) -> Path:
    """Exports a chain as a user would."""
    data, graph = open_data("synthetic?clips=1"), folder / f"chain{layers}.onnx"
    torch.manual_seed(0)
    network = Chain(layers, len(data.labels)).eval()
    torch.onnx.export(network, (torch.zeros(1, 3, FRAMES, SIZE, SIZE),), str(graph), verbose=False)
    clip_file = {"frames": FRAMES, "fps": 15.0, "crop": SIZE, "resize_short_side": SIZE, "labels": list(data.labels)}
    clip_file |= {"mean": [0.5] * 3, "std": [0.5] * 3}
    graph.with_suffix(".json").write_text(json.dumps(clip_file), encoding="utf-8")
    out = folder / f"chain{layers}_{target}"
    words = [str(graph), "--meta", str(graph.with_suffix(".json")), "--target", target, "--precision", "fp32"]
    subprocess.run([sys.executable, "-c", _EXPORT, *words, "--out", str(out), "--quiet"], check=True)
    return out


def time_alike(artifacts: Sequence[Path], target: str, *, beside: int, arguments: argparse.Namespace) -> list[str]:
    """Rows of the table: the artifact against itself, and against the longer chain."""
    options = MeasureOptions(duration_seconds=arguments.duration, warmup_seconds=1, limit=1)
    found: list[list[Ratio]] = [[], []]
    told: list[list[Ratio]] = [[], []]
    for _ in range(arguments.runs):
        run = measure(artifacts, open_data("synthetic?clips=1"), options=options)
        rounds = [each.latency.rounds for each in run.outcomes if isinstance(each, Measurement)]
        for index, ratio in enumerate((compare_rounds(rounds[1], rounds[0]), compare_rounds(rounds[2], rounds[0]))):
            found[index].append(ratio)
            if ratio.rounds_agree and not run.surroundings.is_busy:
                told[index].append(ratio)
            print(target, beside, index, ratio, f"others {run.surroundings.others:.3f}", flush=True)
    names = ("the same twice", "a fifth more layers")
    where = f"{beside} busy processes" if beside else "nothing"
    return [
        f"| {target} | {where} | {name} | {len(all_of)} | {summarize(all_of)} | {len(some)} | "
        f"{sum(ratio.is_different for ratio in some)} |"
        for name, all_of, some in zip(names, found, told, strict=True)
    ]


def summarize(ratios: Sequence[Ratio]) -> str:
    values = [ratio.times for ratio in ratios]
    return f"{median(values):.3f}, {min(values):.3f} to {max(values):.3f}"


def beside_benchmark_app(artifact: Path, *, runs: int) -> str:
    """The median of ``benchmark_app`` over ours, by turns of three seconds, with a 95 % interval of a bootstrap."""
    program = Path(sys.executable).with_name("benchmark_app")
    words = [str(program), "-m", str(artifact / "model.xml"), "-hint", "latency", "-t", "3"]
    ratios = []
    with ArtifactProcess(artifact, SessionOptions()) as process:
        process.load(open_data("synthetic?clips=1"))
        for _ in range(runs):
            done = subprocess.run(words, capture_output=True, text=True, check=True)
            theirs = _MEDIAN.search(done.stdout)
            if theirs is None:
                msg = f"benchmark_app said no median: {done.stdout[-500:]}"
                raise SystemExit(msg)
            ours = median(process.time(3.0).times) / 1e6
            ratios.append(float(theirs[1]) / ours)
            print("benchmark_app", theirs[1], f"ours {ours:.2f}", flush=True)
    drawn = np.median(np.random.default_rng(0).choice(ratios, (1000, runs)), axis=1)
    low, high = np.percentile(drawn, (2.5, 97.5))
    values = f"{median(ratios):.3f} ({low:.3f} to {high:.3f}), {min(ratios):.2f} to {max(ratios):.2f}"
    return f"| openvino | nothing | `benchmark_app`'s median over ours | {runs} | {values} | | |"


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Computes beside what is done inside, in processes that are not those that are measured."""
    # What the program that measures has started is its own work: one that ended has left nobody's behind.
    started = [subprocess.run([sys.executable, "-c", _STARTER], capture_output=True, check=True) for _ in range(count)]
    try:
        yield
    finally:
        for each in started:
            os.kill(int(each.stdout), signal.SIGKILL)


if __name__ == "__main__":
    main()
