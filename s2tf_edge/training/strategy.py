"""How several processes train one network."""

from __future__ import annotations

from typing import Any

import torch.distributed
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor

__all__ = ["SharedTraining", "share_buffers"]


class SharedTraining(DDPStrategy):
    """Averages gradients; validation is each process's own, so that one may have a clip more than the others.

    The wrapper that averages would have all of them take as many steps there, since it copies the statistics of norms
    at each. Parameters that a loss leaves out, such as an edge branch without its term, are left alone, as one process
    leaves them.
    """

    def __init__(self) -> None:
        super().__init__(find_unused_parameters=True)

    def validation_step(self, *args: Any, **kwargs: Any) -> Any:
        """The step of the network itself, outside of the wrapper."""
        assert self.lightning_module is not None
        with self.precision_plugin.val_step_context():
            return self.lightning_module.validation_step(*args, **kwargs)


def share_buffers(module: torch.nn.Module) -> None:
    """Gives all processes the first one's statistics of norms: they are what is validated and written down."""
    buffers: list[Tensor] = list(module.buffers())
    for buffer in buffers:
        torch.distributed.broadcast(buffer, src=0)
