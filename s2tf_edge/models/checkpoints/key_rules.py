"""How a published name of a weight becomes ours: patterns of whole keys."""

from __future__ import annotations

import re
from collections.abc import Callable

__all__ = ["Rules", "conv_or_norm", "renamed"]

Rules = tuple[tuple[str, Callable[..., str]], ...]
"""Patterns that a whole key matches, each with a function of its groups that gives our key."""


def conv_or_norm(norm: str | None) -> str:
    """The part of a ``ConvNorm`` that a key speaks of: its norm where a group matched."""
    return "norm" if norm else "conv"


def renamed(key: str, rules: Rules) -> str:
    """Our name of ``key``; one that no rule knows keeps its own."""
    for pattern, name in rules:
        if match := re.fullmatch(pattern, key):
            return name(*match.groups())
    return key
