"""torchvision's six video networks, from its own code, in the four forms of docs/foreign.md; on small clips.

torchvision is no part of the environment: ``pip install --no-deps --target DIR torchvision==0.28.0``, and run this with
``TORCHVISION_SITE=DIR``. Its C extension does not load beside another build of PyTorch; these networks do without.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from s2tf_edge.data.datasets import open_data
from s2tf_edge.export import ExportOptions, export
from s2tf_edge.preprocess import preprocess
from s2tf_edge.runtime.open import open_session
from s2tf_edge.runtime.session import SessionOptions
from s2tf_edge.spec import ClipSpec

CLASSES = 11
NETWORKS: dict[str, tuple[tuple[int, int], dict[str, Any]]] = {
    "r3d_18": ((8, 64), {}),
    "mc3_18": ((8, 64), {}),
    "r2plus1d_18": ((8, 64), {}),
    # Its last pool needs 7 × 7.
    "s3d": ((16, 224), {}),
    "mvit_v2_s": ((16, 64), {"spatial_size": (64, 64)}),
    # Windows of 8 × 7 × 7, shifted, that no side is a multiple of.
    "swin3d_t": ((8, 96), {}),
}
"""Frames and size of the clip, and what makes the network take it."""
FORMS = [
    pytest.param("onnx", "fp32", 1e-4, id="onnx-fp32"),
    pytest.param("openvino", "fp16", 0.05, id="openvino-fp16"),
    pytest.param("openvino", "int8", 0.1, id="openvino-int8"),
    pytest.param("trt-rtx", "fp16", None, id="rtx-fp16", marks=pytest.mark.needs_rtx),
]
"""Target, precision, and the largest error against PyTorch as a fraction of the logits' range; None: not run."""

Network = tuple[nn.Module, tuple[int, ...]]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def video() -> Iterator[Any]:
    """``torchvision.models.video``."""
    site = os.environ.get("TORCHVISION_SITE")
    if site:
        sys.path.append(site)
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed; TORCHVISION_SITE names a folder with it")
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for operator in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, operator):
            signature = f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            library.define(signature)  # type: ignore[no-untyped-call]
    yield importlib.import_module("torchvision.models.video")
    if site:
        sys.path.remove(site)


@pytest.fixture(scope="module", params=NETWORKS)
def network(request: pytest.FixtureRequest, video: Any) -> Network:
    """With seeded weights, and batch norms that have seen a clip; and the shape of that."""
    (frames, size), options = NETWORKS[request.param]
    clip = (3, frames, size, size)
    torch.manual_seed(0)
    made: nn.Module = getattr(video, request.param)(num_classes=CLASSES, **options)
    for module in made.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.momentum = None
    with torch.no_grad():
        made.train()(_clips(clip, split="train", count=8))
    return made.eval(), clip


def _clips(shape: tuple[int, ...], *, split: str, count: int) -> torch.Tensor:
    """Clips of moving shapes: on noise, whose means are all alike, untrained networks tell one clip from another by
    little more than what bfloat16 rounds."""
    spec = ClipSpec(frames=shape[1], size=shape[2], mean=(0.45,) * 3, std=(0.225,) * 3)
    videos = open_data(f"synthetic?clips=20&split={split}&seed=3").videos[:count]
    return torch.from_numpy(np.stack([preprocess(video.read(spec), spec) for video in videos]))


@pytest.fixture(scope="module")
def graph(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network as PyTorch's exporter writes it, with its clip file."""
    path = tmp_path_factory.mktemp("graph") / "net.onnx"
    module, shape = network
    clip = torch.zeros(1, *shape)
    torch.onnx.export(module, (clip,), path, dynamo=True, opset_version=18, external_data=False, verbose=False)
    _, frames, size, _ = shape
    labels = [f"class {index}" for index in range(CLASSES)]
    about = {"frames": frames, "crop": size, "mean": [0.45] * 3, "std": [0.225] * 3, "labels": labels}
    path.with_suffix(".json").write_text(json.dumps(about))
    return path


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize(("target", "precision", "allowed"), FORMS)
def test_it_agrees_with_torchvision(
    network: Network, graph: Path, target: str, precision: str, allowed: float | None, tmp_path: Path
) -> None:
    calibration: dict[str, Any] = {"calib": "synthetic?clips=20", "calib_clips": 20} if precision == "int8" else {}
    options = ExportOptions(
        target=target, precision=precision, meta=graph.with_suffix(".json"), out=tmp_path / "a", **calibration
    )
    result = export(graph, options)
    assert result.verification is not None
    assert result.verification.passed
    obtained = result.meta.precision["obtained"]
    layers = [kinds for kinds in obtained.values() if precision != "int8" or set(kinds) & {"i8", "u8"}]
    assert layers, obtained
    if allowed is None:
        return
    module, shape = network
    clips = _clips(shape, split="test", count=4)
    with torch.no_grad():
        expected = torch.cat([module(clip[None]) for clip in clips]).numpy()
    with open_session(result.folder, SessionOptions(threads=2)) as session:
        got = np.concatenate([session.infer(clip[None].numpy()).logits for clip in clips])
    assert np.abs(got - expected).max() <= allowed * np.ptp(expected)
