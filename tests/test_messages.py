"""The library speaks Python: it names fields and arguments, and leaves flags to the command line."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("s2tf_edge", "runtime", "calibration", "export")
OTHERS = {"s2tf_edge/cli", *(f"s2tf_edge/{layer}" for layer in LAYERS)}
"""The commands, which do speak of flags; and links to the other layers."""
MODULES = [
    path.relative_to(ROOT).as_posix()
    for layer in LAYERS
    for path in sorted((ROOT / layer).rglob("*.py"))
    if not any(path.is_relative_to(ROOT / other) for other in OTHERS)
]
FLAG = re.compile(r"(?<![\w-])--[a-z][\w-]*")
COMMAND = re.compile(r"\bs2tf-[a-z]+ .*", re.DOTALL)
"""A command line, to be typed as it is."""
WORDS = ("export/rebuild.py", "export/targets/tensorrt_options.py", "runtime/reporting/verdict.py")
"""Modules that put command lines together, of our commands or of trtexec, a word at a time."""
NO_MESSAGES = {
    "export/options.py": "Points of top-1 on --eval that int8 may lose",  # help, which is for the command line
    "export/sensitivity_page.py": "<!doctype html>",  # a page for who ran the command
    "runtime/reporting/svg.py": "--",  # variables of CSS
    "runtime/web/routes.py": "--picture\r\nContent-Type",
}


def _texts(tree: ast.AST) -> list[str]:
    """All strings but docstrings; of an f-string the text, with {} for each value."""
    texts: list[str] = []

    class Strings(ast.NodeVisitor):
        def visit_Expr(self, node: ast.Expr) -> None:
            if not isinstance(node.value, ast.Constant):
                self.generic_visit(node)

        def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
            texts.append("".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values))
            for part in node.values:
                if isinstance(part, ast.FormattedValue):
                    self.visit(part.value)

        def visit_Constant(self, node: ast.Constant) -> None:
            if isinstance(node.value, str):
                texts.append(node.value)

    Strings().visit(tree)
    return texts


def _flags(source: str, module: str) -> list[str]:
    found = []
    for text in _texts(ast.parse(source)):
        is_word = module in WORDS and FLAG.match(text) and " " not in text
        is_other = module in NO_MESSAGES and text.startswith(NO_MESSAGES[module])
        if not is_word and not is_other:
            found += FLAG.findall(COMMAND.sub("", text))
    return found


@pytest.mark.parametrize("module", MODULES)
def test_no_message_names_a_flag(module: str) -> None:
    assert _flags((ROOT / module).read_text(encoding="utf-8"), module) == []


@pytest.mark.parametrize(
    "line",
    [
        'msg = "leave out --mask"',
        'msg = f"{path}: give --eval DATA"',
        'raise UsageError(f"{path} " "is no --out")',
        'logger.warning("%s is without --meta", path)',
    ],
)
def test_a_flag_would_be_found(line: str) -> None:
    assert _flags(line, "export/plan.py")


def test_a_command_line_is_none() -> None:
    assert _flags('msg = f"build it again: s2tf-export {path} --target {target}"', "export/plan.py") == []
