"""The loss of a student: labels and teacher, each by its share.

    (1 - w) · CE(z, y) + w · T² · KL(softmax(t / T) ‖ softmax(z' / T))

``z'`` are the student's logits of the teacher's classes, ``t`` the teacher's (Hinton et al., "Distilling the Knowledge
in a Neural Network", 2015); T² keeps the gradients of the second term at the size of the first's. Of a clip without a
label the second term alone counts, in full.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from s2tf_edge.training.losses import S2TFLoss

__all__ = ["DistillationLoss", "TargetLayout"]


@dataclass(frozen=True, kw_only=True)
class TargetLayout:
    """Where in a row of targets, float32 [K + M + 1], what stands.

    All of it may be mixed with that of another clip, as mixup does: every part is linear.

        | K: the class, one-hot | M: the teacher's scores at the temperature | 1: whether the class is known |
    """

    classes: int
    """The student's (K)."""
    taught: int
    """Those that the teacher scores (M)."""
    shares_head: bool
    """Whether those are the student's own; otherwise its network has M logits more, after its own."""

    @property
    def logits(self) -> int:
        """The logits of the network while it is trained."""
        return self.classes if self.shares_head else self.classes + self.taught

    def row(self, label: int, scores: Tensor) -> Tensor:
        """Targets of one clip: its class, or -1; float32 [M] of the teacher."""
        own = torch.zeros(self.classes)
        if label >= 0:
            own[label] = 1
        return torch.cat([own, scores, torch.tensor([float(label >= 0)])])

    def split(self, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Classes [N, K], the teacher's scores [N, M], and how far each class is known [N]."""
        own, taught, known = torch.split(targets, [self.classes, self.taught, 1], dim=1)
        return own, taught, known.squeeze(1)

    def answers(self, targets: Tensor) -> Tensor:
        """Int64 [N]: the class that counts as right, of a mixed clip that of the larger part; -1 where nobody knows it.

        Where a label does not say it the teacher does, if its classes are the student's.
        """
        own, taught, known = self.split(targets)
        if not self.shares_head:
            return torch.where(known > 0, own.argmax(dim=1), -1)
        said = functional.one_hot(taught.argmax(dim=1), self.classes)
        return (own + (1 - known)[:, None] * said).argmax(dim=1)


class DistillationLoss(S2TFLoss):
    """The sum above, and the terms of the saliency modules.

    Args:
        layout: of targets and logits.
        weight: share of the teacher (w), in (0, 1].
        temperature: T, above zero.
        **options: of ``S2TFLoss``.
    """

    def __init__(self, layout: TargetLayout, *, weight: float, temperature: float, **options: Any) -> None:
        super().__init__(**options)
        self._layout = layout
        self._weight = weight
        self._temperature = temperature
        self.weights["distillation"] = 1.0

    def classify(self, logits: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Both terms, each by its share of every clip: scalars ``cross_entropy`` and ``distillation``."""
        layout, heat = self._layout, self._temperature
        own, taught, known = layout.split(target)
        share = (1 - self._weight) * known
        said = logits if layout.shares_head else logits[:, layout.classes :]
        apart = functional.kl_div(functional.log_softmax(said / heat, 1), taught, reduction="none").sum(1)
        wrong = functional.cross_entropy(
            logits[:, : layout.classes],
            # Of a clip that was mixed with one without a class, what is known of it.
            own / own.sum(1, keepdim=True).clamp_min(1e-6),
            label_smoothing=self.label_smoothing,
            reduction="none",
        )
        return {
            "cross_entropy": (share * wrong).mean(),
            "distillation": ((1 - share) * heat**2 * apart).mean(),
        }
