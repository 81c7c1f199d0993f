"""Integer forms beside all others: one process, one machine, short turns, medians.

    python benchmarks/int8.py --networks s2tf_nl_i3d_r50 x3d_s s2tf_x3d_s x3d_m s2tf_x3d_m --out docs/int8.md

    released       eager PyTorch, the saliency modules as published: frames interleaved, norms not folded
    onnx           ONNX Runtime, float32
    f32, bf16      OpenVINO, float32 and what it prefers on this processor
    naive          OpenVINO int8 as its documentation has it: nncf.quantize and compile_model with their defaults
    naive, mixed   the same with NNCF's other preset, which is to be more accurate
    ours           OpenVINO int8 as s2tf-export makes it
    auto           what s2tf-export --precision auto kept: never slower than the others, but for what noise there is

Weights are random and calibration clips synthetic: only time is measured here. Where other programs run on the machine,
compare columns of one row, not rows. A table of the integer forms that were tried follows.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from s2tf_edge.calibration.candidates import Candidate, read_candidates
from s2tf_edge.data.datasets import open_data
from s2tf_edge.export import ExportOptions, export
from s2tf_edge.models import create_model
from s2tf_edge.models.model_file import load_model, save_model
from s2tf_edge.models.s2tf import VideoNetwork
from s2tf_edge.models.saliency import Saliency, SaliencyPath
from s2tf_edge.preprocess import preprocess
from s2tf_edge.runtime.backends.telemetry import require_without_telemetry
from s2tf_edge.runtime.hardware import hardware_facts
from s2tf_edge.runtime.open import open_session
from s2tf_edge.runtime.session import SessionOptions
from s2tf_edge.spec import ClipSpec

NETWORKS = ("s2tf_nl_i3d_r50", "x3d_s", "s2tf_x3d_s", "x3d_m", "s2tf_x3d_m")
COLUMNS = ("released", "onnx", "f32", "bf16", "naive", "naive, mixed", "ours", "auto")
PRESETS = tuple(
    f"{ranges}{part}" for ranges in ("mixed", "symmetric") for part in ("", ", dense layers", ", dense layers alone")
)
_FACTS = '`{"cpu"'
"""How the line above the tables begins."""
Run = Callable[[], Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS))
    parser.add_argument("--rounds", type=int, default=20, help="timed runs of each form")
    parser.add_argument("--threads", type=int, default=0, help="0: one a core")
    parser.add_argument("--calib-clips", type=int, default=16)
    parser.add_argument("--out", type=Path, help="a page that ends with the tables")
    arguments = parser.parse_args()
    rows, tried = [], []
    for name in arguments.networks:
        with tempfile.TemporaryDirectory() as folder:
            measured = measure(name, Path(folder), arguments)
        rows.append(row(name, measured))
        tried.append(forms_row(name, measured))
        print(rows[-1], tried[-1], sep="\n", flush=True)
    if arguments.out:
        write(arguments.out, tables(rows, tried, arguments))


@dataclass
class Measured:
    """What became of one network."""

    times: dict[str, list[float]] = field(default_factory=dict)
    """Milliseconds of every form that runs, round by round."""
    notes: dict[str, str] = field(default_factory=dict)
    candidates: list[Candidate] = field(default_factory=list)
    """Integer forms that ours was chosen from."""


def measure(name: str, folder: Path, arguments: argparse.Namespace) -> Measured:
    """Makes and times every form that there is."""
    torch.manual_seed(0)
    save_model(folder / "model.pt", create_model(name, num_classes=400))
    network = load_model(folder / "model.pt").eval()
    clip = np.random.default_rng(0).standard_normal(network.spec.input_shape()).astype(np.float32)
    runs: dict[str, Run] = {"released": released(network, clip, threads=arguments.threads)}
    measured = Measured()
    calibration = {"calib": f"synthetic?clips={2 * arguments.calib_clips}", "calib_clips": arguments.calib_clips}
    forms: dict[str, dict[str, Any]] = {
        "onnx": {"target": "onnx", "custom_ops": "inline"},
        "f32": {"target": "openvino", "precision": "fp32"},
        "bf16": {"target": "openvino", "precision": "fp16"},
        "ours": {"target": "openvino", "precision": "int8", **calibration},
        "auto": {"target": "openvino", "precision": "auto", **calibration},
    }
    for form, options in forms.items():
        result = export(folder / "model.pt", ExportOptions(out=folder / form, **options))
        session = open_session(result.folder, SessionOptions(threads=arguments.threads))
        session.open()
        runs[form] = lambda session=session: session.infer(clip)  # type: ignore[misc]
        if form == "ours":
            measured.notes[form] = f"{result.meta.build['recipe']}; {result.layers_line()}"
            measured.candidates = read_candidates(result.meta.build)
        if form == "auto":
            measured.notes[form] = result.meta.precision["asked"]
    clips = calibration_clips(network.spec, count=arguments.calib_clips)
    for form, preset in (("naive", None), ("naive, mixed", "mixed")):
        found = naive(folder / "f32/model.xml", clips, clip, preset=preset)
        if isinstance(found, str):
            measured.notes[form] = found
        else:
            runs[form] = found
    measured.times = in_turns(runs, rounds=arguments.rounds)
    return measured


def in_turns(runs: dict[str, Run], *, rounds: int) -> dict[str, list[float]]:
    """Every form once a round, so that whatever else the machine does falls on all alike."""
    times: dict[str, list[float]] = {form: [] for form in runs}
    for index in range(rounds + 2):
        for form, run in runs.items():
            began = time.perf_counter()
            run()
            if index >= 2:
                times[form].append(1e3 * (time.perf_counter() - began))
    return times


def calibration_clips(spec: ClipSpec, *, count: int) -> list[np.ndarray]:
    """Synthetic ones, all at once."""
    return [preprocess(video.read(spec), spec)[np.newaxis] for video in open_data(f"synthetic?clips={count}").videos]


def naive(model: Path, clips: list[np.ndarray], clip: np.ndarray, *, preset: str | None) -> Run | str:
    """What a user writes who follows the documentation of OpenVINO and NNCF; or why it does not compile."""
    openvino: Any = require_without_telemetry("openvino", extra="export", purpose="this benchmark")
    nncf: Any = require_without_telemetry("nncf", extra="export", purpose="this benchmark")
    nncf.set_log_level(logging.ERROR)
    options = {} if preset is None else {"preset": nncf.QuantizationPreset(preset)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantized = nncf.quantize(openvino.Core().read_model(model), nncf.Dataset(clips), **options)
    try:
        compiled = openvino.Core().compile_model(quantized, "CPU")
    except RuntimeError as error:
        return str(error).strip().splitlines()[-1].partition(".")[0]
    return lambda: compiled({"clip": clip})


def released(network: VideoNetwork, clip: np.ndarray, *, threads: int) -> Run:
    """The network in eager PyTorch, as its authors' code computes it."""
    if threads:
        torch.set_num_threads(threads)
    if network.saliency is not None:
        network.saliency.forward = ReleasedPath(network.saliency, network.backbone.shapes)  # type: ignore[assignment,method-assign]
    tensor = torch.from_numpy(clip)

    def run() -> Tensor:
        with torch.inference_mode():
            return network(tensor)  # type: ignore[no-any-return]

    return run


