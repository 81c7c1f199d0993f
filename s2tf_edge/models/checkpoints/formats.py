"""The published formats: how each names its weights, and how a checkpoint is known for one of them.

s2tfnet       the authors' release: SlowFast's names with fc, sidelayer*, TSPF_layer_*, fusion_temp_mask beside them
slowfast      SlowFast's *.pyth of I3D, I3D-NLN, Slow and X3D: s1.pathway0_stem … head.projection
pytorchvideo  its X3D, Slow and I3D: blocks.0.conv, blocks.1.res_blocks … proj
mmaction2     its I3D, SlowOnly, X3D, R(2+1)D and CSN: conv1.conv, layer1.0.conv1.bn … cls_head.fc_cls
torchvision   its R3D, MC3, R(2+1)D and S3D: stem.0, layer1.0.conv1.0 … fc; features.0 … classifier.1
p3d           pseudo-3d-pytorch: conv1_custom, layer1.0 … fc
resnet3d      3D-ResNets-PyTorch: conv1, layer1.0 … fc
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import Final, NamedTuple

import torch
from torch import Tensor

from s2tf_edge.models.blocks import NORM_EPS
from s2tf_edge.models.checkpoints.key_rules import Rules, renamed
from s2tf_edge.models.checkpoints.mmaction2_keys import MM_CSN, MM_INFLATED, MM_R2PLUS1D, MM_X3D
from s2tf_edge.models.checkpoints.resnet_keys import (
    DOWNSAMPLE,
    FC,
    P3D,
    RESNET3D,
    TORCHVISION_R2PLUS1D,
    TORCHVISION_RESNET,
    TORCHVISION_S3D,
)
from s2tf_edge.models.checkpoints.slowfast_keys import (
    I3D_STEM,
    PROJECTION,
    PYTORCHVIDEO_HEAD,
    PYTORCHVIDEO_STAGES,
    PYTORCHVIDEO_STEM,
    PYTORCHVIDEO_X3D_STEM,
    SALIENCY,
    SLOWFAST_STAGES,
    X3D_HEAD,
    X3D_STEM,
)

__all__ = ["FORMATS", "detect_format", "families_of", "has_format", "rename", "shared_families"]

_OWN_NAMES: Final = ("backbone.stem.", "backbone.stages.0.")


class _Dialect(NamedTuple):
    """One family's names within a format."""

    format: str
    marks: tuple[str, ...]
    """Keys begin with each of these, and not so in the dialects behind it."""
    rules: Rules
    families: tuple[str, ...]
    """Of backbones whose weights are named so; another may have the same weights and compute something else."""
    prefix: str = ""
    """What may stand before the keys."""

    def fits(self, keys: Mapping[str, Tensor]) -> bool:
        bare = [key.removeprefix(self.prefix) for key in keys]
        return all(any(key.startswith(mark) for key in bare) for mark in self.marks)


_MM: Final = "backbone."
_DIALECTS: Final = (
    _Dialect(
        "s2tfnet",
        ("sidelayer",),
        I3D_STEM + SLOWFAST_STAGES + RESNET3D + DOWNSAMPLE + SALIENCY + FC,
        ("nl_i3d", "i3d", "slow", "r3d"),
    ),
    _Dialect("s2tfnet", ("s1.pathway0_stem.conv.", "fc."), I3D_STEM + SLOWFAST_STAGES + FC, ("nl_i3d", "i3d", "slow")),
    _Dialect("slowfast", ("s1.pathway0_stem.conv_xy.",), X3D_STEM + SLOWFAST_STAGES + X3D_HEAD + PROJECTION, ("x3d",)),
    _Dialect(
        "slowfast", ("s1.pathway0_stem.conv.",), I3D_STEM + SLOWFAST_STAGES + PROJECTION, ("nl_i3d", "i3d", "slow")
    ),
    _Dialect(
        "pytorchvideo",
        ("blocks.0.conv.conv_t.", "blocks.1.res_blocks."),
        PYTORCHVIDEO_X3D_STEM + PYTORCHVIDEO_STAGES + PYTORCHVIDEO_HEAD,
        ("x3d",),
    ),
    _Dialect(
        "pytorchvideo",
        ("blocks.0.conv.weight", "blocks.1.res_blocks."),
        PYTORCHVIDEO_STEM + PYTORCHVIDEO_STAGES + PYTORCHVIDEO_HEAD,
        ("i3d", "slow"),
    ),
    _Dialect("mmaction2", ("conv1_s.conv.", "layer1.0.conv1.conv."), MM_X3D, ("x3d",), _MM),
    _Dialect("mmaction2", ("conv1.conv.conv_s.", "layer1.0."), MM_R2PLUS1D, ("mm_r2plus1d",), _MM),
    _Dialect("mmaction2", ("conv1.conv.weight", "layer1.0.conv2.0."), MM_CSN, ("ir_csn", "ip_csn"), _MM),
    _Dialect("mmaction2", ("conv1.conv.weight", "layer1.0.conv1.conv."), MM_INFLATED, ("mm_i3d", "slow"), _MM),
    _Dialect("torchvision", ("features.0.0.0.", "features.5.branch0."), TORCHVISION_S3D, ("s3d",)),
    _Dialect("torchvision", ("stem.3.", "layer1.0.conv1.0.0."), TORCHVISION_R2PLUS1D + DOWNSAMPLE + FC, ("r2plus1d",)),
    _Dialect("torchvision", ("stem.0.", "layer1.0.conv1.0."), TORCHVISION_RESNET + DOWNSAMPLE + FC, ("tv_r3d", "mc3")),
    _Dialect("p3d", ("conv1_custom.", "layer1.0."), P3D + DOWNSAMPLE + FC, ("p3d",)),
    _Dialect("resnet3d", ("conv1.", "layer1.0.conv1."), RESNET3D + DOWNSAMPLE + FC, ("r3d",)),
)
"""Of those that fit a checkpoint, the first is meant."""

