"""Exports torchvision's six video networks in four forms and writes what came out as a table, into a page of the docs.

    pip install --no-deps --target tv torchvision==0.28.0
    python benchmarks/foreign.py --torchvision tv --out docs/foreign.md

torchvision lies beside this environment, whose PyTorch it runs on: its C extension does not load, and these networks do
not need it. They are taken as they come, with seeded weights, written by ``torch.onnx.export`` and exported by
``s2tf-export`` in a process of its own for each form, calibrated on synthetic videos. Clips are as long as those that
torchvision counts operations for, and those of swin3d_t as those it states accuracy for, which are twice as long.

Seconds are those of the whole command; in brackets the processor's, all cores together. Where other programs run on the
machine, only those in brackets mean anything: half of them, or more, is what two quiet cores take.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from folds import check_page, write_between
from s2tf_edge.runtime.hardware import hardware_facts

BEGIN, END = "<!-- table of benchmarks/foreign.py -->", "<!-- end of table -->"
_COMMAND = "from s2tf_edge.cli.export import main; main()"
_CLASSES = 400


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network of torchvision with the clips it was published with."""

    frames: int
    size: int
    resize_short_side: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    fps: float = 15.0

    def clip_file(self) -> dict[str, Any]:
        labels = [f"class {index}" for index in range(_CLASSES)]
        names = ("frames", "fps", "resize_short_side", "mean", "std")
        return {"crop": self.size, "labels": labels} | {name: getattr(self, name) for name in names}


