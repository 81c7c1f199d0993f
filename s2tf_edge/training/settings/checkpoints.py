"""How much work a run that is killed may lose."""

from __future__ import annotations

from dataclasses import dataclass

from s2tf_edge.training.settings.declaring import UP_TO_INFINITY, setting

__all__ = ["CheckpointSettings"]


@dataclass(frozen=True, kw_only=True)
class CheckpointSettings:
    """When a run is written down beside the end of each epoch."""

    checkpoint_minutes: float = setting(
        10.0,
        "Minutes after which last.ckpt is written within an epoch as well; 0 after every step. 10 by default.",
        check=UP_TO_INFINITY,
        affects_weights=False,
    )
