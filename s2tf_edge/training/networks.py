"""The network of a run: built for its data, with fresh weights or those of another."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import torch
from torch import Tensor

from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.errors import UsageError
from s2tf_edge.models import VideoNetwork, create_model, default_spec, load_model
from s2tf_edge.models.registry import numbered_classes
from s2tf_edge.spec import ClipSpec
from s2tf_edge.training.config import TrainConfig
from s2tf_edge.training.distillation.classes import find_columns
from s2tf_edge.training.optimization.freezing import freeze_weights

__all__ = ["make_network", "make_spec"]

logger = logging.getLogger(__name__)


def make_spec(config: TrainConfig) -> ClipSpec:
    """The network's published clip with the settings' changes.

    Raises:
        UsageError: the network is unknown, or the values do not fit together.
    """
    spec = default_spec(config.model, frames=config.frames, size=config.size)
    names = ("stride", "fps", "resize_short_side")
    changes = {name: getattr(config, name) for name in names if getattr(config, name) is not None}
    return dataclasses.replace(spec, **changes)


def make_network(config: TrainConfig, videos: LabeledVideos, pretrained: Path | None) -> VideoNetwork:
    """The network that ``config`` names, for the classes of ``videos``.

    Raises:
        UsageError: the network is unknown, does not take such clips, or is too different from ``pretrained``; or
            ``freeze`` leaves nothing to train, or everything.
        InputFileError: ``pretrained`` cannot be read.
    """
    spec = make_spec(config)
    network = create_model(
        config.model,
        num_classes=len(videos.labels),
        labels=videos.labels,
        frames=spec.frames,
        size=spec.size,
        dropout=config.dropout,
    )
    network.spec = spec
    if pretrained is not None:
        _start_from(network, load_model(pretrained), pretrained)
    if config.freeze is not None:
        freeze_weights(network, config.freeze)
    return network


def _start_from(network: VideoNetwork, source: VideoNetwork, path: Path) -> None:
    """Copies every weight of ``source`` that fits, and says which did not; a classifier goes by its classes' names."""
    own, given = network.state_dict(), source.state_dict()
    fitting = {key: value for key, value in given.items() if key in own and own[key].shape == value.shape}
    if 2 * sum(map(torch.numel, fitting.values())) < sum(map(torch.numel, own.values())):
        msg = f"{path} holds {source.name}, which shares too few weights with {network.name}; give a model.pt of that"
        raise UsageError(msg)
    said = _fit_classifier(network, source, fitting)
    network.load_state_dict(own | fitting)
    fresh = ", ".join(sorted(set(own) - set(fitting))) or "none"
    logger.info("started from %s: %d of %d tensors; fresh: %s%s", path, len(fitting), len(own), fresh, said)


def _fit_classifier(network: VideoNetwork, source: VideoNetwork, fitting: dict[str, Tensor]) -> str:
    """Puts the classifier's rows among ``fitting`` in the order of the classes, or takes them out if those are others.

    A classifier whose classes nobody has named stays, as one of the same number may well be of the same classes.

    Returns:
        What became of it, to be said; empty where there was nothing to do.
    """
    if source.labels in {network.labels, numbered_classes(source.num_classes)}:
        return ""
    classifier = _tensors_by_class(network) & fitting.keys()
    columns = find_columns(network.labels, source.labels)
    for key in classifier:
        rows = fitting.pop(key)
        if columns is not None:
            fitting[key] = rows[list(columns)]
    if not classifier:
        return ""
    return ", as its classifier is of other classes" if columns is None else "; classes are matched by their names"


def _tensors_by_class(network: VideoNetwork) -> set[str]:
    """Names of the tensors that have a row for each class."""
    spec = network.spec
    with torch.device("meta"):
        wider = create_model(network.name, num_classes=network.num_classes + 1, frames=spec.frames, size=spec.size)
    shapes = {key: value.shape for key, value in wider.state_dict().items()}
    return {key for key, value in network.state_dict().items() if value.shape != shapes[key]}