FORMATS: Final = tuple(dict.fromkeys(dialect.format for dialect in _DIALECTS))
"""Names of the published formats."""

_STEMS: Final = ("conv1.weight", "conv1.conv.weight", "backbone.conv1.conv.weight")
_X3D_SHORTCUT: Final = "backbone.stages.0.res0.shortcut"
_HEAD_WEIGHT: Final = "backbone.head.fc.weight"
_HIDDEN_WEIGHT: Final = "backbone.head.lin5.weight"


def rename(state: Mapping[str, Tensor], *, format: str) -> dict[str, Tensor]:
    """The tensors of ``state`` under our names and in our shapes.

    Args:
        state: weights by published name; one that no rule knows keeps its own.
        format: one of ``FORMATS``.
    """
    dialect = _dialect(state, format)
    state = _number_blocks({key.removeprefix(dialect.prefix): value for key, value in state.items()})
    names = {key: renamed(key, dialect.rules) for key in state}
    # Where two would share a name, such as the layers of a classifier that has two, neither is what we mean by it.
    uses = Counter(names.values())
    ours = {names[key] if uses[names[key]] == 1 else key: value for key, value in state.items()}
    ours = {key: _reshaped(key, value) for key, value in ours.items()}
    return ours | _bare_shortcut(ours)


def detect_format(keys: Mapping[str, Tensor]) -> str | None:
    """The format that the keys of a checkpoint are named in, None for no known one."""
    if any(key in keys and keys[key].ndim == 4 for key in _STEMS):
        return None  # a ResNet of pictures
    if all(any(key.startswith(mark) for key in keys) for mark in _OWN_NAMES):
        return None  # this package's own names, which need no import
    return next((dialect.format for dialect in _DIALECTS if dialect.fits(keys)), None)


def has_format(keys: Mapping[str, Tensor], format: str) -> bool:
    """Whether keys are named as ``format`` names them; ``auto`` stands for any."""
    if format == "auto":
        return detect_format(keys) is not None
    return any(dialect.fits(keys) for dialect in _DIALECTS if dialect.format == format)


def families_of(state: Mapping[str, Tensor], *, format: str) -> tuple[str, ...]:
    """Families of backbones whose weights are named as these are."""
    return _dialect(state, format).families


def shared_families() -> frozenset[str]:
    """All families that a format holds; one of a user's own is in none of them."""
    return frozenset(family for dialect in _DIALECTS for family in dialect.families)


def _dialect(state: Mapping[str, Tensor], format: str) -> _Dialect:
    dialects = [dialect for dialect in _DIALECTS if dialect.format == format]
    return next((dialect for dialect in dialects if dialect.fits(state)), dialects[0])


def _reshaped(key: str, value: Tensor) -> Tensor:
    """The same weights where a convolution over one value stands for a linear layer, or the other way round."""
    if key == _HEAD_WEIGHT and value.ndim == 5:
        return value.flatten(1)
    if key == _HIDDEN_WEIGHT and value.ndim == 2:
        return value[:, :, None, None, None]
    # The weights of a 2D convolution, which P3D ends in, are those of a 3D one that sees one frame.
    return value.unsqueeze(2) if value.ndim == 4 else value


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
    values = {"weight": ones * math.sqrt(1 + NORM_EPS), "bias": zeros, "running_mean": zeros, "running_var": ones}
    return {f"{_X3D_SHORTCUT}.norm.{name}": value for name, value in values.items()}
