"""Means over the clips of an epoch that neither a resumed run nor a division among processes changes."""

from __future__ import annotations

from typing import Any, Final

import lightning.pytorch as pl
import torch.distributed
from torch import Tensor

__all__ = ["EpochMeans"]

_VALIDATION: Final = "val_"

_Sums = dict[str, tuple[float, int]]
"""Of each name: the values times their clips, and the clips."""


class EpochMeans(pl.Callback):
    """Adds up what the steps of an epoch give, and logs the means at its end.

    The trainer's own means begin anew where a run resumes within an epoch, and take a process for a half of the clips
    whether it had half of them or not. These are kept in checkpoints, and count clips over all processes.
    """

    def __init__(self) -> None:
        self._sums: _Sums = {}
        self._rank = 0

    def add(self, name: str, value: Tensor, clips: int) -> None:
        """Counts a mean over ``clips`` clips; names of validation begin with ``val_``."""
        before, count = self._sums.get(name, (0.0, 0))
        self._sums[name] = (before + float(value) * clips, count + clips)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Learns which process this is."""
        del pl_module, stage
        self._rank = trainer.global_rank

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forgets a validation that did not come to its end."""
        del trainer, pl_module
        self._take(validation=True)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Logs the means of validation."""
        del trainer
        pl_module.log_dict(_means(_over_all_processes(self._take(validation=True))))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Logs the means of training."""
        del trainer
        pl_module.log_dict(_means(_over_all_processes(self._take(validation=False))))

    def state_dict(self) -> dict[str, Any]:
        """The sums so far, over all processes: each must ask for them, and the first writes them down."""
        return {"sums": _over_all_processes(self._sums)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the sums back, once."""
        self._sums = dict(state_dict["sums"]) if self._rank == 0 else {}

    def _take(self, *, validation: bool) -> _Sums:
        taken = {name: each for name, each in self._sums.items() if name.startswith(_VALIDATION) == validation}
        self._sums = {name: each for name, each in self._sums.items() if name not in taken}
        return taken


def _means(sums: _Sums) -> dict[str, float]:
    return {name: total / clips for name, (total, clips) in sums.items()}


def _over_all_processes(sums: _Sums) -> _Sums:
    """The same in each of them: added in the order of the processes, also where one has no clip and so no name."""
    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return dict(sums)
    parts: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, sums)
    added: _Sums = {}
    for name, (total, clips) in ((name, each) for part in parts for name, each in part.items()):
        before, count = added.get(name, (0.0, 0))
        added[name] = (before + total, count + clips)
    return added
