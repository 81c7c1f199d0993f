"""``s2tf-demo``: the whole chain on data it makes itself, by the very commands that a user types."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from s2tf_edge.cli.app import Quiet, Verbose, run, say, version_option
from s2tf_edge.cli.verbs import VERBS

if TYPE_CHECKING:
    from s2tf_edge.data.synthetic import Segment

__all__ = ["demo", "main"]

_NAME = "s2tf-demo"
_EXAMPLES = ("s2tf-demo", "s2tf-demo --out somewhere/else --seed 1")

_MODEL: Final = "s2tf_r3d_10?width=0.125&conv1_t_size=3"
_RECIPE: Final = """\
# A small network on small clips: minutes on two CPU cores.
epochs = 16
batch_size = 8
lr = 0.006
saliency_lr_scale = 0.1
ema = 0.99
clip_grad = 1.0
frames = 16
size = 64
resize_short_side = 64
fps = 15.0
min_scale = 0.8
brightness = 0.1
dropout = 0.1
"""
_TRAIN_CLIPS: Final = 1000
_TEST_CLIPS: Final = 300
_ACTION_SECONDS: Final = 2.5


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for everything that is made.")] = Path("s2tf-demo"),
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of the data and of the training.")] = 0,
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Annotated[bool, version_option(_NAME)] = False,
) -> None:
    """Train, export, quantize, stream and measure a small network on moving shapes.

    It learns ten actions that no single frame can tell apart: directions, rotations, approach and retreat, orders of
    colors. Takes 10 to 20 minutes on two CPU cores; the end is [bold]report.html[/bold] in the folder.
    """
    del version
    from s2tf_edge.extras import require

    # What is missing should not be found at the last of its steps.
    for module in ("lightning", "onnx", "jinja2", "matplotlib", "adjustText", "psutil"):
        require(module, extra="all", purpose=_NAME)
    started = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    recipe, model, video, predictions = (
        out / name for name in ("recipe.toml", "model.pt", "actions.mp4", "predictions.jsonl")
    )
    training = f"synthetic?clips={_TRAIN_CLIPS}&seed={seed}"
    artifacts = [out / f"model_{name}" for name in ("onnx_fp32", "openvino_fp16", "openvino_int8")]
    common = ["--quiet"] * quiet + ["--verbose"] * verbose

    _print_heading("1/4  Train on clips of moving shapes")
    _begin(recipe, f"{_RECIPE}seed = {seed}\n")
    held_out = ["--val-split", f"synthetic?split=test&clips=100&seed={seed + 1}"]
    flags = ["--model", _MODEL, "--config", recipe, "--out", out]
    _run_command("s2tf-train", training, *flags, *held_out, *common)

    _print_heading("2/4  Export, and check each artifact against the network")
    _run_command("s2tf-export", model, "--target", "onnx", *common)
    _run_command("s2tf-export", model, "--target", "openvino", *common)
    _run_command("s2tf-export", model, "--target", "openvino", "--precision", "int8", "--calib", training, *common)

    _print_heading("3/4  Stream a video of actions through the int8 artifact")
    segments = _make_video(video, seed=seed)
    saved = ["--jsonl", predictions, "--save", out / "actions_labelled.mp4"]
    _run_command("s2tf-stream", artifacts[-1], "--source", video, *saved, *common)
    say(_count_recognized(predictions, segments))

    _print_heading("4/4  Measure accuracy and latency side by side")
    test = ["--data", f"synthetic?split=test&clips={_TEST_CLIPS}&seed={seed}", "--duration", 3, "--warmup", 1]
    _run_command("s2tf-report", model, *artifacts, *test, "--out", out, *common)
    say(f"\nall done in {time.monotonic() - started:.0f} s; open {out / 'report.html'}")


def main() -> None:
    """Entry point of the console script."""
    run(demo, name=_NAME, examples=_EXAMPLES)


def _begin(recipe: Path, text: str) -> None:
    """Writes the settings; of a run that had others nothing is gone on with."""
    from s2tf_edge.training.resume import LAST_FILE

    if recipe.exists() and recipe.read_bytes() != text.encode():
        recipe.with_name(LAST_FILE).unlink(missing_ok=True)
    recipe.write_text(text, encoding="utf-8")


def _print_heading(title: str) -> None:
    typer.secho(f"\n{title}", bold=True)


def _run_command(name: str, *arguments: object) -> None:
    """Shows a command and runs it in this process."""
    words = [str(argument) for argument in arguments]
    typer.secho(f"$ {name} {shlex.join(words)}", dim=True)
    VERBS[name.removeprefix("s2tf-")].load().parser()(words, standalone_mode=False)


def _make_video(path: Path, *, seed: int) -> Sequence[Segment]:
    """Every action once, in a shuffled order, in scenes that training never saw."""
    import numpy as np

    from s2tf_edge.data.scenes import LABELS
    from s2tf_edge.data.synthetic import write_video

    order = np.random.default_rng(seed).permutation(len(LABELS))
    actions = [(LABELS[index], _ACTION_SECONDS) for index in order]
    segments = write_video(path, clips=actions, fps=30, size=(240, 320), seed=1_000_000 + seed)
    say(f"made {path}: {len(segments)} actions in {segments[-1].end_seconds:.0f} s, 320×240 at 30 fps")
    return segments


def _count_recognized(predictions: Path, segments: Sequence[Segment]) -> str:
    """How many of the windows that lie within one action were given its label."""
    records: list[dict[str, Any]] = [json.loads(line) for line in predictions.read_text(encoding="utf-8").splitlines()]
    right = total = 0
    for record in records:
        inside = [
            segment.label
            for segment in segments
            if record["type"] == "prediction"
            and segment.start_seconds <= record["t_start"]
            and record["t_end"] <= segment.end_seconds
        ]
        total += len(inside)
        right += inside == [record.get("label")]
    return f"{right} of {total} windows within one action have its label"
