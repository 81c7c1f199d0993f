"""Records of one action, made by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from s2tf_edge.runtime.streaming.records import Action, Event, Prediction, Record, Start
from s2tf_edge.spec import ClipSpec


@pytest.fixture
def action() -> Callable[[str], list[Record]]:
    """What a stream says of one action: a Prediction with which it begins, and the Event that tells its end."""

    def make(label: str) -> list[Record]:
        prediction = Prediction(
            source=0,
            t_start=1.0,
            t_end=2.0,
            label=label,
            score=0.75,
            topk=((label, 0.75),),
            age_ms=1.0,
            infer_ms=1.0,
            action=Action(label=label, t_start=1.0, score=0.75, is_new=True),
        )
        return [prediction, Event(source=0, label=label, t_start=1.0, t_end=5.0, score=0.5)]

    return make


@pytest.fixture
def begin() -> Start:
    return Start(
        artifact="a",
        network="n",
        target="onnx",
        precision="fp32",
        clip=ClipSpec(frames=4, size=32),
        labels=3,
        hop=1,
        policy="auto",
        smooth="none",
        threshold=0.5,
        sources=("camera 0",),
    )
