"""What every integer quantizer offers, whatever it quantizes for: presets, and layers that can be excluded.

A preset is one way to quantize. Which one is fastest, and whether the target's compiler takes it at all, is found by
trying (``search``); which layers cost accuracy, by returning them to float (``gate``).
"""

from __future__ import annotations

import abc
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from s2tf_edge.runtime.evaluation.accuracy import Drop
from s2tf_edge.runtime.session import Session

if TYPE_CHECKING:
    # It reads ONNX graphs, which a device that builds an engine has nothing for.
    from s2tf_edge.calibration.audit import Audit

__all__ = ["Judge", "Quantizer"]


class Judge(Protocol):
    """Says whether an integer form may stand for its network; sessions are open."""

    def find_disagreement(self, session: Session) -> str | None:
        """How the logits differ from the network's; None if they agree."""

    def measure_drop(self, session: Session) -> Drop:
        """The top-1 that is lost.

        Raises:
            UsageError: there are no labeled videos to measure it on.
        """


class Quantizer(abc.ABC):
    """Makes integer forms of one network for one target.

    Attributes:
        presets: ways to quantize, all of which are worth trying.
    """

    presets: tuple[str, ...]

    @abc.abstractmethod
    def list_layers(self, preset: str) -> tuple[str, ...]:
        """Names of the layers that a preset quantizes, in the order in which they run."""

    @abc.abstractmethod
    def write(self, preset: str, folder: Path, *, excluded: Collection[str] = ()) -> Path:
        """Writes an integer form.

        Args:
            preset: one of ``presets``.
            folder: where to.
            excluded: layers that stay in float.

        Returns:
            The file that a runtime opens.
        """

    @abc.abstractmethod
    def make_session(self, path: Path) -> Session:
        """A session, not yet open, for what ``write`` wrote."""

    @abc.abstractmethod
    def audit(self, session: Session) -> Audit:
        """What an open session of ``make_session`` computes in, layer by layer."""

    @abc.abstractmethod
    def describe(self, preset: str) -> dict[str, Any]:
        """Method and ranges of activations, for ``calib.json``."""
