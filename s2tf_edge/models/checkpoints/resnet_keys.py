"""Names of weights in 3D-ResNets-PyTorch, pseudo-3d-pytorch and torchvision, all of which speak of layers 1 to 4."""

from __future__ import annotations

from typing import Final

from s2tf_edge.models.checkpoints.key_rules import Rules, conv_or_norm

__all__ = ["DOWNSAMPLE", "FC", "P3D", "RESNET3D", "TORCHVISION_R2PLUS1D", "TORCHVISION_RESNET", "TORCHVISION_S3D"]

FC: Final[Rules] = ((r"fc\.(?:\d\.)?(weight|bias)", lambda rest: f"backbone.head.fc.{rest}"),)
"""Bare or, as after fine-tuning, behind a dropout in a sequence."""

_P3D_STEPS: Final = {"1": "0", "2": "1.spatial", "3": "1.temporal", "4": "2", "_normal": "1"}

P3D: Final[Rules] = (
    (r"conv1_custom\.(.+)", lambda rest: f"backbone.stem.0.conv.{rest}"),
    (r"bn1\.(.+)", lambda rest: f"backbone.stem.0.norm.{rest}"),
    (
        r"layer([1-4])\.(\d+)\.(?:conv|(bn))([1-4]|_normal)\.(.+)",
        lambda layer, block, bn, step, rest: (
            f"backbone.stages.{int(layer) - 1}.{block}.branch.{_P3D_STEPS[step]}.{conv_or_norm(bn)}.{rest}"
        ),
    ),
)

DOWNSAMPLE: Final[Rules] = (
    (
        r"layer([1-4])\.(\d+)\.downsample\.(?:0|(1))\.(.+)",
        lambda layer, block, bn, rest: f"backbone.stages.{int(layer) - 1}.{block}.shortcut.{conv_or_norm(bn)}.{rest}",
    ),
)

RESNET3D: Final[Rules] = (
    (r"(?:conv|(bn))1\.(.+)", lambda bn, rest: f"backbone.stem.0.{conv_or_norm(bn)}.{rest}"),
    (
        r"layer([1-4])\.(\d+)\.(?:conv|(bn))([1-3])\.(.+)",
        lambda layer, block, bn, step, rest: (
            f"backbone.stages.{int(layer) - 1}.{block}.branch.{int(step) - 1}.{conv_or_norm(bn)}.{rest}"
        ),
    ),
)

_SEPARATED: Final = {"0": "spatial.conv", "1": "spatial.norm", "3": "temporal.conv", "4": "temporal.norm"}
"""By their place in torchvision's R(2+1)D: a convolution, its norm, a ReLU, a convolution, its norm."""

TORCHVISION_RESNET: Final[Rules] = (
    (r"stem\.(?:0|(1))\.(.+)", lambda bn, rest: f"backbone.stem.0.{conv_or_norm(bn)}.{rest}"),
    (
        r"layer([1-4])\.(\d+)\.conv([12])\.(?:0|(1))\.(.+)",
        lambda layer, block, step, bn, rest: (
            f"backbone.stages.{int(layer) - 1}.{block}.branch.{int(step) - 1}.{conv_or_norm(bn)}.{rest}"
        ),
    ),
)

TORCHVISION_R2PLUS1D: Final[Rules] = (
    (
        r"stem\.([0134])\.(.+)",
        lambda place, rest: f"backbone.stem.0.{_SEPARATED[place]}.{rest}",
    ),
    (
        r"layer([1-4])\.(\d+)\.conv([12])\.0\.([013])\.(.+)",
        lambda layer, block, step, place, rest: (
            f"backbone.stages.{int(layer) - 1}.{block}.branch.{int(step) - 1}.{_SEPARATED[place]}.{rest}"
        ),
    ),
    (
        r"layer([1-4])\.(\d+)\.conv([12])\.1\.(.+)",
        lambda layer, block, step, rest: (
            f"backbone.stages.{int(layer) - 1}.{block}.branch.{int(step) - 1}.temporal.norm.{rest}"
        ),
    ),
)

_S3D_PLACES: Final = {
    "2": "stages.0.0",
    "3": "stages.0.1",
    "5": "stages.1.1",
    "6": "stages.1.2",
    **{str(8 + block): f"stages.2.{1 + block}" for block in range(5)},
    "14": "stages.3.1",
    "15": "stages.3.2",
}
"""What torchvision's features are here; those that are missing are pools."""
_S3D_SIDES: Final = {"0": "spatial", "1": "temporal"}
_S3D_BRANCHES: Final = {"0": "single", "1": "second", "2": "third", "3": "pooled"}

TORCHVISION_S3D: Final[Rules] = (
    (
        r"features\.0\.([01])\.(?:0|(1))\.(.+)",
        lambda part, bn, rest: f"backbone.stem.0.{_S3D_SIDES[part]}.{conv_or_norm(bn)}.{rest}",
    ),
    (r"features\.2\.(?:0|(1))\.(\D.+)", lambda bn, rest: f"backbone.{_S3D_PLACES['2']}.{conv_or_norm(bn)}.{rest}"),
    (
        r"features\.3\.([01])\.(?:0|(1))\.(.+)",
        lambda part, bn, rest: f"backbone.{_S3D_PLACES['3']}.{_S3D_SIDES[part]}.{conv_or_norm(bn)}.{rest}",
    ),
    (
        r"features\.(5|6|8|9|1[01245])\.branch([12])\.1\.([01])\.(?:0|(1))\.(.+)",
        lambda place, branch, part, bn, rest: (
            f"backbone.{_S3D_PLACES[place]}.{_S3D_BRANCHES[branch]}.1.{_S3D_SIDES[part]}.{conv_or_norm(bn)}.{rest}"
        ),
    ),
    (
        r"features\.(5|6|8|9|1[01245])\.branch([0-3])\.((?:[01]\.)?)(?:0|(1))\.(\D.+)",
        lambda place, branch, inner, bn, rest: (
            f"backbone.{_S3D_PLACES[place]}.{_S3D_BRANCHES[branch]}.{inner}{conv_or_norm(bn)}.{rest}"
        ),
    ),
    (r"classifier\.1\.(.+)", lambda rest: f"backbone.head.fc.{rest}"),
)
