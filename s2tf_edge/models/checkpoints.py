"""Published checkpoints: their names for weights turned into ours, and every difference reported.

s2tfnet       the authors' release: SlowFast's names with fc, sidelayer*, TSPF_layer_*, fusion_temp_mask beside them
slowfast      SlowFast's *.pyth of I3D, I3D-NLN, Slow and X3D: s1.pathway0_stem … head.projection
pytorchvideo  its X3D, Slow and I3D: blocks.0.conv, blocks.1.res_blocks … proj
resnet3d      3D-ResNets-PyTorch: conv1, layer1.0 … fc, perhaps behind module.
p3d           pseudo-3d-pytorch: conv1_custom, layer1.0 … fc
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.file_kinds import PUBLISHED, check_kind
from s2tf_edge.models.checkpoint_keys import FORMATS, detect_format, rename
from s2tf_edge.models.model_file import read_tensors
from s2tf_edge.models.registry import create_model
from s2tf_edge.models.s2tf import VideoNetwork

__all__ = ["KeyReport", "import_checkpoint", "load_published"]

_CONTAINERS: Final = ("model_state", "state_dict")
_HEAD: Final = "backbone.head.fc."
_HEAD_WEIGHT: Final = "backbone.head.fc.weight"
_SALIENCY_GROUPS: Final = ("saliency.", "saliency.preservers.")
"""Modules that may start fresh, each only as a whole: all of them, or TSFP alone."""
_SHORTCUT_FORMATS: Final = ("s2tfnet", "resnet3d")
"""Formats in which shortcuts may have no weights."""
_SHOWN_KEYS: Final = 4


@dataclass(frozen=True, kw_only=True)
class KeyReport:
    """How a checkpoint's weights and a network's compare, by this package's names where it has one."""

    format: str
    loaded: int
    """Tensors of the checkpoint that the network took."""
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    misshaped: tuple[str, ...] = ()
    """Each with both shapes."""
    fresh: tuple[str, ...] = ()
    """Weights of the saliency modules or the new head, which start as ``create_model`` made them."""

    @property
    def is_complete(self) -> bool:
        """Whether every weight found its place."""
        return not (self.missing or self.unexpected or self.misshaped)

    def differences(self) -> str:
        """Counts and the first few keys of what did not fit."""
        kinds = {"missing": self.missing, "unexpected": self.unexpected, "of another shape": self.misshaped}
        return "; ".join(f"{len(keys)} {kind}: {_first(keys)}" for kind, keys in kinds.items() if keys)


def import_checkpoint(
    path: str | Path,
    *,
    model: str,
    format: str = "auto",
    labels: Sequence[str] | None = None,
    new_head: int | None = None,
) -> tuple[VideoNetwork, KeyReport]:
    """A network with the weights of a published checkpoint, in eval mode.

    Args:
        path: file that the published implementation wrote.
        model: name of the network, with options where wanted: ``s2tf_nl_i3d_r50?frames=8&size=128``. Saliency modules
            that the checkpoint lacks start fresh.
        format: one of ``FORMATS``; auto tells them apart by their keys.
        labels: names of the classes.
        new_head: replace the classifier by a fresh one of so many classes.

    Raises:
        InputFileError: the file is unreadable or of an unknown format, or its weights do not fit the network.
        UsageError: the name of network or format is unknown, or the number of labels is wrong.
    """
    check_kind(path, PUBLISHED)
    state = _read_state(path)
    format = _checked_format(path, state, format)
    renamed = rename(state, format=format)
    num_classes = new_head or _num_classes(path, renamed)
    network = create_model(model, num_classes=num_classes, labels=labels)
    report = load_published(network, state, format=format, keep_head=new_head is not None)
    if not report.is_complete:
        hint = _hint(report, renamed, network.state_dict())
        msg = f"{path} ({format}) does not fit {network.name}: {report.differences()}; {hint}"
        raise InputFileError(msg)
    return network.eval(), report


