"""The table of targets, and that nothing else in the export layer knows a target by its name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from s2tf_edge.errors import UsageError
from s2tf_edge.export import TARGETS
from s2tf_edge.export.targets.precisions import AUTO
from s2tf_edge.export.targets.registry import COMPILERS, FLOAT_TARGETS, find_target, is_engine

LAYER = Path(__file__).parents[3] / "export"


def test_a_target_is_found_with_its_default_precision() -> None:
    for name, target in TARGETS.items():
        assert find_target(name, precision=None) == (target, target.precisions[0])
        for precision in (*target.precisions, AUTO):
            assert find_target(name, precision=precision) == (target, precision)


@pytest.mark.parametrize(("name", "precision"), [("tpu", None), ("onnx", "bf16")])
def test_what_there_is_not_is_told_with_what_there_is(name: str, precision: str | None) -> None:
    with pytest.raises(UsageError, match=rf"there is no target '{name}'.*; there are: onnx with fp32, fp16, int8 or "):
        find_target(name, precision=precision)


def test_a_target_that_is_nearly_one_is_told_which() -> None:
    with pytest.raises(UsageError, match=r"there is no target 'onnxx', perhaps onnx; there are: onnx with"):
        find_target("onnxx", precision=AUTO)


def test_engines_ship_the_graph_that_they_are_built_from() -> None:
    engines = {name: target for name, target in TARGETS.items() if target.is_engine}
    assert all(target.ships_graph for target in engines.values())
    assert set(engines) == {name for name in TARGETS if is_engine(name)} == {"trt", "trt-rtx"}
    assert not is_engine("tpu")


def test_only_a_graph_that_no_rewrite_touched_is_a_network_again() -> None:
    assert {"onnx"} == FLOAT_TARGETS
    assert set(COMPILERS) == set(TARGETS)


def _decides_by_name(tree: ast.AST) -> Iterator[ast.Constant]:
    """Names of targets that something is compared with, looked up by or told to be."""
    for node in ast.walk(tree):
        places: list[ast.AST] = []
        if isinstance(node, ast.Compare):
            places = [node.left, *node.comparators]
        elif isinstance(node, ast.Dict):
            places = [key for key in node.keys if key is not None]
        elif isinstance(node, ast.keyword) and node.arg == "target":
            places = [node.value]
        for place in places:
            for constant in ast.walk(place):
                if isinstance(constant, ast.Constant) and constant.value in TARGETS:
                    yield constant


# Words for people, and nothing that is decided.
NAMES = LAYER / "targets" / "familiar_names.py"


@pytest.mark.parametrize(
    "path", sorted({*LAYER.rglob("*.py")} - {NAMES}), ids=lambda path: str(path.relative_to(LAYER))
)
def test_nothing_but_the_table_decides_by_a_targets_name(path: Path) -> None:
    names = [f"{each.value!r} in line {each.lineno}" for each in _decides_by_name(ast.parse(path.read_text("utf-8")))]
    assert not names, f"{path} decides by name: {names}; ask a field of Target"


def test_a_name_that_something_decides_by_is_found() -> None:
    planted = 'x = {"trt": 1}; y = name == "openvino"; z = name in {"trt", "trt-rtx"}; w = f(target="onnx")'
    assert len(list(_decides_by_name(ast.parse(planted)))) == 5
    assert not list(_decides_by_name(ast.parse('require("openvino", purpose="x"); y = ("onnx",)')))
