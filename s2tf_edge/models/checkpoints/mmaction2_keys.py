"""Names of weights in MMAction2, whose ``ConvModule`` holds a convolution, ``conv``, and a norm, ``bn``."""

from __future__ import annotations

from typing import Final

from s2tf_edge.models.checkpoints.key_rules import Rules, conv_or_norm

__all__ = ["MM_CSN", "MM_INFLATED", "MM_R2PLUS1D", "MM_X3D"]

_HEAD: Final[Rules] = ((r"cls_head\.fc_cls\.(.+)", lambda rest: f"backbone.head.fc.{rest}"),)
_STEM: Final[Rules] = ((r"conv1\.(?:conv|(bn))\.(.+)", lambda bn, rest: f"backbone.stem.0.{conv_or_norm(bn)}.{rest}"),)


def _stages(block: str) -> Rules:
    """Rules of a ResNet whose blocks are called ``block`` and a number here."""
    return (
        (
            r"layer([1-4])\.(\d+)\.conv([1-3])\.(?:conv|(bn))\.(.+)",
            lambda layer, index, step, bn, rest: (
                f"backbone.stages.{int(layer) - 1}.{block}{index}.branch.{int(step) - 1}.{conv_or_norm(bn)}.{rest}"
            ),
        ),
        (
            r"layer([1-4])\.(\d+)\.downsample\.(?:conv|(bn))\.(.+)",
            lambda layer, index, bn, rest: (
                f"backbone.stages.{int(layer) - 1}.{block}{index}.shortcut.{conv_or_norm(bn)}.{rest}"
            ),
        ),
    )


MM_INFLATED: Final[Rules] = _STEM + _stages("res") + _HEAD

MM_CSN: Final[Rules] = (
    *_STEM,
    (
        r"layer([1-4])\.(\d+)\.conv2\.([01])\.(?:conv|(bn))\.(.+)",
        lambda layer, index, part, bn, rest: (
            f"backbone.stages.{int(layer) - 1}.{index}.branch.1.{part}.{conv_or_norm(bn)}.{rest}"
        ),
    ),
    *_stages(""),
    *_HEAD,
)

_SIDES: Final = {"s": "spatial", "t": "temporal"}

MM_R2PLUS1D: Final[Rules] = (
    (
        r"conv1\.conv\.(?:conv|(bn))_([st])\.(.+)",
        lambda bn, side, rest: f"backbone.stem.0.{_SIDES[side]}.{conv_or_norm(bn)}.{rest}",
    ),
    (r"conv1\.bn\.(.+)", lambda rest: f"backbone.stem.0.temporal.norm.{rest}"),
    (
        r"layer([1-4])\.(\d+)\.conv([12])\.conv\.(?:conv|(bn))_([st])\.(.+)",
        lambda layer, index, step, bn, side, rest: (
            f"backbone.stages.{int(layer) - 1}.{index}.branch.{int(step) - 1}.{_SIDES[side]}.{conv_or_norm(bn)}.{rest}"
        ),
    ),
    (
        r"layer([1-4])\.(\d+)\.conv([12])\.bn\.(.+)",
        lambda layer, index, step, rest: (
            f"backbone.stages.{int(layer) - 1}.{index}.branch.{int(step) - 1}.temporal.norm.{rest}"
        ),
    ),
    (
        r"layer([1-4])\.(\d+)\.downsample\.conv\.(?:conv|(bn))_([st])\.(.+)",
        lambda layer, index, bn, side, rest: (
            f"backbone.stages.{int(layer) - 1}.{index}.shortcut.{_SIDES[side]}.{conv_or_norm(bn)}.{rest}"
        ),
    ),
    (
        r"layer([1-4])\.(\d+)\.downsample\.bn\.(.+)",
        lambda layer, index, rest: f"backbone.stages.{int(layer) - 1}.{index}.shortcut.temporal.norm.{rest}",
    ),
    *_HEAD,
)

MM_X3D: Final[Rules] = (
    (r"conv1_s\.conv\.(.+)", lambda rest: f"backbone.stem.spatial.{rest}"),
    (r"conv1_t\.(?:conv|(bn))\.(.+)", lambda bn, rest: f"backbone.stem.temporal.{conv_or_norm(bn)}.{rest}"),
    *_stages("res"),
    (
        r"layer([1-4])\.(\d+)\.se_module\.(.+)",
        lambda layer, index, rest: f"backbone.stages.{int(layer) - 1}.res{index}.branch.1.squeeze.{rest}",
    ),
    (r"conv5\.(?:conv|(bn))\.(.+)", lambda bn, rest: f"backbone.head.conv5.{conv_or_norm(bn)}.{rest}"),
    (r"cls_head\.fc1\.(.+)", lambda rest: f"backbone.head.lin5.{rest}"),
    (r"cls_head\.fc2\.(.+)", lambda rest: f"backbone.head.fc.{rest}"),
)
