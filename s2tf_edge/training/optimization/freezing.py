"""Weights that stay as they are."""

from __future__ import annotations

import logging
import re

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from s2tf_edge.errors import UsageError
from s2tf_edge.models import VideoNetwork

__all__ = ["find_frozen_norms", "freeze_weights"]

logger = logging.getLogger(__name__)


def freeze_weights(network: VideoNetwork, pattern: str) -> None:
    r"""Takes the weights in whose names ``pattern`` is found out of training.

    Args:
        network: its weights are named as in ``backbone.stem.conv.weight``, ``backbone.stages.0…``, ``backbone.head.…``
            and ``saliency.…``.
        pattern: a regular expression, such as ``^backbone\.(stem|stages)``.

    Raises:
        UsageError: it is found in no name, or in every one.
    """
    weights = dict(network.named_parameters())
    frozen = [name for name in weights if re.search(pattern, name)]
    if not frozen or len(frozen) == len(weights):
        raise UsageError(_explain(network, pattern, matches_all=bool(frozen)))
    for name in frozen:
        weights[name].requires_grad_(False)
    share = sum(weights[name].numel() for name in frozen), sum(weight.numel() for weight in weights.values())
    logger.info("frozen: %d of %d parameters, %d norms", *share, len(find_frozen_norms(network)))


def find_frozen_norms(network: nn.Module) -> tuple[str, ...]:
    """Names of the batch norms whose weights are all frozen; in eval mode their statistics stay as well."""
    return tuple(name for name, module in network.named_modules() if _is_frozen_norm(module))


def _is_frozen_norm(module: nn.Module) -> bool:
    own = list(module.parameters(recurse=False))
    return isinstance(module, _BatchNorm) and bool(own) and not any(weight.requires_grad for weight in own)


def _explain(network: VideoNetwork, pattern: str, *, matches_all: bool) -> str:
    parts = ["backbone.stem", "backbone.stages.0 to backbone.stages.3", "backbone.head"]
    parts += ["saliency"] * (network.saliency is not None)
    if matches_all:
        return (
            f"`freeze={pattern!r}` matches every weight of {network.name}, so that there is nothing to train; "
            r"leave the classifier out, as in `freeze='^backbone\.(stem|stages)|^saliency'`"
        )
    return f"`freeze={pattern!r}` matches no weight of {network.name}; names begin with {', '.join(parts)}"
