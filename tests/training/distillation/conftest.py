"""A teacher that really looks at clips, and counts how often it is asked."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from s2tf_edge.spec import ClipSpec
from s2tf_edge.training.distillation.teacher import Clips


class Projector:
    """Scores clips by a fixed random projection of their mean picture."""

    name = "projector"
    fingerprint = "0123456789abcdef"
    batch = 2

    def __init__(self, labels: tuple[str, ...] = ("red", "green", "blue")) -> None:
        self.labels = labels
        self.spec = ClipSpec(frames=12, size=16, fps=15)
        self.seen = 0

    def score(self, clips: Clips) -> NDArray[np.float32]:
        """Logits [N, M]."""
        self.seen += len(clips)
        pictures = clips.mean(axis=(1, 2)).reshape(len(clips), -1)
        weights = np.random.default_rng(0).standard_normal((pictures.shape[1], len(self.labels)))
        logits: NDArray[np.float32] = (pictures @ weights).astype(np.float32)
        return logits


@pytest.fixture
def projector() -> Projector:
    return Projector()
