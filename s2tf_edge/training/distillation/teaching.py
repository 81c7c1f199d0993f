"""What a run has from its teacher: more videos, targets for each clip, and a network with room for what is taught."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from s2tf_edge.data.directions import directions_among
from s2tf_edge.data.files import LabeledFile, VideoFile
from s2tf_edge.data.labeled import LabeledVideo, LabeledVideos
from s2tf_edge.data.videos import Video, Videos
from s2tf_edge.errors import UsageError
from s2tf_edge.models import VideoNetwork, create_model
from s2tf_edge.spec import ClipSpec
from s2tf_edge.training.distillation.classes import find_columns
from s2tf_edge.training.distillation.loss import TargetLayout
from s2tf_edge.training.distillation.moments import ClipTimes
from s2tf_edge.training.distillation.scoring import TeacherScores

__all__ = ["NO_LABEL", "TaughtVideo", "Teaching", "label_by_teacher", "without_unscored"]

NO_LABEL = -1
"""Label of a video whose class nobody knows."""


@dataclass(frozen=True, kw_only=True)
class TaughtVideo:
    """A video with a label that it did not come with."""

    video: Video
    label: int

    @property
    def name(self) -> str:
        """The video's own."""
        return self.video.name

    def read(self, spec: ClipSpec, *, at: float = 0.5) -> Any:
        """The video's own clip.

        Raises:
            InputFileError: the video cannot be read or holds no frame.
        """
        return self.video.read(spec, at=at)

    def room(self, spec: ClipSpec) -> float:
        """The video's own room.

        Raises:
            InputFileError: the video cannot be read or holds no frame.
        """
        return self.video.room(spec)


def without_unscored(videos: Videos, scores: TeacherScores) -> Any:
    """Those of the videos that the teacher could read, as the same kind of data set."""
    return videos.subset([index for index, video in enumerate(videos.videos) if video.name in scores.videos])


def label_by_teacher(videos: Videos, scores: TeacherScores) -> LabeledVideos:
    """Videos without labels as a data set of the teacher's classes: each of the class that scores best on average."""
    readable: Videos = without_unscored(videos, scores)
    labeled = [_label(video, int(scores.videos[video.name].logits.mean(axis=0).argmax())) for video in readable.videos]
    return LabeledVideos(
        name=videos.name, labels=scores.labels, videos=labeled, flips=not directions_among(scores.labels)
    )


def _label(video: Video, label: int) -> LabeledVideo:
    """The video with that label; a file stays one, so that its frames can be kept."""
    return (
        LabeledFile(path=video.path, label=label)
        if isinstance(video, VideoFile)
        else TaughtVideo(video=video, label=label)
    )


@dataclass(frozen=True, kw_only=True)
class Teaching:
    """What a teacher has said, for a student with classes of its own.

    Raises:
        UsageError: the teacher has not seen a video that it is to teach.
    """

    scores: TeacherScores
    labels: tuple[str, ...]
    """The student's classes."""
    temperature: float
    unlabeled: Videos | None = None
    """More videos to learn from, of which the teacher alone says something."""
    labels_are_the_teachers: bool = False
    """Whether nobody but the teacher has labeled the videos, so that it alone is to be followed."""

    def __post_init__(self) -> None:
        if len(set(self.labels)) != len(self.labels):
            msg = f"the classes must have different names, got {list(self.labels)}"
            raise UsageError(msg)

    @functools.cached_property
    def columns(self) -> tuple[int, ...] | None:
        """Of each class of the student the teacher's index; None where the teacher lacks one."""
        return find_columns(self.labels, self.scores.labels)

    @property
    def layout(self) -> TargetLayout:
        """Of targets and logits."""
        taught = len(self.scores.labels) if self.columns is None else len(self.columns)
        return TargetLayout(classes=len(self.labels), taught=taught, shares_head=self.columns is not None)

    @property
    def network_labels(self) -> tuple[str, ...]:
        """The classes of the network while it is trained: the student's, and the teacher's where those are others.

        They have a linear layer of their own on the pooled features, whose rows come after those of the student's.
        """
        if self.columns is not None:
            return self.labels
        return (*self.labels, *(f"teacher: {label}" for label in self.scores.labels))

    def describe(self) -> str:
        """A line for the user: what is learned from whom."""
        clips = sum(len(self.scores.videos[name].places) for name in self.scores.videos)
        learned = f"{len(self.scores.labels)} classes"
        if self.columns is None:
            learned += ", by a layer of their own that is left out of model.pt"
        elif not self.labels_are_the_teachers:
            learned = f"the {len(self.columns)} classes of the data set, by their names"
        return (
            f"the teacher {self.scores.name} teaches {learned}, on {clips} clips of {len(self.scores.videos)} videos "
            f"({self.scores.spec.frames} frames, {self.scores.spec.span_seconds:.1f} s)"
        )

    def join(self, videos: LabeledVideos) -> LabeledVideos:
        """All videos to learn from: those with labels, and those without, as ``NO_LABEL``.

        Raises:
            UsageError: the teacher has not seen one of them.
        """
        more = [_label(video, NO_LABEL) for video in (self.unlabeled.videos if self.unlabeled else ())]
        # A mirrored clip would be taught what the teacher says of the clip as it was.
        flips = videos.flips and not (self.columns is None and directions_among(self.scores.labels))
        joined = dataclasses.replace(videos, videos=[*videos.videos, *more], flips=flips)
        unseen = [video.name for video in joined.videos if video.name not in self.scores.videos]
        if unseen:
            msg = f"the teacher {self.scores.name} has not seen {unseen[0]}; score all videos before training"
            raise UsageError(msg)
        return joined

    def widen(self, videos: LabeledVideos) -> LabeledVideos:
        """The same videos among the classes of the network while it is trained."""
        return dataclasses.replace(videos, labels=self.network_labels)

    def target(self, video: LabeledVideo, spec: ClipSpec, at: float) -> tuple[float, Tensor]:
        """Where to take a training clip, and its row of targets.

        Args:
            video: one of those that were scored.
            spec: the student's clip.
            at: where chance would have it.

        Returns:
            ``at``, moved where no clip of the teacher shows the middle of that one; and float32 as ``layout`` says.
        """
        known = self.scores.videos[video.name]
        own, taught = (ClipTimes(spec=each, seconds=known.seconds) for each in (spec, self.scores.spec))
        middle = own.middle(at)
        index = taught.nearest(known.places, middle)
        center = taught.middle(float(known.places[index]))
        if abs(middle - center) > taught.half:
            at = own.at(min(max(middle, center - taught.half), center + taught.half))
        logits = torch.from_numpy(known.logits[index])
        if self.columns is not None:
            logits = logits[list(self.columns)]
        scores = torch.softmax(logits / self.temperature, dim=0)
        label = NO_LABEL if self.labels_are_the_teachers else video.label
        return at, self.layout.row(label, scores)

    def own_network(self, network: VideoNetwork) -> VideoNetwork:
        """A trained network without what the teacher's classes had of it."""
        if network.labels == self.labels:
            return network
        spec, count = network.spec, len(self.labels)
        # On "meta" no weights are drawn only to be replaced.
        with torch.device("meta"):
            own = create_model(network.name, num_classes=count, labels=self.labels, frames=spec.frames, size=spec.size)
        own.spec = spec
        wanted = own.state_dict()
        state = {
            key: value if value.shape == wanted[key].shape else value[: len(wanted[key])].clone()
            for key, value in network.state_dict().items()
        }
        own.load_state_dict(state, assign=True)
        return own.train(network.training)
