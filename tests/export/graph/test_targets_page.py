"""docs/targets.md shows the table of operators as it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from s2tf_edge.export.graph.capabilities import CAPABILITIES, Capability, Refusal
from s2tf_edge.export.targets.base import Target
from s2tf_edge.export.targets.registry import COMPILERS, TARGETS

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "targets.md").read_text(encoding="utf-8")


def compilers() -> list[str]:
    rows = [f"| `{target}` | {each.name} | {each.asked} |" for target, each in COMPILERS.items()]
    return ["| target | compiler | version |", "|---|---|---|", *rows]


def operators() -> list[str]:
    head = "".join(f" `{target}` |" for target in COMPILERS)
    functions = "".join(f" {_functions(TARGETS[target])} |" for target in COMPILERS)
    rows = [
        f"| {_operators(row)} |" + "".join(f" {_form(row, target)} |" for target in COMPILERS) for row in CAPABILITIES
    ]
    names = "functions in the file, among them those of domain `ai.s2tf`"
    return [f"| operator |{head}", "|---" * (len(COMPILERS) + 1) + "|", f"| {names} |{functions}", *rows]


def _functions(target: Target) -> str:
    if not target.may_keep:
        return "written out"
    return "kept, or written out on request" if target.rules.custom_ops == "keep" else "written out, or kept on request"


def _operators(row: Capability) -> str:
    return ", ".join(row.operators) + (f" {row.case}" if row.case else "")


def _form(row: Capability, target: str) -> str:
    form = row.forms.get(COMPILERS[target])
    if form is None:
        return "natively"
    return f"**refused**: {form.why}" if isinstance(form, Refusal) else f"by `{form.name}`: {form.why}"


@pytest.mark.parametrize(("name", "table"), [("compilers", compilers()), ("operators", operators())])
def test_the_page_is_in_step(name: str, table: list[str]) -> None:
    (shown,) = re.findall(rf"<!-- table: {name} -->\n(.*?)<!-- end -->", PAGE, flags=re.DOTALL)
    assert shown.splitlines() == table


def test_the_versions_are_those_that_are_pinned() -> None:
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    packages = {"onnx": "onnxruntime", "openvino": "openvino", "trt-rtx": "tensorrt-rtx-cu12-bindings"}
    for target, package in packages.items():
        assert re.search(rf"^{package}=={re.escape(COMPILERS[target].asked)}", pins, flags=re.MULTILINE)
