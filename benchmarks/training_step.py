"""A training step on the CPU: gradients of depthwise convolutions by torch, and by ``s2tf_edge.training``.

    python benchmarks/training_step.py --out docs/training.md

Forward and backward pass of a batch of random clips on one thread, in one process, turn by turn, in the layout that
training has in each precision. Times are the processor's, so that what else the machine does counts little; figures are
medians with the range over the repeats, and a ratio is the median of those of each turn.
"""

from __future__ import annotations

import argparse
import statistics
import time
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils import convert_conv3d_weight_memory_format

from folds import check_page, write_between
from s2tf_edge.models import VideoNetwork, create_model
from s2tf_edge.runtime.hardware import hardware_facts
from s2tf_edge.training.optimization.depthwise import DepthwiseGradients

BEGIN, END = "<!-- table of benchmarks/training_step.py -->", "<!-- end of table -->"
NETWORKS = [
    "s2tf_x3d_s?width=0.25&frames=8&size=64",
    "x3d_s",
    "s2tf_x3d_s",
    "s2tf_x3d_s?causal=true",
    "ir_csn_50?width=0.25&frames=16&size=112",
    "s2tf_r3d_18?width=0.25&frames=8&size=112",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--clips", type=int, default=2, help="clips in a batch")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, help=f"a page whose lines between {BEGIN} and {END} are replaced")
    arguments = parser.parse_args()
    if arguments.out:
        check_page(parser, arguments.out, BEGIN, END)
    torch.set_num_threads(1)
    facts = hardware_facts()
    lines = [
        f"{facts['cpu']}, torch {torch.__version__}, one thread, {arguments.clips} clips, n = {arguments.repeats}.",
        "",
        "| network | precision | torch, ms | here, ms | ratio |",
        "|---|---|---|---|---|",
    ]
    for name in arguments.networks:
        for precision in ("fp32", "bf16-mixed"):
            lines.append(compare(name, precision, clips=arguments.clips, repeats=arguments.repeats))
            print(lines[-1], flush=True)
    if arguments.out:
        write_between(arguments.out, BEGIN, END, lines)


def compare(name: str, precision: str, *, clips: int, repeats: int) -> str:
    """A row of the table."""
    network = create_model(name, num_classes=10).train()
    layout = torch.contiguous_format if precision == "fp32" else torch.channels_last_3d
    convert_conv3d_weight_memory_format(network, layout)
    spec = network.spec
    batch = torch.randn(clips, 3, spec.frames, spec.size, spec.size).contiguous(memory_format=layout)
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats + 1):
        times[0].append(step(network, batch, precision, nullcontext()))
        times[1].append(step(network, batch, precision, DepthwiseGradients()))
    # The first time kernels are made.
    plain, here = times[0][1:], times[1][1:]
    ratios = [one / other for one, other in zip(plain, here, strict=True)]
    shown = " | ".join(f"{statistics.median(taken):.0f} ({min(taken):.0f}–{max(taken):.0f})" for taken in (plain, here))
    ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"
    return f"| `{name}` | {precision} | {shown} | {ratio} |"


def step(network: VideoNetwork, batch: torch.Tensor, precision: str, within: AbstractContextManager[Any]) -> float:
    """Milliseconds of one."""
    network.zero_grad()
    start = time.process_time()
    with ExitStack() as stack:
        stack.enter_context(within)
        if precision != "fp32":
            stack.enter_context(torch.autocast("cpu", torch.bfloat16))
        logits = network(batch)
    logits.float().logsumexp(1).sum().backward()
    return 1000 * (time.process_time() - start)


if __name__ == "__main__":
    main()
