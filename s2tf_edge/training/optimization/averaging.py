"""A moving average of a network's weights (Polyak and Juditsky, 1992)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

__all__ = ["make_average"]

Tensors = tuple[Tensor, ...] | list[Tensor]


def make_average(network: nn.Module, decay: float) -> AveragedModel:
    """A copy of ``network`` for the average of its weights and buffers, such as the statistics of norms.

    ``update_parameters`` moves it. The average forgets its first weights, which are random, faster than the later ones:
    step t decays by ``min(decay, (1 + t) / (10 + t))``.
    """

    def move(averages: Tensors, current: Tensors, steps: Tensor | int) -> None:
        rising = (1 + int(steps)) / (10 + int(steps))
        get_ema_multi_avg_fn(min(decay, rising))(averages, current, steps)  # type: ignore[no-untyped-call]

    return AveragedModel(network, multi_avg_fn=move, use_buffers=True).requires_grad_(False)
