"""Statistics of batch norms for the weights that are kept, not a mixture of those of earlier steps.

"Precise BN": Wu and Johnson, "Rethinking 'Batch' in BatchNorm" (2021).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["measure_norms", "statistics_of"]


@torch.no_grad()
def measure_norms(
    network: nn.Module,
    batches: Iterable[Any],
    *,
    see: Callable[[Any], object] | None = None,
    frozen: Collection[str] = (),
) -> None:
    """Sets the statistics of batch norms to their means over ``batches``, each of which counts the same.

    Args:
        network: its weights and the modes of its modules stay as they are.
        batches: what it takes.
        see: has the network see a batch, where calling it would not do.
        frozen: names of norms that stay as they are.
    """
    modes = {module: module.training for module in network.modules()}
    norms = {norm: norm.momentum for name, norm in _named_norms(network) if name not in frozen}
    network.train()
    for name in frozen:
        network.get_submodule(name).eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a mean over all that comes
    for batch in batches:
        (see or network)(batch)
    for norm, momentum in norms.items():
        norm.momentum = momentum
    for module, mode in modes.items():
        module.training = mode


def statistics_of(network: nn.Module) -> list[Tensor]:
    """Means and variances of all batch norms."""
    found = [(norm.running_mean, norm.running_var) for _, norm in _named_norms(network)]
    return [value for pair in found for value in pair if value is not None]


def _named_norms(network: nn.Module) -> list[tuple[str, _BatchNorm]]:
    return [(name, module) for name, module in network.named_modules() if isinstance(module, _BatchNorm)]
