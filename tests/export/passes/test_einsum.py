from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import onnxruntime
import pytest

from s2tf_edge.export.passes.einsum import EinsumToMatMul


def _graph(equation: str, shapes: tuple[str, ...], *, rank: int) -> onnx.ModelProto:
    inputs = ", ".join(f"float[{shape}] x{index}" for index, shape in enumerate(shapes))
    operands = ", ".join(f"x{index}" for index in range(len(shapes)))
    output = ", ".join(f"o{axis}" for axis in range(rank))
    node = f'y = Einsum <equation = "{equation}"> ({operands})'
    text = f'<ir_version: 10, opset_import: ["" : 18]> g ({inputs}) => (float[{output}] y) {{ {node} }}'
    proto = onnx.shape_inference.infer_shapes(onnx.parser.parse_model(text))
    proto.graph.node[0].name = "attention/Einsum"
    return proto


def _run(proto: onnx.ModelProto, sizes: dict[str, int]) -> np.ndarray:
    onnx.checker.check_model(proto, full_check=True)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    clips = {
        each.name: random.standard_normal([sizes.get(side, side) for side in each.shape], np.float32)
        for each in session.get_inputs()
    }
    return np.asarray(session.run(None, clips)[0])


PRODUCTS = {
    "non-local, scores": ("ncx,ncy->nxy", ("N, 4, 6", "N, 4, 5"), 3, ["Transpose", "MatMul"]),
    "non-local, values": ("nxy,ncy->ncx", ("N, 6, 5", "N, 4, 5"), 3, ["Transpose", "MatMul"]),
    "with frames": ("ncthw,ncp->nthwp", ("N, 4, 2, 3, 3", "N, 4, 5"), 5, ["Transpose", "Reshape", "MatMul", "Reshape"]),
    "heads": ("nqhd,nkhd->nhqk", ("N, 6, 2, 4", "N, 5, 2, 4"), 4, ["Transpose", "Transpose", "MatMul"]),
    "free positions": ("nqd,nkd->nqk", ("N, Q, 4", "N, K, 4"), 3, ["Transpose", "MatMul"]),
    "one free position": (
        "nqhd,nkd->nkqh",
        ("N, Q, 3, 4", "N, 5, 4"),
        4,
        ["Transpose", "Reshape", "MatMul", "Reshape"],
    ),
    "weight": ("btc,oc->bto", ("N, 6, 4", "5, 4"), 3, None),
    "two contracted": ("nabc,nbac->nc", ("N, 2, 3, 4", "N, 3, 2, 4"), 2, None),
    "vector": ("nk,nkm->nm", ("N, 4", "N, 4, 5"), 2, None),
    "no arrow": ("ij , jk", ("3, 4", "4, 5"), 2, ["MatMul"]),
    "scalar": ("i,i->", ("4", "4"), 0, None),
}


@pytest.mark.parametrize(("equation", "shapes", "rank", "operators"), PRODUCTS.values(), ids=PRODUCTS)
@pytest.mark.parametrize("batch", [1, 3])
def test_products_are_matrix_products(
    equation: str, shapes: tuple[str, ...], rank: int, operators: list[str] | None, batch: int
) -> None:
    proto = _graph(equation, shapes, rank=rank)
    model = ir.from_proto(proto)
    assert EinsumToMatMul()(model).modified
    found = [node.op_type for node in model.graph]
    assert found.count("MatMul") == 1
    assert "Einsum" not in found
    assert operators is None or found == operators
    assert all(str(node.name).startswith("attention/") for node in model.graph)
    sizes = {"N": batch, "Q": 6, "K": 5}
    expected, got = _run(proto, sizes), _run(ir.to_proto(model), sizes)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("equation", "shapes", "rank"),
    [
        ("...ij,...jk->...ik", ("N, 4, 6", "N, 6, 5"), 3),
        ("ni,nj->nij", ("N, 4", "N, 5"), 3),
        ("nii,nij->nj", ("N, 4, 4", "N, 4, 5"), 2),
        ("nij,njk->ni", ("N, 4, 6", "N, 6, 5"), 2),
        ("nij->nji", ("N, 4, 6",), 3),
        ("ij,jk,kl->il", ("3, 4", "4, 5", "5, 6"), 2),
        ("nqpd,nkd->nqpk", ("N, Q, P, 4", "N, 5, 4"), 4),
    ],
    ids=["ellipsis", "outer", "diagonal", "sum", "one", "three", "two free sizes"],
)
def test_others_are_left_alone(equation: str, shapes: tuple[str, ...], rank: int) -> None:
    assert not EinsumToMatMul()(ir.from_proto(_graph(equation, shapes, rank=rank))).modified


def test_an_equation_that_the_calls_of_a_function_give_is_left_alone() -> None:
    proto = onnx.parser.parse_model("""
        <ir_version: 10, opset_import: ["": 18, "own": 1]>
        g (float[3, 4] x, float[4, 5] w) => (float[3, 5] y) { y = own.Product <equation = "ij,jk->ik"> (x, w) }
        <domain: "own", opset_import: ["": 18]>
        Product <equation> (a, b) => (c) { c = Einsum <equation: string = @equation> (a, b) }""")
    assert not EinsumToMatMul()(ir.from_proto(proto)).modified
