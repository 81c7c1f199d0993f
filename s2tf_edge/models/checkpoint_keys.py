"""How published implementations name their weights, and what those are called here."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import torch
from torch import Tensor

__all__ = ["FORMATS", "detect_format", "rename"]

Rules = tuple[tuple[str, Callable[..., str]], ...]
"""Patterns that a whole key matches, each with a function of its groups that gives our key."""


def _part(norm: str | None) -> str:
    return "norm" if norm else "conv"


_I3D_STEM: Final[Rules] = (
    (r"s1\.pathway0_stem\.(?:conv|(bn))\.(.+)", lambda bn, rest: f"backbone.stem.0.{_part(bn)}.{rest}"),
)

_X3D_STEM: Final[Rules] = (
    (r"s1\.pathway0_stem\.conv_xy\.(.+)", lambda rest: f"backbone.stem.spatial.{rest}"),
    (r"s1\.pathway0_stem\.(?:conv|(bn))\.(.+)", lambda bn, rest: f"backbone.stem.temporal.{_part(bn)}.{rest}"),
)

_SLOWFAST_STAGES: Final[Rules] = (
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
        r"s([2-5])\.pathway0_(res\d+)\.branch2\.se\.(.+)",
        lambda s, res, rest: f"backbone.stages.{int(s) - 2}.{res}.branch.1.squeeze.{rest}",
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
_X3D_HEAD: Final[Rules] = (
    (r"head\.conv_5(_bn)?\.(.+)", lambda bn, rest: f"backbone.head.conv5.{_part(bn)}.{rest}"),
    (r"head\.lin_5\.(.+)", lambda rest: f"backbone.head.lin5.{rest}"),
)

_PYTORCHVIDEO_STEM: Final[Rules] = (
    (r"blocks\.0\.(conv|norm)\.(.+)", lambda part, rest: f"backbone.stem.0.{part}.{rest}"),
)

# The names of the two convolutions are the wrong way round there.
_PYTORCHVIDEO_X3D_STEM: Final[Rules] = (
    (r"blocks\.0\.conv\.conv_t\.(.+)", lambda rest: f"backbone.stem.spatial.{rest}"),
    (r"blocks\.0\.conv\.conv_xy\.(.+)", lambda rest: f"backbone.stem.temporal.conv.{rest}"),
    (r"blocks\.0\.norm\.(.+)", lambda rest: f"backbone.stem.temporal.norm.{rest}"),
)

_PYTORCHVIDEO_STAGES: Final[Rules] = (
    (
        r"blocks\.([1-4])\.res_blocks\.(\d+)\.branch1_(conv|norm)\.(.+)",
        lambda stage, block, part, rest: f"backbone.stages.{int(stage) - 1}.res{block}.shortcut.{part}.{rest}",
    ),
    (
        r"blocks\.([1-4])\.res_blocks\.(\d+)\.branch2\.norm_b\.1\.block\.([02])\.(.+)",
        lambda stage, block, layer, rest: (
            f"backbone.stages.{int(stage) - 1}.res{block}.branch.1.squeeze.fc{int(layer) // 2 + 1}.{rest}"
        ),
    ),
    (
        r"blocks\.([1-4])\.res_blocks\.(\d+)\.branch2\.(conv|norm)_([abc])\.(?:0\.)?(.+)",
        lambda stage, block, part, step, rest: (
            f"backbone.stages.{int(stage) - 1}.res{block}.branch.{'abc'.index(step)}.{part}.{rest}"
        ),
    ),
)

_PYTORCHVIDEO_HEAD: Final[Rules] = (
    (r"blocks\.5\.proj\.(.+)", lambda rest: f"backbone.head.fc.{rest}"),
    (r"blocks\.5\.pool\.pre_(conv|norm)\.(.+)", lambda part, rest: f"backbone.head.conv5.{part}.{rest}"),
    (r"blocks\.5\.pool\.post_conv\.(.+)", lambda rest: f"backbone.head.lin5.{rest}"),
)

_P3D_STEPS: Final = {"1": "0", "2": "1.spatial", "3": "1.temporal", "4": "2", "_normal": "1"}

_P3D: Final[Rules] = (
    (r"conv1_custom\.(.+)", lambda rest: f"backbone.stem.0.conv.{rest}"),
    (r"bn1\.(.+)", lambda rest: f"backbone.stem.0.norm.{rest}"),
    (
        r"layer([1-4])\.(\d+)\.(?:conv|(bn))([1-4]|_normal)\.(.+)",
        lambda layer, block, bn, step, rest: (
            f"backbone.stages.{int(layer) - 1}.{block}.branch.{_P3D_STEPS[step]}.{_part(bn)}.{rest}"
        ),
    ),
)

_DOWNSAMPLE: Final[Rules] = (
    (
        r"layer([1-4])\.(\d+)\.downsample\.(?:0|(1))\.(.+)",
        lambda layer, block, bn, rest: f"backbone.stages.{int(layer) - 1}.{block}.shortcut.{_part(bn)}.{rest}",
    ),
)

_RESNET3D: Final[Rules] = (
    (r"(?:conv|(bn))1\.(.+)", lambda bn, rest: f"backbone.stem.0.{_part(bn)}.{rest}"),
    (
        r"layer([1-4])\.(\d+)\.(?:conv|(bn))([1-3])\.(.+)",
        lambda layer, block, bn, step, rest: (
            f"backbone.stages.{int(layer) - 1}.{block}.branch.{int(step) - 1}.{_part(bn)}.{rest}"
        ),
    ),
)


class _Dialect(NamedTuple):
    """One family's names within a format."""

    format: str
    marks: tuple[str, ...]
    """Keys begin with each of these, and not so in the dialects behind it."""
    rules: Rules

    def fits(self, keys: Mapping[str, Tensor]) -> bool:
        return all(any(key.startswith(mark) for key in keys) for mark in self.marks)


