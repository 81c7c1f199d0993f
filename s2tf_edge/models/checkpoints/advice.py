"""What to do about a checkpoint that does not fit: which part is missing, what it is instead, what to name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from torch import Tensor

from s2tf_edge.models.checkpoints.fitting import KeyReport
from s2tf_edge.models.checkpoints.formats import FORMATS
from s2tf_edge.words import first_few

__all__ = ["explain_misfit", "explain_unknown_keys"]

_SHORTCUT_FORMATS: Final = ("s2tfnet", "resnet3d")
"""Formats in which shortcuts may have no weights."""
_TO_ONNX: Final = (
    "there is no such network here; export it to ONNX from its own code and give that: "
    "s2tf-export NET.onnx --meta CLIP.json"
)
_STATISTICS: Final = (".running_mean", ".running_var")

_STRANGERS: Final[tuple[tuple[str, str], ...]] = (
    (r"non_local_block\.", "a network of MMAction2 with non-local blocks, of which three kinds have the same weights"),
    (r"(slow|fast)_path\.|pathway1|multipathway|^blocks\.\d+\.multi", "SlowFast with two pathways"),
    (r"(^|\.)(attn|attention|self_attn|qkv|cls_token|pos_embed\w*|cls_positional_encoding)(\.|$)", "a transformer"),
    (r"Conv3d_1a_7x7|Mixed_[345][b-f]|Mixed_5b", "an Inception I3D"),
    (r"(^|\.)conv[1-5][ab]\.", "C3D"),
    (r"(^|\.)(lstm|gru|rnn)\.|weight_ih_l0", "a recurrent network"),
)
"""Names in weights of networks that are not here."""


def explain_unknown_keys(state: Mapping[str, Tensor]) -> str:
    """What a checkpoint of no known format is, as far as its names say."""
    keys = list(state)
    if stranger := _stranger(keys):
        return f"holds the weights of {stranger} ({first_few(keys, 2)}); {_TO_ONNX}"
    if any(re.search(r"(^|\.)backbone\.stages\.\d", key) for key in keys):
        return (
            "has this package's own names, as s2tf-train's last.ckpt has them, and needs no import; "
            "give the model.pt beside it"
        )
    kernels = [value.ndim for key, value in state.items() if key.endswith("weight") and value.ndim > 2]
    if kernels and max(kernels) == 4:
        return f"holds the weights of a network of pictures (2D: {first_few(keys, 2)}); {_TO_ONNX}"
    if all(key.startswith(("fc.", "head.", "classifier.", "cls_head.")) for key in keys):
        return f"holds a classifier alone ({first_few(keys)}); give the file that has the whole network"
    return f"has keys of no known format ({first_few(keys)}); known are {', '.join(FORMATS)}"


def explain_misfit(
    report: KeyReport, found: Iterable[str], wanted: Iterable[str], *, fitting: Sequence[str] = ()
) -> str:
    """What is missing whole, and what to name or to give instead.

    Args:
        report: of a network that the weights do not fit.
        found: the checkpoint's keys by our names.
        wanted: the network's.
        fitting: names of networks whose weights are those of the checkpoint.
    """
    found, wanted = list(found), list(wanted)
    parts = _missing_parts(report, wanted)
    lack = f"; it lacks {' and '.join(parts)}" if parts else ""
    return _hint(report, found, wanted, fitting) + lack


def _stranger(keys: Iterable[str]) -> str | None:
    keys = list(keys)
    return next((what for pattern, what in _STRANGERS if any(re.search(pattern, key) for key in keys)), None)


def _missing_parts(report: KeyReport, wanted: Sequence[str]) -> list[str]:
    """Parts of the network of which the checkpoint has nothing."""
    missing = set(report.missing)
    groups = {"the stem": "backbone.stem.", "the classifier": "backbone.head."}
    groups |= {f"stage {index + 1} of 4": f"backbone.stages.{index}." for index in range(4)}
    parts = []
    for what, prefix in groups.items():
        keys = [key for key in wanted if key.startswith(prefix) and not key.endswith(".num_batches_tracked")]
        if keys and all(key in missing for key in keys):
            parts.append(what)
    if missing and all(key.endswith(_STATISTICS) for key in missing):
        parts.append(f"the statistics of {len(missing) // 2} batch norms")
    return parts


def _hint(report: KeyReport, found: Sequence[str], wanted: Sequence[str], fitting: Sequence[str]) -> str:
    if stranger := _stranger(report.unexpected):
        return f"it holds the weights of {stranger}; {_TO_ONNX}"
    if report.missing and all(key.endswith(_STATISTICS) for key in report.missing):
        return "save them too, as model.state_dict() does and model.named_parameters() does not"
    if report.missing and all(".shortcut." in key for key in report.missing) and report.format in _SHORTCUT_FORMATS:
        return "its shortcuts have no weights: add the option shortcut=A to the name of the network"
    if any(key.startswith("saliency.") for key in report.unexpected):
        return "it holds saliency modules: put s2tf_ before the network's name, or ssf_ if it has no TSFP"
    if any(key.startswith("saliency.fusion.reduce") for key in report.misshaped):
        return "fusion takes frames as channels: add the option frames=T that it was trained with"
    if any(".nonlocal" in key for key in (*report.missing, *report.unexpected)):
        return "nl_i3d has non-local blocks and i3d has none: name the other one"
    name = "name the network that it was trained as" + (f", {' or '.join(fitting)}" if fitting else "")
    theirs, ours = _blocks(found), _blocks(wanted)
    if theirs == ours:
        return name
    counts = f"its stages have {theirs} blocks where the network has {ours}"
    return f"{counts}: {name}" + ("" if fitting else ", or get the whole file")


def _blocks(keys: Iterable[str]) -> str:
    """Residual blocks by stage, such as ``3, 4, 6, 3``."""
    found = {match.groups() for key in keys if (match := re.match(r"backbone\.stages\.(\d)\.(?:res)?(\d+)\.", key))}
    return ", ".join(str(sum(stage == str(index) for stage, _ in found)) for index in range(4))
