"""Where in what a file holds the weights are: training loops put them beside much else, under many names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from s2tf_edge.errors import InputFileError
from s2tf_edge.words import first_few

__all__ = ["FoundWeights", "find_weights"]

_NAMES: Final = (
    "model_state",
    "state_dict",
    "model_state_dict",
    "model",
    "module",
    "weights",
    "network",
    "net",
    "params",
    "generator",
)
"""What weights are known to stand under, those that are taken first in front."""
_AVERAGED: Final = re.compile(r"(^|_)(ema|averaged?|swa|shadow)(_|$)", re.IGNORECASE)
_NOT_WEIGHTS: Final = re.compile(r"optim|sched|scaler|^amp$|callbacks|hyper_?param|loops|rng|history", re.IGNORECASE)
_MAX_DEPTH: Final = 4
_SHARD_KEYS: Final = ("zero_stage", "shard_metadata", "partition_count", "param_slice_mappings")


@dataclass(frozen=True, kw_only=True)
class FoundWeights:
    """Weights by published name; either may be empty, but not both."""

    raw: Mapping[str, Tensor]
    averaged: Mapping[str, Tensor]
    """A running average of the weights (EMA), kept beside them."""


def find_weights(path: Path, content: Any) -> FoundWeights:
    """The weights in what a checkpoint holds.

    Args:
        path: for messages.
        content: what ``torch.load`` gave.

    Raises:
        InputFileError: there are none, or several that may be meant.
    """
    _check_shard(path, content)
    found = dict(_states(content))
    averaged = {names: state for names, state in found.items() if any(_AVERAGED.search(name) for name in names)}
    raw = {names: state for names, state in found.items() if names not in averaged}
    if not found:
        raise InputFileError(_why_none(path, content))
    return FoundWeights(raw=_one_of(path, raw), averaged=_one_of(path, averaged))


def _states(content: Any, names: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, Tensor]]]:
    """All sets of weights, each with the names that lead to it."""
    if not isinstance(content, Mapping) or len(names) > _MAX_DEPTH or "param_groups" in content:
        return
    if _is_state(content):
        yield names, {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
        return
    for key, value in content.items():
        if not _NOT_WEIGHTS.search(str(key)):
            yield from _states(value, (*names, str(key)))


def _is_state(content: Mapping[Any, Any]) -> bool:
    tensors = [key for key, value in content.items() if isinstance(value, Tensor)]
    if not tensors or not all(isinstance(key, str) for key in content) or 2 * len(tensors) < len(content):
        return False
    return any("." in key for key in tensors) or not any(isinstance(value, Mapping) for value in content.values())


def _one_of(path: Path, states: Mapping[tuple[str, ...], dict[str, Tensor]]) -> dict[str, Tensor]:
    if not states:
        return {}
    known = sorted(
        (len(names), _NAMES.index(names[-1]) if names and names[-1] in _NAMES else -1, names)
        for names in states
        if not names or names[-1] in _NAMES
    )
    if known:
        return states[known[0][2]]
    if len(states) == 1:
        return next(iter(states.values()))
    places = [".".join(names) for names in states]
    msg = (
        f"{path} holds {len(states)} sets of weights ({first_few(places)}), of which none is known to be that of the "
        "network; save that alone: torch.save(checkpoint['NAME'], 'weights.pth')"
    )
    raise InputFileError(msg)


def _check_shard(path: Path, content: Any) -> None:
    nested = content.get("optimizer_state_dict") if isinstance(content, Mapping) else None
    keys = {str(key) for part in (content, nested) if isinstance(part, Mapping) for key in part}
    if "zero_pp_rank" in path.name or any(key in keys for key in _SHARD_KEYS):
        msg = (
            f"{path} is one part of a sharded checkpoint; gather the parts into one file first, with DeepSpeed: "
            "python zero_to_fp32.py FOLDER weights.pth"
        )
        raise InputFileError(msg)


def _why_none(path: Path, content: Any) -> str:
    if not isinstance(content, Mapping):
        kind = "one tensor" if isinstance(content, Tensor) else f"a {type(content).__name__}"
        return f"{path} holds {kind} and no weights by name; save a network's: torch.save(model.state_dict(), 'w.pth')"
    keys: Sequence[str] = [str(key) for key in content]
    if any(_NOT_WEIGHTS.search(key) for key in keys) or "param_groups" in keys:
        what = f"the state of a training run ({first_few(keys)}) without the network's weights"
        return f"{path} holds {what}; give the file that was saved beside it for the network"
    names = ", ".join(_NAMES[:5])
    return f"{path} holds no weights at its top nor under {names} ({first_few(keys) or 'it is empty'})"
