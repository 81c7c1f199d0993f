"""What a run was understood to be, said before its first step, while a mistake still costs nothing."""

from __future__ import annotations

import dataclasses

from s2tf_edge.data.directions import directions_among
from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.data.splits import group_of
from s2tf_edge.data.training_data import TrainingData
from s2tf_edge.models.cost import network_cost
from s2tf_edge.models.s2tf import VideoNetwork
from s2tf_edge.spec import ClipSpec
from s2tf_edge.training.config import TrainConfig
from s2tf_edge.training.expected_time import expected_seconds, rounded_time
from s2tf_edge.training.networks import make_network
from s2tf_edge.training.pasts import find_prefix
from s2tf_edge.words import counted, first_few

__all__ = ["describe_run_lines"]

_FEW_NAMES = 8


def describe_run_lines(config: TrainConfig, data: TrainingData, *, unlabeled: int = 0, processes: int = 1) -> list[str]:
    """A run in a few lines: classes, videos and groups on each side, clip, network, steps.

    Args:
        config: the settings.
        data: both sides.
        unlabeled: more videos to train on, of whose classes nothing is known.
        processes: how many share the clips of an epoch.

    Raises:
        UsageError: the network is unknown, or does not take such clips.
    """
    # What is frozen is said when the run begins.
    network = make_network(dataclasses.replace(config, freeze=None), data.train, None)
    facts = {
        "classes": f"{len(data.train.labels)}: {first_few(data.train.labels, _FEW_NAMES)}",
        "training": _describe_training(data, unlabeled),
        "validation": _describe_validation(data),
        "mirroring": _describe_mirroring(config, data.train),
        "clip": _describe_clip(network.spec, past=find_prefix(config, network)),
        "network": _describe_network(config.model, network),
        "steps": _describe_steps(config, len(data.train) + unlabeled, processes),
        "time": _describe_time(expected_seconds(config, data, network, unlabeled=unlabeled, processes=processes)),
    }
    width = max(map(len, facts)) + 2
    return [f"{name:{width}}{fact}" for name, fact in facts.items()]


def _describe_side(videos: LabeledVideos, group_by: str | None) -> str:
    count = counted(len(videos), "video")
    if group_by is None:
        return count
    groups = sorted({group_of(video.name, group_by) for video in videos.videos})
    return f"{count} of {counted(len(groups), 'group')}: {first_few(groups, _FEW_NAMES)}"


def _describe_training(data: TrainingData, unlabeled: int) -> str:
    labeled = f"{_describe_side(data.train, data.group_by)} ({data.train.name})"
    return f"{labeled}, {unlabeled} without labels" if unlabeled else labeled


def _describe_validation(data: TrainingData) -> str:
    if not len(data.validation):
        return "none: the weights of the last epoch are kept"
    return f"{_describe_side(data.validation, data.group_by)} ({data.origin})"


def _describe_mirroring(config: TrainConfig, videos: LabeledVideos) -> str:
    if not config.flip:
        return "off"
    if videos.flips:
        return "half of the clips"
    named = directions_among(videos.labels)
    return f"off, as classes are directions: {first_few(named)}" if named else "off, as classes are directions"


def _describe_clip(spec: ClipSpec, *, past: int) -> str:
    every = "every frame" if spec.stride == 1 else f"one of {spec.stride} frames"
    clip = f"{spec.frames} frames of {spec.size}x{spec.size}, {every} at {spec.fps:g} fps: {spec.span_seconds:.2f} s"
    return f"{clip}, in training with up to {past} frames before it" if past else clip


def _describe_network(name: str, network: VideoNetwork) -> str:
    cost = network_cost(network)
    return f"{name}, {cost.parameters / 1e6:.2f} M parameters, {cost.training_macs / 1e9:.2f} GMAC a clip"


def _describe_steps(config: TrainConfig, videos: int, processes: int) -> str:
    clips = videos * config.repeats(videos)
    steps = max(1, clips // processes // config.batch_size)
    batch = counted(config.batch_size * processes, "clip")
    return f"{config.epochs * steps} of {batch}, in {counted(config.epochs, 'epoch')} of {steps}"


def _describe_time(seconds: float | None) -> str:
    return "unknown, as the first videos cannot be read" if seconds is None else f"about {rounded_time(seconds)}"
