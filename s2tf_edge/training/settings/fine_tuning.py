"""How much of a pretrained network changes."""

from __future__ import annotations

from dataclasses import dataclass

from s2tf_edge.option_fields import check_expressions
from s2tf_edge.training.settings.declaring import ABOVE_ZERO, POSITIVE_SHARE, setting

__all__ = ["FineTuningSettings"]


def _check_expression(name: str, value: str) -> None:
    check_expressions(name, [value])


@dataclass(frozen=True, kw_only=True)
class FineTuningSettings:
    """For runs that start from other weights than random ones."""

    freeze: str | None = setting(
        None,
        r"Weights that stay as they are, with the statistics of their norms: those in whose name this is found, as in "
        r"'^backbone\.(stem|stages)'.",
        check=_check_expression,
        metavar="REGEX",
    )
    backbone_lr_scale: float = setting(
        1.0, "Learning rate of stem and stages, as a multiple of the classifier's.", check=ABOVE_ZERO
    )
    layer_decay: float = setting(
        1.0,
        "Learning rate of each of stem, four stages and classifier, as a share of the one after it.",
        check=POSITIVE_SHARE,
    )

    @property
    def holds_weights_back(self) -> bool:
        """Whether anything learns less than it might, which random weights should not."""
        return self.freeze is not None or self.backbone_lr_scale < 1 or self.layer_decay < 1
