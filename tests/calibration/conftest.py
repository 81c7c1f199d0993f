"""Small networks with random weights, as float graphs with standard operators only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch

from s2tf_edge.export.graph.custom_ops import InlineCustomOps
from s2tf_edge.export.graph.onnx_file import write_graph
from s2tf_edge.export.sources.torch_to_onnx import to_onnx
from s2tf_edge.models import create_model
from s2tf_edge.runtime.session import Clips

FloatGraph = Callable[[str], Path]


@pytest.fixture(scope="session")
def float_graph(tmp_path_factory: pytest.TempPathFactory) -> FloatGraph:
    """The graph of a network by its name; with output ``mask`` where it has one."""
    folder = tmp_path_factory.mktemp("graphs")

    def make(name: str) -> Path:
        path = folder / f"{name.replace('?', ' ')}.onnx"
        if not path.exists():
            write_graph(_graph(name), path)
        return path

    return make


@pytest.fixture(scope="session")
def noise() -> Callable[[Sequence[int], int], list[Clips]]:
    """Clips of smooth noise: a shape with the batch axis, and how many."""

    def make(shape: Sequence[int], count: int) -> list[Clips]:
        random = np.random.default_rng(count)
        sizes = [max(1, side // 4) for side in shape[2:]]
        coarse = random.standard_normal((count, shape[1], *sizes)).astype(np.float32)
        fine = torch.nn.functional.interpolate(torch.from_numpy(coarse), list(shape[2:]), mode="trilinear")
        return [2 * clip[np.newaxis] for clip in fine.numpy()]

    return make


def _graph(name: str) -> ir.Model:
    torch.manual_seed(0)
    network = create_model(name, num_classes=10).eval()
    for norm in network.modules():
        if isinstance(norm, torch.nn.BatchNorm3d):
            # Fresh norms shift nothing: convolutions would have no biases.
            torch.nn.init.uniform_(norm.weight, 0.7, 1.3)
            torch.nn.init.normal_(norm.bias, std=0.2)
    model = to_onnx(network, mask=network.saliency is not None)
    InlineCustomOps()(model)
    return model
