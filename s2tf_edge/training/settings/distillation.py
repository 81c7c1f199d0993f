"""What is learned from a teacher, beside the labels."""

from __future__ import annotations

from dataclasses import dataclass

from s2tf_edge.option_fields import counts, in_range
from s2tf_edge.training.settings.declaring import ABOVE_ZERO, setting

__all__ = ["DistillationSettings"]


@dataclass(frozen=True, kw_only=True)
class DistillationSettings:
    """Of no effect without a teacher."""

    teacher_weight: float = setting(
        0.5,
        "Share of the loss that follows the teacher, the rest follows the labels; videos without labels follow the "
        "teacher alone.",
        check=in_range("in (0, 1]", lambda value: 0 < value <= 1),
    )
    temperature: float = setting(
        2.0,
        "What logits are divided by before teacher and student are compared; above 1 small scores count more.",
        check=ABOVE_ZERO,
    )
    teacher_views: int = setting(
        8,
        "At most so many clips of each video that the teacher sees, half a clip apart; training clips are drawn near "
        "them.",
        check=counts(1),
    )