class ReleasedPath:
    """Frames interleaved one by one, and the edge branches over all of them before their stride drops some."""

    def __init__(self, path: SaliencyPath, shapes: Any) -> None:
        self.path = path
        self.strides = [-(-a.frames // b.frames) for a, b in itertools.pairwise(shapes)]

    def __call__(self, features: list[Tensor]) -> Saliency:
        path = self.path
        current, *later = [miner(x, path.norm) for miner, x in zip(path.miners, features, strict=True)]
        for index, after in enumerate(later):
            stride = self.strides[index] * (1 if index == 0 else 2)
            pooled = _pool(current, stride)
            if path.preservers:
                pooled = pooled * _edges(path.preservers[index], current, stride)
            current = torch.stack((pooled, after), dim=3).flatten(2, 3)
        return Saliency(path.fusion(_pool(current, 2 * self.strides[2])), (), ())


def _pool(x: Tensor, stride: int) -> Tensor:
    return functional.avg_pool3d(x, (stride, 2, 2), ceil_mode=True, count_include_pad=False)


def _edges(preserver: nn.Module, x: Tensor, stride: int) -> Tensor:
    *hidden, last = preserver.convs  # type: ignore[misc]
    for conv in hidden:
        step = (stride, 2, 2) if conv.stride[1] == 2 else (1, 1, 1)
        x = torch.relu(functional.conv3d(x, conv.weight, None, step, conv.padding))
    return torch.sigmoid(last(x))


def row(name: str, measured: Measured) -> str:
    """Medians, and the worst of ten, in milliseconds; eager's median over ours."""
    cells = []
    for form in COLUMNS:
        if form in measured.times:
            times = measured.times[form]
            cells.append(f"{statistics.median(times):.1f} ({statistics.quantiles(times, n=10)[-1]:.1f})")
        else:
            cells.append("does not compile")
    speedup = statistics.median(measured.times["released"]) / statistics.median(measured.times["ours"])
    details = "; ".join(f"{form}: {note}" for form, note in measured.notes.items())
    return f"| `{name}` | {' | '.join(cells)} | {speedup:.1f}× | {details} |"


def forms_row(name: str, measured: Measured) -> str:
    """Shortest times of the integer forms that were tried."""
    by_preset = {candidate.name: candidate for candidate in measured.candidates}
    return f"| `{name}` | {' | '.join(_form_cell(by_preset.get(preset)) for preset in PRESETS)} |"


def _form_cell(candidate: Candidate | None) -> str:
    if candidate is None:
        return "–"
    return f"{candidate.milliseconds:.1f}" if candidate.milliseconds is not None else "refused"


def write(page: Path, measured: str) -> None:
    """Puts the tables at the end of a page, in place of those that are there."""
    words = page.read_text(encoding="utf-8").partition(_FACTS)[0] if page.exists() else ""
    page.write_text(words + measured, encoding="utf-8")


def tables(rows: list[str], tried: list[str], arguments: argparse.Namespace) -> str:
    """Both tables, and what they were measured on."""
    facts = json.dumps({**hardware_facts(), "threads": arguments.threads or "one a core", "n": arguments.rounds})
    lines = [
        f"`{facts}`",
        "",
        f"| network | {' | '.join(COLUMNS)} | released / ours | |",
        f"|---|{'---|' * (len(COLUMNS) + 2)}",
        *rows,
        "",
        f"| network | {' | '.join(PRESETS)} |",
        f"|---|{'---|' * len(PRESETS)}",
        *tried,
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
