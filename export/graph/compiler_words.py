"""What a compiler says of a network that it refuses, in one line and without its own source files."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["compiler_words"]

_MOST: Final = 240
"""Characters, as some list all that they would have taken."""
_NO_CUDA: Final = r"\[checkMacros\.cpp::catchCudaError[^\n]*"
_LEFT_OUT: Final = (
    # OpenVINO: where in its code, which of its operators, and what it tried after that.
    r"Exception from \S+:\d*:?",
    r"(?:Check|While validating(?: ONNX)? node) '[^\n]*?'(?: failed at \S+?:\d+|(?= with friendly_name)|(?=:)):?",
    r"with friendly_name '[^\n]*?':",
    r"Shape inference input shapes [^\n]*",
    r"FrontEnd API failed with \w+:",
    r"Unsupported operation of type: [^\n]*",
    r"Not Implemented:|Details:",
    r"Cannot fallback on [^\n]*",
    # ONNX Runtime: codes, functions with their signatures, conditions.
    r"\[ONNXRuntimeError\] : \d+ : \w+ : ",
    r"(?:Non-zero status code returned while running|Could not find an implementation for) \w+ node\. Name:'[^']*' ",
    r" node with name '[^']*'",
    r"Status Message: |Fatal error: |Exception during initialization: |Load model from [^\n]*? failed: ?",
    r"/\S+\.(?:h|cc|cpp):\d+ [^\n]*?\)(?: const)?(?: \[with [^\n]*?\])? (?=[\[\w'])",
    r"[^\n]*? was false\.? ?",
    r"(?:Node \([^)]*\) Op \(\w+\)|\[\w+Error\]|Inference error\(s\): |\(op_type:\w+, node name: [^)]*\):) ?",
    # TensorRT.
    _NO_CUDA,
    r"Invalid Node - \S+",
    r"\bI\w+::\w+: Error Code \d+: ",
    r"(?:API Usage|Internal) Error ",
    r"\(?\[\w+\.h:\d+: \w+\] (?:\w+Exception: )?",
    r" ?\bIn \w+ at [^\s()]+:\d+",
    r"Assertion failed: (?:[^\n]*: (?=[A-Z]))?",
    # All.
    r"\b[\w/]+\.(?:h|hpp|cc|cpp|cu):\d+:? (?:CHECK\(\w+\) failed\. ?|[A-Z][a-z]+[A-Z]\w+ )?",
)
_QUOTED: Final = re.compile(r'.+ && "(.+)"$')


def compiler_words(message: str) -> str:
    """The telling part of an error message.

    Args:
        message: all that a compiler or runtime said.

    Returns:
        One line, cut where it is long; says so where nothing is told.
    """
    text = message.partition("with a message:")[2] or message
    text = re.split(r"\n\s*Summary:", text)[0]
    for expression in _LEFT_OUT:
        text = re.sub(expression, "", text)
    lines = [words for line in text.splitlines() if (words := _tidy(line))]
    if not lines:
        return _condition(message) or "it gave no reason"
    words = lines[-1] if "Exception from" in message else " ".join(lines)
    words = _QUOTED.sub(r"\1", words)
    return words if len(words) <= _MOST else f"{words[:_MOST]} …"


def _tidy(line: str) -> str:
    words = " ".join(line.split()).strip(" :")
    # What stood around the words has left its brackets.
    words = words.removesuffix(")") if words.count(")") > words.count("(") else words
    if words.startswith("(") and words.endswith(")"):
        return words[1:-1].strip()
    return words.removeprefix("(") if words.count("(") > words.count(")") else words


def _condition(message: str) -> str:
    """What was checked, where a compiler says no more than that it did not hold."""
    checks = re.findall(r"Check '([^\n]+?)' failed", message)
    return f"its check {checks[-1]} failed" if checks else ""
