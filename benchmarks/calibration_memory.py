"""Peak memory of calibration, whatever the number of clips.

    python benchmarks/calibration_memory.py --model x3d_m --clips 500 --method minmax

Quantizes a network with random weights for OpenVINO, on synthetic clips of its published size, in a process of its own,
and prints the process's peak resident memory: by extremes (NNCF) or by histograms. With ``--clips 5`` it
should print about the same.
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
from typing import Any

import onnx

from s2tf_edge.calibration.base import Quantizer
from s2tf_edge.calibration.calibration_clips import CalibrationClips
from s2tf_edge.calibration.nncf_openvino.quantizer import OpenVinoGraphQuantizer, OpenVinoQuantizer
from s2tf_edge.calibration.ranges.ranges import METHODS
from s2tf_edge.data.datasets import open_data
from s2tf_edge.runtime.backends.telemetry import require_without_telemetry
from s2tf_edge.runtime.session import ModelInfo
from s2tf_edge.spec import ClipSpec


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="x3d_m", help="name of a network")
    parser.add_argument("--clips", type=int, default=500)
    parser.add_argument("--method", default="entropy", choices=METHODS)
    parser.add_argument("--graph", type=Path, help="its graph, where it is made already")
    arguments = parser.parse_args()
    if arguments.graph is None:
        _in_two_processes(arguments)
    else:
        _calibrate(arguments)


def _in_two_processes(arguments: argparse.Namespace) -> None:
    """Makes the graph here, and calibrates in a process that has never loaded PyTorch."""
    import torch

    from s2tf_edge.export.graph.custom_ops import InlineCustomOps
    from s2tf_edge.export.graph.onnx_file import write_graph
    from s2tf_edge.export.sources.torch_to_onnx import to_onnx
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
    quantizer = _quantizer(arguments, spec, clips)
    quantizer.write(quantizer.presets[0], arguments.graph.parent)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    size = f"{spec.frames}×{spec.size}²"
    seconds = time.perf_counter() - started
    print(f"{arguments.model}, {len(clips)} clips of {size}, {arguments.method}: {peak_mib:.0f} MiB, {seconds:.0f} s")


def _quantizer(arguments: argparse.Namespace, spec: ClipSpec, clips: CalibrationClips) -> Quantizer:
    info = ModelInfo(
        name="n", network=arguments.model, target="openvino", precision="int8", spec=spec, labels=("a", "b")
    )
    if arguments.method != "minmax":
        return OpenVinoGraphQuantizer(arguments.graph, clips=clips, info=info, method=arguments.method)
    openvino: Any = require_without_telemetry("openvino", extra="export", purpose="this benchmark")
    return OpenVinoQuantizer(lambda: openvino.Core().read_model(arguments.graph), clips=clips, info=info)


if __name__ == "__main__":
    main()
