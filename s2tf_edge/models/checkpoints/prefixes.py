"""What wrappers put before the names of weights: data parallelism, compilation, training frameworks, a user's class."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Final

from torch import Tensor

from s2tf_edge.models.checkpoints.formats import has_format
from s2tf_edge.words import first_few

__all__ = ["bare_names", "split_averaged"]

_WRAPPERS: Final = re.compile(
    r"(^|(?<=\.))(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module)\."
)
"""What ``torch.compile``, sharding and activation checkpoints put anywhere in a name."""
_AVERAGED: Final = re.compile(r"((?:module\.|model\.)*)(?:ema|ema_model|model_ema|ema_net|averaged_model|swa_model)\.")
_FLAT_AVERAGED: Final = "ema_"
"""How MMCV's hook begins names of averaged weights, in which dots are underscores."""
_OF_THE_LOSS: Final = re.compile(
    r"(criterion|\w*loss\w*|\w*metrics?|\w*_(?:acc|accuracy|auroc|f1)|(?:train|val|test)_\w+)\..+"
)
_SHARE: Final = 0.9
"""Of all names, that a prefix must stand before to be taken for one."""
_MAX_PREFIXES: Final = 8


def split_averaged(
    raw: Mapping[str, Tensor], averaged: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Weights and their averages, also where both stand in one set under different names.

    Args:
        raw: a set of weights, with averages among them or not.
        averaged: a set of averages from elsewhere in the checkpoint, if there is one.
    """
    own = {key: value for key, value in raw.items() if not _AVERAGED.match(key) and not _is_flat_average(key)}
    inside = {_AVERAGED.sub(r"\1", key, count=1): value for key, value in raw.items() if _AVERAGED.match(key)}
    flat = {_FLAT_AVERAGED + key.replace(".", "_"): key for key in own}
    inside |= {flat[key]: value for key, value in raw.items() if key in flat}
    return own, dict(averaged) or inside


def bare_names(state: Mapping[str, Tensor], *, format: str) -> tuple[dict[str, Tensor], list[str]]:
    """The weights without what wrappers put before their names, and notes of what was left out.

    A prefix that nearly all names share is taken off for as long as the names are those of no format.

    Args:
        state: weights by the names that they have in the file.
        format: to look for, or ``auto``.
    """
    bare = {_WRAPPERS.sub("", key): value for key, value in state.items() if not _is_counter(key, value)}
    stripped, beside, left_out = bare, dict[str, Tensor](), list[str]()
    for _ in range(_MAX_PREFIXES):
        if has_format(stripped | beside, format):
            return stripped | beside, [f"left out, as no part of the network: {first_few(left_out)}"] * bool(left_out)
        prefix = _shared_prefix(stripped)
        if prefix is None:
            break
        others = {key: value for key, value in stripped.items() if not key.startswith(prefix)}
        left_out += [key for key in others if _OF_THE_LOSS.fullmatch(key)]
        beside |= {key: value for key, value in others.items() if key not in left_out}
        stripped = {key.removeprefix(prefix): value for key, value in stripped.items() if key.startswith(prefix)}
    return bare, []


def _is_flat_average(key: str) -> bool:
    return key.startswith(_FLAT_AVERAGED) and "." not in key


def _is_counter(key: str, value: Tensor) -> bool:
    """A number of the training run, such as how many steps were averaged: a network's tensors lie in modules."""
    return "." not in key and value.numel() == 1


def _shared_prefix(state: Mapping[str, Tensor]) -> str | None:
    firsts = Counter(key.partition(".")[0] + "." for key in state if "." in key)
    prefix, count = next(iter(firsts.most_common(1)), ("", 0))
    return prefix if count and count >= _SHARE * len(state) else None
