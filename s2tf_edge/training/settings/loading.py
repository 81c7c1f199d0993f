"""How clips get from videos into batches."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from s2tf_edge.errors import UsageError
from s2tf_edge.option_fields import counts
from s2tf_edge.training.settings.declaring import setting

__all__ = ["RAM", "LoadingSettings"]

RAM: Final = "ram"
"""In place of a folder, for a cache in memory."""
_CLIPS_OF_A_PASS: Final = 240


def _check_cache(name: str, value: str) -> None:
    if not value.strip() or Path(value).is_file():
        msg = f"`{name}` takes {RAM} or a folder, got {value!r}"
        raise UsageError(msg)


@dataclass(frozen=True, kw_only=True)
class LoadingSettings:
    """How many clips of each video, how many in a batch, and who reads them."""

    clips_per_video: int = setting(
        0,
        "Clips taken of each training video in an epoch; 0 takes as many as make 240 or more in all.",
        check=counts(0),
    )
    batch_size: int = setting(8, "Clips in a step, on each process; 8 by default.", check=counts(1))
    workers: int = setting(
        1,
        "Processes that read videos, 0 reads in the training process; 1 by default.",
        check=counts(0),
        affects_weights=False,
    )
    cache: str | None = setting(
        None,
        "Keep scaled frames, as far as they fit: in memory for this run, or in a folder for others as well.",
        check=_check_cache,
        metavar="ram|DIR",
        affects_weights=False,
    )

    def repeats(self, videos: int) -> int:
        """How many clips of each of ``videos`` videos make an epoch."""
        return self.clips_per_video or math.ceil(_CLIPS_OF_A_PASS / videos)