_KINETICS: dict[str, Any] = {"mean": (0.43216, 0.394666, 0.37645), "std": (0.22803, 0.22145, 0.216989)}
_SMALL = Network(frames=16, size=112, resize_short_side=128, **_KINETICS)
NETWORKS = {
    "r3d_18": _SMALL,
    "mc3_18": _SMALL,
    "r2plus1d_18": _SMALL,
    "s3d": Network(frames=16, size=224, resize_short_side=256, **_KINETICS),
    "mvit_v2_s": Network(
        frames=16, size=224, resize_short_side=256, mean=(0.45, 0.45, 0.45), std=(0.225, 0.225, 0.225), fps=7.5
    ),
    "swin3d_t": Network(
        frames=32, size=224, resize_short_side=256, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
    ),
}
FORMS = (("onnx", "fp32"), ("openvino", "fp16"), ("openvino", "int8"), ("trt-rtx", "fp16"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torchvision", type=Path, help="folder that pip was told to install torchvision in")
    parser.add_argument("--networks", nargs="*", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--forms", nargs="*", choices=["-".join(form) for form in FORMS], help="all of them by default")
    parser.add_argument("--calib-clips", type=int, default=100)
    parser.add_argument("--limit", type=float, default=1800.0, help="seconds after which an export is given up")
    parser.add_argument("--keep", type=Path, help="folder to keep the graphs and artifacts in")
    parser.add_argument("--out", type=Path, help=f"a page whose lines between {BEGIN} and {END} are replaced")
    arguments = parser.parse_args()
    if arguments.out:
        check_page(parser, arguments.out, BEGIN, END)
    if arguments.torchvision:
        # Last, so that nothing in it stands in the way of what is installed here.
        sys.path.append(str(arguments.torchvision))
    rows = []
    for name in arguments.networks:
        with tempfile.TemporaryDirectory() as temporary:
            folder = arguments.keep or Path(temporary)
            graph = write_graph(name, folder)
            for target, precision in FORMS:
                if not arguments.forms or f"{target}-{precision}" in arguments.forms:
                    rows.append(row(name, graph, target, precision, arguments))
                    print(rows[-1], flush=True)
    if arguments.out:
        write_between(arguments.out, BEGIN, END, [table(rows, arguments.calib_clips)])


def write_graph(name: str, folder: Path) -> Path:
    """The network with seeded weights as an ``.onnx``, with its clip file beside it."""
    path, about = folder / f"{name}.onnx", NETWORKS[name]
    folder.mkdir(parents=True, exist_ok=True)
    if not path.is_file():
        clip = torch.randn(1, 3, about.frames, about.size, about.size)
        torch.onnx.export(make_network(name, clip), (clip,), path, dynamo=True, opset_version=18, external_data=False)
    path.with_suffix(".json").write_text(json.dumps(about.clip_file()), encoding="utf-8")
    return path


def make_network(name: str, clip: Tensor) -> nn.Module:
    # Declared, as importing torchvision asks for them, and only its extension has them.
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for operator in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, operator):
            signature = f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            library.define(signature)  # type: ignore[no-untyped-call]
    video = importlib.import_module("torchvision.models.video")
    torch.manual_seed(0)
    network: nn.Module = getattr(video, name)(num_classes=_CLASSES)
    settle_norms(network, clip)
    return network.eval()


def settle_norms(network: nn.Module, clip: Tensor) -> None:
    """Gives batch norms the statistics of a clip: with those they begin with, deep networks fade or overflow."""
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = None
    if norms:
        with torch.no_grad():
            network.train()(clip)


def row(name: str, graph: Path, target: str, precision: str, arguments: argparse.Namespace) -> str:
    """A line of the table."""
    folder = graph.with_name(f"{graph.stem}_{target}_{precision}")
    shutil.rmtree(folder, ignore_errors=True)
    words = [str(graph), "--meta", str(graph.with_suffix(".json")), "--out", str(folder)]
    words += ["--target", target, "--precision", precision]
    if precision == "int8":
        words += ["--calib", "synthetic?clips=200", "--calib-clips", str(arguments.calib_clips)]
    complaint, seconds, processor_seconds = run(words, limit=arguments.limit)
    cells = [complaint, "", ""] if complaint else facts(folder)
    about = NETWORKS[name]
    clip = f"{about.frames} × {about.size}²"
    timing = f"{seconds:.0f} ({processor_seconds:.0f})"
    return f"| {' | '.join([f'`{name}`', clip, f'{target} {precision}', *cells[:2], timing, *cells[2:]])} |"


def run(words: list[str], *, limit: float) -> tuple[str, float, float]:
    """Runs ``s2tf-export``: what is wrong, if anything, the seconds it took, and those of the processor."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    try:
        done = subprocess.run(
            [sys.executable, "-c", _COMMAND, *words], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
            timeout=limit, check=False,
        )  # fmt: skip
        last = done.stderr.strip().rpartition("\n")[2].replace("|", "\\|")
        complaint = f"exit {done.returncode}: {last}" if done.returncode else ""
    except subprocess.TimeoutExpired:
        complaint = f"given up after {limit:.0f} s"
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return complaint, time.perf_counter() - started, used


def facts(folder: Path) -> list[str]:
    """Largest error, cosine, megabytes and the layers by type of a finished artifact."""
    verified, meta = (json.loads((folder / name).read_text("utf-8")) for name in ("verify.json", "meta.json"))
    size = sum((folder / name).stat().st_size for name in {meta["model"], "model.bin"} & set(meta["files"]))
    layers = "; ".join(
        f"{kind}: {', '.join(f'{count} {type}' for type, count in types.items())}"
        for kind, types in meta["precision"]["obtained"].items()
        if types
    )
    return [f"{100 * verified['relative_error']:.2g} %", f"{verified['cosine']:.6f}", f"{size / 1e6:.0f}", layers]


def table(rows: list[str], calib_clips: int) -> str:
    machine = hardware_facts()
    packages = f"PyTorch {torch.__version__}, torchvision {importlib.metadata.version('torchvision')}"
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores; {packages}; {calib_clips} calibration clips.",
        "",
        "| network | clip | form | largest error | cosine | seconds (processor) | MB | layers |",
        "|---|---|---|---|---|---|---|---|",
        *rows,
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