_DIALECTS: Final = (
    _Dialect("s2tfnet", ("sidelayer",), _I3D_STEM + _SLOWFAST_STAGES + _RESNET3D + _DOWNSAMPLE + _SALIENCY + _FC),
    _Dialect("s2tfnet", ("s1.pathway0_stem.conv.", "fc."), _I3D_STEM + _SLOWFAST_STAGES + _FC),
    _Dialect("slowfast", ("s1.pathway0_stem.conv_xy.",), _X3D_STEM + _SLOWFAST_STAGES + _X3D_HEAD + _PROJECTION),
    _Dialect("slowfast", ("s1.pathway0_stem.conv.",), _I3D_STEM + _SLOWFAST_STAGES + _PROJECTION),
    _Dialect(
        "pytorchvideo",
        ("blocks.0.conv.conv_t.", "blocks.1.res_blocks."),
        _PYTORCHVIDEO_X3D_STEM + _PYTORCHVIDEO_STAGES + _PYTORCHVIDEO_HEAD,
    ),
    _Dialect(
        "pytorchvideo",
        ("blocks.0.conv.weight", "blocks.1.res_blocks."),
        _PYTORCHVIDEO_STEM + _PYTORCHVIDEO_STAGES + _PYTORCHVIDEO_HEAD,
    ),
    _Dialect("p3d", ("conv1_custom.", "layer1.0."), _P3D + _DOWNSAMPLE + _FC),
    _Dialect("resnet3d", ("conv1.", "layer1.0.conv1."), _RESNET3D + _DOWNSAMPLE + _FC),
)
"""Of those that fit a checkpoint, the first is meant."""

FORMATS: Final = tuple(dict.fromkeys(dialect.format for dialect in _DIALECTS))
"""Names of the published formats."""

_NORM_EPS: Final = 1e-5
_X3D_SHORTCUT: Final = "backbone.stages.0.res0.shortcut"


def rename(state: Mapping[str, Tensor], *, format: str) -> dict[str, Tensor]:
    """The tensors of ``state`` under our names and in our shapes.

    Args:
        state: weights by published name; one that no rule knows keeps its own.
        format: one of ``FORMATS``.
    """
    state = _number_blocks(state)
    dialects = [dialect for dialect in _DIALECTS if dialect.format == format]
    rules = next((dialect.rules for dialect in dialects if dialect.fits(state)), dialects[0].rules)
    # The weights of a 2D convolution, which P3D ends in, are those of a 3D one that sees one frame.
    ours = {_rename(key, rules): value.unsqueeze(2) if value.ndim == 4 else value for key, value in state.items()}
    return ours | _bare_shortcut(ours)


def detect_format(keys: Mapping[str, Tensor]) -> str | None:
    """The format that the keys of a checkpoint are named in, None for no known one."""
    if "conv1.weight" in keys and keys["conv1.weight"].ndim == 4:
        return None  # a ResNet of pictures
    return next((dialect.format for dialect in _DIALECTS if dialect.fits(keys)), None)


def _number_blocks(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Counts pytorchvideo's blocks without those that have no weights, such as I3D's pooling, so that 5 is the head."""
    found = [(re.match(r"blocks\.(\d+)\.", key), key, value) for key, value in state.items()]
    numbers = sorted({int(match[1]) for match, _, _ in found if match})
    return {
        f"blocks.{numbers.index(int(match[1]))}.{key[match.end() :]}" if match else key: value
        for match, key, value in found
    }


def _bare_shortcut(ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The norm that pytorchvideo's X3D leaves out behind its first shortcut, as one that changes nothing."""
    weight = ours.get(f"{_X3D_SHORTCUT}.conv.weight")
    if weight is None or f"{_X3D_SHORTCUT}.norm.weight" in ours or "backbone.stem.spatial.weight" not in ours:
        return {}
    zeros, ones = torch.zeros(len(weight)), torch.ones(len(weight))
    values = {"weight": ones * math.sqrt(1 + _NORM_EPS), "bias": zeros, "running_mean": zeros, "running_var": ones}
    return {f"{_X3D_SHORTCUT}.norm.{name}": value for name, value in values.items()}


def _rename(key: str, rules: Rules) -> str:
    for pattern, name in rules:
        if match := re.fullmatch(pattern, key):
            return name(*match.groups())
    return key
