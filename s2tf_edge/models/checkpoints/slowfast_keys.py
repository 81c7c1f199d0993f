"""Names of weights in SlowFast, in the authors' release of S2TF-Net, which is built on it, and in PyTorchVideo."""

from __future__ import annotations

from typing import Final

from s2tf_edge.models.checkpoints.key_rules import Rules, conv_or_norm

__all__ = [
    "I3D_STEM",
    "PROJECTION",
    "PYTORCHVIDEO_HEAD",
    "PYTORCHVIDEO_STAGES",
    "PYTORCHVIDEO_STEM",
    "PYTORCHVIDEO_X3D_STEM",
    "SALIENCY",
    "SLOWFAST_STAGES",
    "X3D_HEAD",
    "X3D_STEM",
]

I3D_STEM: Final[Rules] = (
    (r"s1\.pathway0_stem\.(?:conv|(bn))\.(.+)", lambda bn, rest: f"backbone.stem.0.{conv_or_norm(bn)}.{rest}"),
)

X3D_STEM: Final[Rules] = (
    (r"s1\.pathway0_stem\.conv_xy\.(.+)", lambda rest: f"backbone.stem.spatial.{rest}"),
    (r"s1\.pathway0_stem\.(?:conv|(bn))\.(.+)", lambda bn, rest: f"backbone.stem.temporal.{conv_or_norm(bn)}.{rest}"),
)

SLOWFAST_STAGES: Final[Rules] = (
    (
        r"s([2-5])\.pathway0_(res\d+)\.branch1(_bn)?\.(.+)",
        lambda s, res, bn, rest: f"backbone.stages.{int(s) - 2}.{res}.shortcut.{conv_or_norm(bn)}.{rest}",
    ),
    (
        r"s([2-5])\.pathway0_(res\d+)\.branch2\.([abc])(_bn)?\.(.+)",
        lambda s, res, step, bn, rest: (
            f"backbone.stages.{int(s) - 2}.{res}.branch.{'abc'.index(step)}.{conv_or_norm(bn)}.{rest}"
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
        lambda s, block, bn, rest: f"backbone.stages.{int(s) - 2}.{block}.out.{conv_or_norm(bn)}.{rest}",
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

SALIENCY: Final[Rules] = (
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

PROJECTION: Final[Rules] = ((r"head\.projection\.(.+)", lambda rest: f"backbone.head.fc.{rest}"),)
X3D_HEAD: Final[Rules] = (
    (r"head\.conv_5(_bn)?\.(.+)", lambda bn, rest: f"backbone.head.conv5.{conv_or_norm(bn)}.{rest}"),
    (r"head\.lin_5\.(.+)", lambda rest: f"backbone.head.lin5.{rest}"),
)

PYTORCHVIDEO_STEM: Final[Rules] = (
    (r"blocks\.0\.(conv|norm)\.(.+)", lambda part, rest: f"backbone.stem.0.{part}.{rest}"),
)

# The names of the two convolutions are the wrong way round there.
PYTORCHVIDEO_X3D_STEM: Final[Rules] = (
    (r"blocks\.0\.conv\.conv_t\.(.+)", lambda rest: f"backbone.stem.spatial.{rest}"),
    (r"blocks\.0\.conv\.conv_xy\.(.+)", lambda rest: f"backbone.stem.temporal.conv.{rest}"),
    (r"blocks\.0\.norm\.(.+)", lambda rest: f"backbone.stem.temporal.norm.{rest}"),
)

PYTORCHVIDEO_STAGES: Final[Rules] = (
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

PYTORCHVIDEO_HEAD: Final[Rules] = (
    (r"blocks\.5\.proj\.(.+)", lambda rest: f"backbone.head.fc.{rest}"),
    (r"blocks\.5\.pool\.pre_(conv|norm)\.(.+)", lambda part, rest: f"backbone.head.conv5.{part}.{rest}"),
    (r"blocks\.5\.pool\.post_conv\.(.+)", lambda rest: f"backbone.head.lin5.{rest}"),
)
