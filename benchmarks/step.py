"""A network by the step and by the clip: milliseconds of a prediction, side by side in one process.

    python benchmarks/step.py --models s2tf_x3d_s x3d_s --threads 1 2 --out docs/step.md

Networks have random weights, which cost what trained ones cost. The causal one is exported as a step, the one that is
not causal as whole clips: for OpenVINO fp32, fp16 and int8 (the fastest form that ``--precision int8`` finds), and fp32
for ONNX Runtime; and as a step of as many frames as a stream goes on by with a clip. PyTorch runs both as they are. All
forms take turns: in a round each predicts for a while, after predictions that are not timed. Where OpenVINO computes
fp16 artifacts in bfloat16, it says so.

    ms a second of video   at each form's own hop
    clip / step            a prediction of a clip in the same runtime and precision, divided by one of the step
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from folds import check_page, write_between
from s2tf_edge.export import ExportOptions, export
from s2tf_edge.models import create_model, save_model
from s2tf_edge.runtime import SessionOptions, open_session
from s2tf_edge.runtime.hardware import hardware_facts
from s2tf_edge.runtime.session import Session
from s2tf_edge.words import counted

BEGIN, END = "<!-- benchmarks/step.py: begin -->", "<!-- benchmarks/step.py: end -->"
CALIBRATION = "synthetic?clips=20"
FORMS: dict[str, dict[str, Any]] = {
    "step, OpenVINO fp32": {"target": "openvino", "precision": "fp32"},
    "step, OpenVINO fp16": {"target": "openvino", "precision": "fp16"},
    "step, OpenVINO int8": {"target": "openvino", "precision": "int8", "calib": CALIBRATION},
    "step of {hop} frames, OpenVINO fp16": {"target": "openvino", "precision": "fp16", "hop": "quarter"},
    "step, ONNX Runtime fp32": {"target": "onnx", "precision": "fp32"},
    "clip, OpenVINO fp32": {"target": "openvino", "precision": "fp32"},
    "clip, OpenVINO fp16": {"target": "openvino", "precision": "fp16"},
    "clip, OpenVINO int8": {"target": "openvino", "precision": "int8", "calib": CALIBRATION},
    "clip, ONNX Runtime fp32": {"target": "onnx", "precision": "fp32"},
}
UNTIMED, SECONDS = 3, 0.6
"""Predictions of a form in a round before those that are timed, and how long these go on: a step is seen as it is in a
stream that goes on, and not only with what other forms left in caches."""


@dataclass(kw_only=True)
class Form:
    """One way to a prediction, and what was measured of it."""

    name: str
    predict: Callable[[], object]
    kind: str
    """What it computes in."""
    seconds: float
    """Of video that a stream goes on by with each prediction."""
    times_ms: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, name: str, session: Session) -> Form:
        info = session.info
        kind = session.describe()["inference_precision"]
        seconds = info.hop * info.spec.period_seconds
        return cls(name=name, predict=make_prediction(session), kind=kind, seconds=seconds)

    @property
    def median_ms(self) -> float:
        return statistics.median(self.times_ms)

    @property
    def second_ms(self) -> float:
        """Of a second of video."""
        return self.median_ms / self.seconds

    def predict_for(self, seconds: float) -> None:
        for _ in range(UNTIMED):
            self.predict()
        end = time.perf_counter() + seconds
        while (began := time.perf_counter()) < end:
            self.predict()
            self.times_ms.append(1e3 * (time.perf_counter() - began))

    def spread(self) -> str:
        low, high = np.percentile(self.times_ms, [10, 90])
        return f"{self.median_ms:.1f} ({low:.1f}–{high:.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["s2tf_x3d_s", "x3d_s", "s2tf_x3d_m"])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--artifacts", type=Path, help="folder to keep artifacts in, and to take those of before from")
    parser.add_argument("--continual", action="store_true", help="CoX3D beside an X3D: benchmarks/cox3d.py")
    parser.add_argument("--out", type=Path, help=f"page whose part between {BEGIN} and {END} the tables become")
    arguments = parser.parse_args()
    if arguments.out:
        check_page(parser, arguments.out, BEGIN, END)
    lines = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.artifacts or Path(scratch)
        for model in arguments.models:
            paths = build(model, folder)
            for threads in arguments.threads:
                table = measure(
                    model, paths, folder, threads=threads, rounds=arguments.rounds, continual=arguments.continual
                )
                lines += [*table, ""]
                print("\n".join(table), flush=True)
    if arguments.out:
        write_between(arguments.out, BEGIN, END, lines[:-1])


def build(model: str, folder: Path) -> dict[str, Path]:
    """The artifacts of all forms, by their names."""
    folder.mkdir(parents=True, exist_ok=True)
    networks = {"step": folder / f"{model} causal.pt", "clip": folder / f"{model}.pt"}
    for kind, path in networks.items():
        if not path.is_file():
            torch.manual_seed(0)
            save_model(path, create_model(f"{model}?causal=true" if kind == "step" else model, num_classes=400))
    quarter = max(1, create_model(model, num_classes=2).spec.frames // 4)
    built = {f"{kind}, PyTorch fp32": path for kind, path in networks.items()}
    for name, options in FORMS.items():
        given: dict[str, Any] = {key: quarter if value == "quarter" else value for key, value in options.items()}
        out = folder / f"{model} {name.format(hop=quarter)}"
        if not out.is_dir():
            print(f"exporting {out.name}", flush=True)
            export(networks[name[:4]], ExportOptions(**given, out=out))
        built[name.format(hop=quarter)] = out
    return built


def measure(
    model: str, paths: dict[str, Path], folder: Path, *, threads: int, rounds: int, continual: bool
) -> list[str]:
    """A table of all forms of a network."""
    with ExitStack() as stack:
        forms = []
        for name, path in paths.items():
            session = stack.enter_context(open_session(path, SessionOptions(threads=threads)))
            forms.append(Form.of(name, session))
        if continual and model.startswith("x3d_"):
            forms += continual_forms(model, folder, threads=threads, seconds=forms[0].seconds)
        for _ in range(rounds):
            for form in forms:
                form.predict_for(SECONDS)
        return tabulate(model, forms, threads=threads)


def continual_forms(model: str, folder: Path, *, threads: int, seconds: float) -> list[Form]:
    """The published way to step through an X3D."""
    import cox3d

    torch.set_num_threads(threads)
    return [
        Form(
            name=f"CoX3D, {name}",
            predict=predict,
            kind="bfloat16" if "bf16" in name else "float32",
            seconds=seconds,
        )
        for name, predict in cox3d.predictions(model, folder, threads=threads)
    ]


def make_prediction(session: Session) -> Callable[[], object]:
    """One prediction, on noise: what the pixels are costs nothing."""
    spec, step = session.info.spec, session.info.step
    random = np.random.default_rng(0)
    shown = spec if step is None else dataclasses.replace(spec, frames=step.hop)
    clip = random.normal(size=shown.input_shape()).astype(np.float32)
    return (
        functools.partial(session.infer, clip)
        if step is None
        else functools.partial(session.step, clip, session.start())
    )


def tabulate(model: str, forms: Sequence[Form], *, threads: int) -> list[str]:
    """A row a form."""
    facts = hardware_facts()
    by_name = {form.name: form for form in forms}
    on = counted(threads, "thread")
    lines = [
        f"`{model}`, {on}, {facts['cpu']}:",
        "",
        "| form | computes in | ms a prediction (10–90 %) | n | ms a second of video | clip / step |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for form in forms:
        clip = by_name.get("clip, " + _short(form)) if form.name.startswith("step") else None
        ratio = f"{clip.median_ms / form.median_ms:.1f}×" if clip else ""
        lines.append(
            f"| {form.name} | {form.kind} | {form.spread()} | {len(form.times_ms)} | {form.second_ms:.0f} | {ratio} |"
        )
    steps = [form for form in forms if form.name.startswith("step,")]
    clips = [form for form in forms if form.name.startswith("clip")]
    best_step, best_clip = min(steps, key=lambda form: form.median_ms), min(clips, key=lambda form: form.median_ms)
    times, names = best_clip.median_ms / best_step.median_ms, [_short(form) for form in (best_clip, best_step)]
    return [*lines, "", f"The best clip ({names[0]}) takes {times:.1f} times as long as the best step ({names[1]})."]


def _short(form: Form) -> str:
    return form.name.partition(", ")[2]


if __name__ == "__main__":
    main()
