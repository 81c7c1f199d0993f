"""Makes the golden artifacts anew: ``python tests/golden/make.py FOLDER``.

Those in ``version_1`` were made by the code before its modules moved into rooms, and stay as they are: they stand for
artifacts on users' disks. A new format version gets a folder of its own.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper, parser

from s2tf_edge.export import ExportOptions, export

NETWORK = """
<ir_version: 8, opset_import: ["": 18]>
net (float[n,3,4,16,16] x) => (float[n,5] y) {
  [conv] c = Conv <pads = [0, 1, 1, 0, 1, 1], strides = [1, 2, 2]> (x, w)
  r = Relu (c) p = GlobalAveragePool (r) f = Flatten (p) y = Gemm (f, fc)
}"""
CLIPS = {"frames": 4, "crop": 16, "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3], "labels": list("abcde")}


def make(folder: Path) -> None:
    """Writes the network and its two artifacts into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    path, meta = folder / "tiny.onnx", folder / "tiny.json"
    model, random = parser.parse_model(NETWORK), np.random.default_rng(0)
    for name, shape in (("w", (8, 3, 1, 3, 3)), ("fc", (8, 5))):
        model.graph.initializer.append(numpy_helper.from_array(random.normal(size=shape).astype(np.float32), name))
    onnx.save(model, path)
    meta.write_text(json.dumps(CLIPS))
    export(path, ExportOptions(target="onnx", meta=meta))
    export(path, ExportOptions(target="trt", meta=meta, defer_build=True))


if __name__ == "__main__":
    make(Path(sys.argv[1]))
