"""What a session says of videos, from one centered clip or from several views of each; with labels, its accuracy.

with open_session("model_openvino_int8") as session:
    evaluation = evaluate(session, open_data("clips/test"), views=Views(temporal=10, spatial=3))
print(evaluation.top1.percent, evaluation.n)
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import overload

import numpy as np

from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.data.videos import Videos
from s2tf_edge.errors import UsageError
from s2tf_edge.process_group import ProcessGroup
from s2tf_edge.progress import Progress, no_progress
from s2tf_edge.runtime.evaluation.accuracy import Evaluation
from s2tf_edge.runtime.evaluation.predictions import Predictions
from s2tf_edge.runtime.evaluation.scoring import Scorer, first_clip, score_videos
from s2tf_edge.runtime.evaluation.views import Views
from s2tf_edge.runtime.session import Session

__all__ = ["Views", "evaluate", "first_clip", "network_classes"]


@overload
def evaluate(
    session: Session,
    data: LabeledVideos,
    *,
    views: Views | None = None,
    limit: int | None = None,
    group: ProcessGroup | None = None,
    scorer: Scorer | None = None,
    progress: Progress = no_progress,
) -> Evaluation: ...


@overload
def evaluate(
    session: Session,
    data: Videos,
    *,
    views: Views | None = None,
    limit: int | None = None,
    group: ProcessGroup | None = None,
    scorer: Scorer | None = None,
    progress: Progress = no_progress,
) -> Predictions: ...


def evaluate(
    session: Session,
    data: Videos,
    *,
    views: Views | None = None,
    limit: int | None = None,
    group: ProcessGroup | None = None,
    scorer: Scorer | None = None,
    progress: Progress = no_progress,
) -> Predictions:
    """Runs a network over a data set.

    Videos that cannot be read are left out, named in one warning and in the result.

    Args:
        session: open.
        data: its labels, where it has some, are matched by name with the network's, in any order; see
            ``network_classes``.
        views: one centered clip unless given.
        limit: at most so many videos, spread evenly over the data set.
        group: the processes that share the work; each gets the whole result.
        scorer: does the work instead; ``session`` need not be open then.
        progress: called after each video that this process scores.

    Returns:
        What the network says; an ``Evaluation`` of it where the videos have labels.

    Raises:
        UsageError: the network lacks a label of the data set, or ``limit`` is not positive.
        InputFileError: not one video could be read.
    """
    data = data.limit(limit)
    if not isinstance(data, LabeledVideos):
        return _predict(session, data, views or Views(), group, scorer, progress)[0]
    classes = network_classes(session.info.labels, data)
    found, scored = _predict(session, data, views or Views(), group, scorer, progress)
    return Evaluation(
        labels=found.labels,
        names=found.names,
        targets=np.array([classes[data.videos[index].label] for index in scored], np.int64),
        scores=found.scores,
        skipped=found.skipped,
    )


def _predict(
    session: Session,
    data: Videos,
    views: Views,
    group: ProcessGroup | None,
    scorer: Scorer | None,
    progress: Progress,
) -> tuple[Predictions, list[int]]:
    """What the network says, and of which of the videos."""
    found = score_videos(session, data, views=views, group=group, scorer=scorer, progress=progress)
    scored = sorted(found.scores)
    predictions = Predictions(
        labels=session.info.labels,
        names=tuple(data.videos[index].name for index in scored),
        scores=np.stack([found.scores[index] for index in scored]).astype(np.float32),
        skipped=tuple(data.videos[index].name for index in sorted(found.failures)),
    )
    return predictions, scored


def network_classes(labels: Sequence[str], data: LabeledVideos, *, needed: bool = False) -> tuple[int, ...]:
    """For each label of the data set, the index of the same name among the network's ``labels``.

    Args:
        labels: of the network.
        data: the data set.
        needed: whether videos without labels would not do.

    Raises:
        UsageError: the network lacks one of them.
    """
    known = {label: index for index, label in enumerate(labels)}
    for label in data.labels:
        if label not in known:
            near = difflib.get_close_matches(label, known, n=3) or list(known)[:3]
            hint = f"it has {len(known)}, such as {', '.join(map(repr, near))}" if near else "it has no labels at all"
            otherwise = "" if needed else ", or on a glob of the videos, which goes without labels"
            msg = (
                f"the network lacks the label {label!r} of {data.name}: {hint}; evaluate on data with its classes"
                f"{otherwise}"
            )
            raise UsageError(msg)
    return tuple(known[label] for label in data.labels)
