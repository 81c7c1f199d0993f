"""Peak memory of calibration, whatever the number of clips.

    python benchmarks/calibration_memory.py --model x3d_m --clips 500

Quantises a network with random weights, by histograms, on clips of its published size, in a process of its own, and
prints the process's peak resident memory. With ``--clips 5`` it should print about the same.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import onnx

from s2tf_edge.calibration.clips import CalibrationClips
from s2tf_edge.calibration.qdq_ptq import quantize_graph
from s2tf_edge.data.datasets import open_data
from s2tf_edge.spec import ClipSpec


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="x3d_m", help="name of a network")
    parser.add_argument("--clips", type=int, default=500)
    parser.add_argument("--method", default="entropy")
    parser.add_argument("--style", default="onnxruntime")
    parser.add_argument("--graph", type=Path, help="its graph, where it is made already")
    arguments = parser.parse_args()
    if arguments.graph is None:
        _in_two_processes(arguments)
    else:
        _calibrate(arguments)


def _in_two_processes(arguments: argparse.Namespace) -> None:
    """Makes the graph here, and calibrates in a process that has never loaded PyTorch."""
    import torch

    from s2tf_edge.export.custom_ops import InlineCustomOps
    from s2tf_edge.export.onnx_file import write_graph
    from s2tf_edge.export.to_onnx import to_onnx
    from s2tf_edge.models import create_model

    torch.manual_seed(0)
    model = to_onnx(create_model(arguments.model, num_classes=400).eval())
    InlineCustomOps()(model)
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder) / "model.onnx"
        write_graph(model, graph)
        subprocess.run([sys.executable, __file__, *sys.argv[1:], "--graph", str(graph)], check=True)


def _calibrate(arguments: argparse.Namespace) -> None:
    metadata = {each.key: each.value for each in onnx.load(arguments.graph).metadata_props}
    spec = ClipSpec.from_dict(json.loads(metadata["clip"]))
    clips = CalibrationClips(open_data(f"synthetic?clips={arguments.clips}"), spec, count=arguments.clips)
    started = time.perf_counter()
    out = arguments.graph.with_name("integer.onnx")
    quantize_graph(arguments.graph, out, clips=clips, style=arguments.style, method=arguments.method, spec=spec)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    size = f"{spec.frames}×{spec.size}²"
    seconds = time.perf_counter() - started
    print(f"{arguments.model}, {len(clips)} clips of {size}, {arguments.method}: {peak_mib:.0f} MiB, {seconds:.0f} s")


if __name__ == "__main__":
    main()