def load_published(
    network: VideoNetwork,
    state: Mapping[str, Tensor],
    *,
    format: str,
    keep_head: bool = False,
) -> KeyReport:
    """Loads published weights into ``network`` if all of them fit; else changes nothing.

    Args:
        network: of the checkpoint's architecture, with or without saliency modules.
        state: weights by published name.
        format: one of ``FORMATS``.
        keep_head: leave the network's classifier as it is.
    """
    found = rename(state, format=format)
    supplied = len(found) - len(state)  # values that the format leaves out and implies
    wanted = network.state_dict()
    fresh = _fresh_keys(wanted, found, keep_head=keep_head)
    found = {key: value for key, value in found.items() if not (keep_head and key.startswith(_HEAD))}
    shared = [key for key in wanted if key in found]
    report = KeyReport(
        format=format,
        loaded=max(0, len(shared) - supplied),
        missing=tuple(key for key in wanted if key not in found and key not in fresh and not _is_counter(key)),
        unexpected=tuple(key for key in found if key not in wanted),
        misshaped=tuple(
            f"{key} {list(found[key].shape)} where the network has {list(wanted[key].shape)}"
            for key in shared
            if found[key].shape != wanted[key].shape
        ),
        fresh=fresh,
    )
    if report.is_complete:
        network.load_state_dict({**wanted, **found})
    return report


def _fresh_keys(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor], *, keep_head: bool) -> tuple[str, ...]:
    groups = [group for group in _SALIENCY_GROUPS if not any(key.startswith(group) for key in found)]
    groups += [_HEAD] * keep_head
    return tuple(key for key in wanted if key.startswith(tuple(groups)))


def _is_counter(key: str) -> bool:
    # Written since PyTorch 0.4 only, and read only by norms without momentum, of which there are none here.
    return key.endswith(".num_batches_tracked")


def _read_state(path: str | Path) -> dict[str, Tensor]:
    content: Any = read_tensors(path)
    for container in _CONTAINERS:
        if isinstance(content, dict) and container in content:
            content = content[container]
            break
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        msg = (
            f"{path} holds no weights under {' or '.join(_CONTAINERS)} nor at its top; is it a checkpoint of a network?"
        )
        raise InputFileError(msg)
    return {str(key).removeprefix("module."): value for key, value in content.items()}


def _checked_format(path: str | Path, state: Mapping[str, Tensor], format: str) -> str:
    if format not in {"auto", *FORMATS}:
        msg = f"format must be one of auto, {', '.join(FORMATS)}, got {format!r}"
        raise UsageError(msg)
    detected = detect_format(state) if format == "auto" else format
    if detected is None:
        msg = f"{path} has keys of no known format ({_first(tuple(state))}); known are {', '.join(FORMATS)}"
        raise InputFileError(msg)
    return detected


def _num_classes(path: str | Path, state: Mapping[str, Tensor]) -> int:
    if _HEAD_WEIGHT not in state or state[_HEAD_WEIGHT].ndim != 2:
        msg = f"{path} has no classifier; say how many classes a fresh one should have with `new_head=N`"
        raise InputFileError(msg)
    return len(state[_HEAD_WEIGHT])


def _hint(report: KeyReport, found: Iterable[str], wanted: Iterable[str]) -> str:
    if report.missing and all(".shortcut." in key for key in report.missing) and report.format in _SHORTCUT_FORMATS:
        return "its shortcuts have no weights: add the option shortcut=A to the name of the network"
    if any(key.startswith("saliency.") for key in report.unexpected):
        return "it holds saliency modules: put s2tf_ before the network's name, or ssf_ if it has no TSFP"
    if any(key.startswith("saliency.fusion.reduce") for key in report.misshaped):
        return "fusion takes frames as channels: add the option frames=T that it was trained with"
    theirs, ours = _blocks(found), _blocks(wanted)
    if theirs != ours:
        counts = f"its stages have {theirs} blocks where the network has {ours}"
        return f"{counts}: name the network that it was trained as, or get the whole file"
    if any(".nonlocal" in key for key in (*report.missing, *report.unexpected)):
        return "nl_i3d has non-local blocks and i3d has none: name the other one"
    return "name the network that it was trained as"


def _blocks(keys: Iterable[str]) -> str:
    """Residual blocks by stage, such as ``3, 4, 6, 3``."""
    found = {match.groups() for key in keys if (match := re.match(r"backbone\.stages\.(\d)\.(?:res)?(\d+)\.", key))}
    return ", ".join(str(sum(stage == str(index) for stage, _ in found)) for index in range(4))


def _first(keys: Sequence[str]) -> str:
    more = len(keys) - _SHOWN_KEYS
    return ", ".join(keys[:_SHOWN_KEYS]) + (f" and {more} more" if more > 0 else "")
