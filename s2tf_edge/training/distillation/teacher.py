"""What a teacher is to training: anything that names classes and says of clips how much they look like each."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from s2tf_edge.errors import InputFileError
from s2tf_edge.spec import ClipSpec

__all__ = ["Clips", "Teacher", "check_teacher"]


Clips = NDArray[np.float32] | NDArray[np.uint8]
"""In the layout and dtype of a ``ClipSpec``."""


class Teacher(Protocol):
    """A network that runs; an artifact's session behind it, or anything else."""

    @property
    def name(self) -> str:
        """To be read by users."""

    @property
    def fingerprint(self) -> str:
        """Hexadecimal digits that are the same for teachers that say the same of all clips."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Its classes (M)."""

    @property
    def spec(self) -> ClipSpec:
        """The clips it takes, which may be quite other ones than the student's."""

    @property
    def batch(self) -> int:
        """Clips that are best given to it at once."""

    def score(self, clips: Clips) -> NDArray[np.float32]:
        """Logits float32 [N, M] of clips in the layout and dtype of ``spec``."""


def check_teacher(teacher: Teacher) -> None:
    """Looks whether there is something to learn.

    Raises:
        InputFileError: it tells fewer than two classes apart.
    """
    if len(teacher.labels) < 2:
        named = f"one class alone ({teacher.labels[0]})" if teacher.labels else "no classes"
        msg = f"the teacher {teacher.name} names {named}, of which nothing can be learned; give one with two or more"
        raise InputFileError(msg)
