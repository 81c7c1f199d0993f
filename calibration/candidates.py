"""Candidates: what was tried to find the fastest form of a network, be it presets of int8 or precisions.

In an artifact's ``meta.json`` they are a list of ``{"recipe": name, "result": "ok", "ms": 14.2}``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

__all__ = ["Candidate", "read_candidates", "tabulate"]

_OK: Final = "ok"
_KEYS: Final = ("candidates", "attempts")
"""Where they are in the ``build`` of ``meta.json``: precisions and, of an artifact of one precision, presets."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One form that was tried, and what became of it."""

    name: str
    """Of the preset or precision."""
    result: str = _OK
    """``ok``, or why it is out: the compiler's words, or how its logits differ."""
    milliseconds: float | None = None
    """Shortest time of one clip on this machine; None where it was not timed."""
    integer_layers: int | None = None
    """Convolutions and matrix products that compute in integers; None where they were not counted."""
    path: Path | None = None
    """What was written; None where it does not compile, and for candidates read from ``meta.json``."""

    @property
    def is_ok(self) -> bool:
        """Whether it compiles and agrees with the network."""
        return self.result == _OK

    @property
    def written(self) -> Path:
        """``path`` of a candidate that compiles.

        Raises:
            ValueError: it does not.
        """
        if self.path is None:
            msg = f"there is no file of {self.name}: {self.result}"
            raise ValueError(msg)
        return self.path

    def to_dict(self) -> dict[str, Any]:
        """For ``calib.json`` and ``meta.json``."""
        return {"recipe": self.name, "result": self.result, "ms": self.milliseconds}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Candidate:
        """Reads what ``to_dict`` gives."""
        return cls(name=values["recipe"], result=values["result"], milliseconds=values["ms"])


def read_candidates(build: Mapping[str, Any]) -> list[Candidate]:
    """The candidates that an artifact was chosen from, in the order in which they were tried.

    Args:
        build: of the artifact's ``meta.json``.

    Returns:
        Precisions where several were tried, else presets; empty where there was no choice.
    """
    found: Sequence[Mapping[str, Any]] = next((build[key] for key in _KEYS if key in build), ())
    return [Candidate.from_dict(values) for values in found]


def tabulate(candidates: Sequence[Candidate]) -> list[str]:
    """One line for each candidate: its name, and milliseconds or why it is out; the fastest is marked.

    Args:
        candidates: one or more.
    """
    width = max((len(each.name) for each in candidates), default=0)
    fastest = min((each.milliseconds for each in candidates if each.milliseconds is not None), default=None)

    def outcome(candidate: Candidate) -> str:
        if candidate.milliseconds is None:
            return candidate.result.partition("\n")[0]
        return f"{candidate.milliseconds:8.2f} ms" + ("  fastest" if candidate.milliseconds == fastest else "")

    return [f"  {each.name:{width}}  {outcome(each)}" for each in candidates]
