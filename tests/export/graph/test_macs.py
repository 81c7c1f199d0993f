from __future__ import annotations

import logging

import onnx
import onnx.parser
import onnx_ir as ir
import pytest

from s2tf_edge.export.graph.custom_ops import InlineCustomOps
from s2tf_edge.export.graph.macs import count_macs
from s2tf_edge.export.sources.torch_to_onnx import to_onnx
from s2tf_edge.models import create_model, network_cost

NETWORKS = [
    ("s2tf_r3d_10?width=0.125", 8, 33, None),
    pytest.param("nl_i3d_r50?width=0.0625", 4, 33, 1, marks=pytest.mark.slow),
    ("p3d_63?width=0.0625", 16, 33, 1),
    ("x3d_xs?width=0.25", 4, 33, 1),
]


@pytest.mark.parametrize(("name", "frames", "size", "batch"), NETWORKS)
def test_counts_what_the_network_costs(name: str, frames: int, size: int, batch: int | None) -> None:
    network = create_model(name, num_classes=10, frames=frames, size=size).eval()
    graph = to_onnx(network, batch=batch)
    assert sum(count_macs(graph).values()) == network_cost(network).inference_macs
    before = ir.to_proto(graph)
    InlineCustomOps()(graph)
    assert count_macs(graph) == count_macs(before)


def _graph(nodes: str, output: str, *, weight: str = "float[6, 6] w") -> onnx.ModelProto:
    inputs = f"float[N, 4, 6] x, {weight}"
    return onnx.parser.parse_model(
        f'<ir_version: 10, opset_import: ["" : 18]> g ({inputs}) => ({output} y) {{ {nodes} }}'
    )


def test_counts_products_and_contractions_by_operator() -> None:
    graph = _graph(
        'a = MatMul (x, w) b = Einsum <equation = "n c x, n k x -> nck"> (a, x) y = Flatten (b)',
        "float[N, 16]",
    )
    assert count_macs(graph) == {"Einsum": 4 * 4 * 6, "MatMul": 4 * 6 * 6}


@pytest.mark.parametrize(("transposed", "rows"), [(0, "-1, 3"), (1, "3, -1")])
def test_counts_gemm_whichever_way_its_first_matrix_lies(transposed: int, rows: str) -> None:
    nodes = f"s = Constant <value_ints = [{rows}]> () a = Reshape (x, s) y = Gemm <transA = {transposed}> (a, w)"
    assert count_macs(_graph(nodes, "float[8, 5]", weight="float[3, 5] w")) == {"Gemm": 8 * 3 * 5}


def test_groups_convolve_their_own_channels_only() -> None:
    graph = _graph("y = Conv <group = 2> (x, w)", "float[N, 8, 4]", weight="float[8, 2, 3] w")
    assert count_macs(graph) == {"Conv": 8 * 4 * 2 * 3}


def test_what_cannot_be_counted_is_said(caplog: pytest.LogCaptureFixture) -> None:
    graph = _graph(
        'a = some.where.Unknown (x) b = MatMul (a, w) y = Einsum <equation = "...ij,...kj->...ik"> (x, b)',
        "float[N, 4, M]",
    )
    graph.opset_import.add(domain="some.where", version=1)
    with caplog.at_level(logging.WARNING):
        assert count_macs(graph) == {"Einsum": 0, "MatMul": 0}
    assert "{'MatMul': 1, 'Einsum': 1}" in caplog.text
