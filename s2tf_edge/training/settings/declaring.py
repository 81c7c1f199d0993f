"""How settings are declared: a default, a help text, a check, and whether they decide in which weights a run ends."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Final

from s2tf_edge.option_fields import Check, Option, declare, in_range

__all__ = ["ABOVE_ZERO", "POSITIVE_SHARE", "SHARE", "UP_FROM_ZERO", "UP_TO_INFINITY", "Setting", "setting"]

SHARE: Final = in_range("in [0, 1)", lambda value: 0 <= value < 1)
POSITIVE_SHARE: Final = in_range("in (0, 1]", lambda value: 0 < value <= 1)
ABOVE_ZERO: Final = in_range("above zero and below infinity", lambda value: 0 < value < math.inf)
UP_FROM_ZERO: Final = in_range("at zero or above and below infinity", lambda value: 0 <= value < math.inf)
UP_TO_INFINITY: Final = in_range("at zero or above", lambda value: value >= 0)
"""What is never reached."""


@dataclass(frozen=True, kw_only=True)
class Setting(Option):
    """A setting as its users see it."""

    affects_weights: bool = True
    """Whether a run with another value ends in other weights: one that resumes must have the same then."""


def setting(
    default: Any, help: str, *, check: Check | None = None, metavar: str | None = None, affects_weights: bool = True
) -> Any:
    """A field of a settings dataclass."""
    option = Setting(help=help, check=check, metavar=metavar, affects_weights=affects_weights)
    return dataclasses.field(default=default, metadata=declare(option))
