"""Which networks here have the weights of a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import torch
from torch import Tensor

from s2tf_edge.errors import UsageError
from s2tf_edge.models.checkpoints.fitting import compare_keys
from s2tf_edge.models.registry import create_model, list_backbones

__all__ = ["fitting_networks"]

_QUERIES: Final = {"r3d": ("", "shortcut=A")}
"""Options that change which weights a family has, to be tried."""


def fitting_networks(
    found: Mapping[str, Tensor],
    *,
    families: Sequence[str],
    num_classes: int,
    keep_head: bool = False,
    options: str = "",
) -> list[str]:
    """Names of the networks, with their options, whose weights are those that were found; nothing is computed.

    Args:
        found: weights by our names.
        families: to look through.
        num_classes: of the classifier.
        keep_head: whether the checkpoint's classifier does not count.
        options: of a name, to be tried with each: ``width=0.5&frames=8``.
    """
    form = _form(found)
    fitting = []
    for name in _names(families, form, options):
        wanted = _weights_of(name, num_classes)
        if wanted and compare_keys(wanted, found, format="", keep_head=keep_head).is_complete:
            fitting.append(name)
    return fitting


def _form(found: Mapping[str, Tensor]) -> str:
    if any(key.startswith("saliency.preservers.") for key in found):
        return "s2tf_"
    return "ssf_" if any(key.startswith("saliency.") for key in found) else ""


def _names(families: Sequence[str], form: str, options: str) -> Iterator[str]:
    for family in families:
        for backbone in list_backbones([family]):
            for query in _QUERIES.get(family, ("",)):
                queries = "&".join(part for part in (*_without(options, family), query) if part)
                yield f"{form}{backbone}" + (f"?{queries}" if queries else "")


def _without(options: str, family: str) -> list[str]:
    """``options`` but for those that are tried anyway."""
    tried = {query.partition("=")[0] for query in _QUERIES.get(family, ())}
    return [part for part in options.split("&") if part.partition("=")[0] not in tried]


def _weights_of(name: str, num_classes: int) -> Mapping[str, Tensor]:
    """Shapes of a network's weights; empty where there is no such network."""
    try:
        with torch.device("meta"):
            return create_model(name, num_classes=num_classes).state_dict()
    except UsageError:  # options of another family, or clips that this one does not take
        return {}
