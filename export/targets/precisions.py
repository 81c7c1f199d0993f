"""Precisions that are none of a target's own; apart from the table of targets, whose imports take their time."""

from typing import Final

__all__ = ["AUTO"]

AUTO: Final = "auto"
"""The precision that stands for the fastest one."""
