"""``s2tf-import``: from a file that somebody published to a network with its weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from torch import Tensor

from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.models.checkpoints.advice import explain_misfit, explain_unknown_keys
from s2tf_edge.models.checkpoints.candidates import fitting_networks
from s2tf_edge.models.checkpoints.fitting import HEAD, KeyReport, load_published
from s2tf_edge.models.checkpoints.formats import (
    FORMATS,
    detect_format,
    families_of,
    has_format,
    rename,
    shared_families,
)
from s2tf_edge.models.checkpoints.reading import read_weights
from s2tf_edge.models.registry import create_model, family_of
from s2tf_edge.models.s2tf import VideoNetwork

__all__ = ["import_checkpoint"]

_IMAGENET: Final = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_NORMALIZATIONS: Final = {("mmaction2", "slow"): _IMAGENET}
"""Mean and standard deviation of a format's weights, where they are not those of the family's recipe."""


def import_checkpoint(
    path: str | Path,
    *,
    model: str | None = None,
    format: str = "auto",
    labels: Sequence[str] | None = None,
    new_head: int | None = None,
    ema: bool = False,
) -> tuple[VideoNetwork, KeyReport]:
    """A network with the weights of a published checkpoint, in eval mode.

    Args:
        path: file that the published implementation wrote, or safetensors.
        model: name of the network, with options where wanted: ``s2tf_nl_i3d_r50?frames=8&size=128``. Saliency modules
            that the checkpoint lacks start fresh. Where it is left out, it is the one network with such weights.
        format: one of ``FORMATS``; auto tells them apart by their keys.
        labels: names of the classes.
        new_head: replace the classifier by a fresh one of so many classes.
        ema: take the running average of the weights (EMA) that the checkpoint keeps beside the last ones.

    Raises:
        InputFileError: the file is unreadable or of an unknown format, or its weights do not fit the network.
        UsageError: the name of network or format is unknown, the number of labels is wrong, or no network is named and
            several fit.
    """
    if format not in {"auto", *FORMATS}:
        msg = f"format must be one of auto, {', '.join(FORMATS)}, got {format!r}"
        raise UsageError(msg)
    if model is not None:
        family_of(model)  # a wrong name is said before a large file is read
    weights = read_weights(path, format=format, ema=ema)
    format = _checked_format(path, weights.state, format)
    found = rename(weights.state, format=format)
    num_classes = new_head or _num_classes(path, found)
    families = families_of(weights.state, format=format)
    if model is None:
        model = _only_network(path, found, families=families, num_classes=num_classes, keep_head=new_head is not None)
    network = create_model(model, num_classes=num_classes, labels=labels)
    report = load_published(network, weights.state, format=format, keep_head=new_head is not None)
    _check_fit(path, network, report, found, model=model, families=families)
    _normalize_as_trained(network, format)
    return network.eval(), dataclasses.replace(report, notes=weights.notes)


def _checked_format(path: str | Path, state: Mapping[str, Tensor], format: str) -> str:
    detected = detect_format(state)
    if format != "auto" and has_format(state, format):
        return format
    if detected is None:
        msg = f"{path} {explain_unknown_keys(state)}"
        raise InputFileError(msg)
    if format != "auto":
        msg = f"{path} has the keys of {detected}, not those of {format}; give `format={detected}` or leave it out"
        raise InputFileError(msg)
    return detected


def _num_classes(path: str | Path, found: Mapping[str, Tensor]) -> int:
    weight = found.get(f"{HEAD}weight")
    if weight is None or weight.ndim != 2:
        msg = f"{path} has no classifier; say how many classes a fresh one should have with `new_head=N`"
        raise InputFileError(msg)
    return len(weight)


def _only_network(
    path: str | Path, found: Mapping[str, Tensor], *, families: Sequence[str], num_classes: int, keep_head: bool
) -> str:
    names = fitting_networks(found, families=families, num_classes=num_classes, keep_head=keep_head)
    if len(names) == 1:
        return names[0]
    if names:
        msg = f"{path} holds weights that {', '.join(names)} have alike; say which is meant with `model=NAME`"
        raise UsageError(msg)
    known = ", ".join(families)
    msg = f"{path} fits no network of {known} as it was published; name the one that it was trained as: `model=NAME`"
    raise InputFileError(msg)


def _check_fit(
    path: str | Path,
    network: VideoNetwork,
    report: KeyReport,
    found: Mapping[str, Tensor],
    *,
    model: str,
    families: Sequence[str],
) -> None:
    family = family_of(model)
    is_other = family not in families and family in shared_families()
    if report.is_complete and not is_other:
        return
    fitting = fitting_networks(
        found,
        families=families,
        num_classes=network.num_classes,
        keep_head=any(key.startswith(HEAD) for key in report.fresh),
        options=model.partition("?")[2],
    )
    if report.is_complete:
        names = " or ".join(fitting or families)
        what = f"the weights have a place, but {family} computes something else with them; name the right one: {names}"
    else:
        hint = explain_misfit(report, found, network.state_dict(), fitting=fitting)
        what = f"{report.differences()}; {hint}"
    msg = f"{path} ({report.format}) does not fit {network.name}: {what}"
    raise InputFileError(msg)


def _normalize_as_trained(network: VideoNetwork, format: str) -> None:
    normalization = _NORMALIZATIONS.get((format, family_of(network.name)))
    if normalization is not None:
        mean, std = normalization
        network.spec = dataclasses.replace(network.spec, mean=mean, std=std)
