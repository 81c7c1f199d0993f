"""How published implementations name their weights, and what those are called here."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from torch import Tensor

__all__ = ["FORMATS", "detect_format", "rename"]

Rules = tuple[tuple[str, Callable[..., str]], ...]
"""Patterns that a whole key matches, each with a function of its groups that gives our key."""


def _part(norm: str | None) -> str:
    return "norm" if norm else "conv"


_I3D: Final[Rules] = (
    (r"s1\.pathway0_stem\.(?:conv|(bn))\.(.+)", lambda bn, rest: f"backbone.stem.0.{_part(bn)}.{rest}"),
    (
        r"s([2-5])\.pathway0_(res\d+)\.branch1(_bn)?\.(.+)",
        lambda s, res, bn, rest: f"backbone.stages.{int(s) - 2}.{res}.shortcut.{_part(bn)}.{rest}",
    ),
    (
        r"s([2-5])\.pathway0_(res\d+)\.branch2\.([abc])(_bn)?\.(.+)",
        lambda s, res, step, bn, rest: (
            f"backbone.stages.{int(s) - 2}.{res}.branch.{'abc'.index(step)}.{_part(bn)}.{rest}"
        ),
    ),
    (
        r"s([2-5])\.pathway0_(nonlocal\d+)\.conv_(theta|phi|g)\.(.+)",
        lambda s, block, conv, rest: f"backbone.stages.{int(s) - 2}.{block}.{conv}.{rest}",
    ),
    (
        r"s([2-5])\.pathway0_(nonlocal\d+)\.(?:conv_out|(bn))\.(.+)",
        lambda s, block, bn, rest: f"backbone.stages.{int(s) - 2}.{block}.out.{_part(bn)}.{rest}",
    ),
)

_MINING_STEPS: Final = {
    "1": "blocks.0.reduce",
    "_S_1": "blocks.0.spatial",
    "_T_1": "blocks.0.temporal",
    "2": "blocks.0.expand",
    "3": "blocks.1.reduce",
    "_S_2": "blocks.1.spatial",
    "_T_2": "blocks.1.temporal",
    "4": "blocks.1.expand",
    "5": "project",
}

_SALIENCY: Final[Rules] = (
    (
        r"sidelayer([123])\.side_layer_3x3x3_conv(_[ST]_[12]|[1-5])\.(.+)",
        lambda stage, step, rest: f"saliency.miners.{int(stage) - 1}.{_MINING_STEPS[step]}.{rest}",
    ),
    (r"bn_one\.(.+)", lambda rest: f"saliency.norm.{rest}"),
    (
        r"TSPF_layer_([12])\.x_edge_layer([1-7])\.(.+)",
        lambda stage, layer, rest: f"saliency.preservers.{int(stage) - 1}.convs.{int(layer) - 1}.{rest}",
    ),
    (r"fusion_temp_mask\.fusion_1x1x1_1\.(.+)", lambda rest: f"saliency.fusion.reduce.{rest}"),
    (r"fusion_temp_mask\.fusion_1x1x1_2\.(.+)", lambda rest: f"saliency.fusion.project.{rest}"),
)

_FC: Final[Rules] = ((r"fc\.(.+)", lambda rest: f"backbone.head.fc.{rest}"),)
_PROJECTION: Final[Rules] = ((r"head\.projection\.(.+)", lambda rest: f"backbone.head.fc.{rest}"),)

_RESNET3D: Final[Rules] = (
    (r"(?:conv|(bn))1\.(.+)", lambda bn, rest: f"backbone.stem.0.{_part(bn)}.{rest}"),
    (
        r"layer([1-4])\.(\d+)\.(?:conv|(bn))([1-3])\.(.+)",
        lambda layer, block, bn, step, rest: (
            f"backbone.stages.{int(layer) - 1}.{block}.branch.{int(step) - 1}.{_part(bn)}.{rest}"
        ),
    ),
    (
        r"layer([1-4])\.(\d+)\.downsample\.(?:0|(1))\.(.+)",
        lambda layer, block, bn, rest: f"backbone.stages.{int(layer) - 1}.{block}.shortcut.{_part(bn)}.{rest}",
    ),
)

FORMATS: Final[Mapping[str, Rules]] = {
    "s2tfnet": _I3D + _RESNET3D + _SALIENCY + _FC,
    "slowfast": _I3D + _PROJECTION,
    "resnet3d": _RESNET3D + _FC,
}
"""The rules of each published format."""


def rename(state: Mapping[str, Tensor], *, format: str) -> dict[str, Tensor]:
    """The tensors of ``state`` under our names; one that no rule of ``format`` knows keeps its own."""
    return {_rename(key, FORMATS[format]): value for key, value in state.items()}


def detect_format(keys: Mapping[str, Tensor]) -> str | None:
    """The format that the keys of a checkpoint are named in, None for no known one."""
    if any(key.startswith(("sidelayer", "TSPF_layer", "fusion_temp_mask")) for key in keys):
        return "s2tfnet"
    if "s1.pathway0_stem.conv.weight" in keys:
        return "s2tfnet" if "fc.weight" in keys else "slowfast"
    if "layer1.0.conv1.weight" in keys and "conv1.weight" in keys and keys["conv1.weight"].ndim == 5:
        return "resnet3d"
    return None


def _rename(key: str, rules: Rules) -> str:
    for pattern, name in rules:
        if match := re.fullmatch(pattern, key):
            return name(*match.groups())
    return key
