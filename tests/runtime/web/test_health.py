"""Whether a stream counts as well."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import pytest

from s2tf_edge.runtime.streaming.records import Record
from s2tf_edge.runtime.web.health import Health, Verdict
from s2tf_edge.spec import ClipSpec


def _verdict(records: Sequence[Record], **options: float) -> Verdict:
    health = Health(**options)
    for record in records:
        health.write(record)
    return health.verdict()


def test_a_stream_is_well_from_its_start_to_its_end(make: SimpleNamespace) -> None:
    records = [make.start()]
    assert (_verdict([]).status, _verdict([]).is_well) == ("starting", False)
    assert (_verdict(records).status, _verdict(records).is_well) == ("ok", True)
    assert _verdict([*records, make.prediction()]).is_well
    ended = _verdict([*records, make.prediction(), make.summary()])
    assert (ended.status, ended.is_well) == ("ended", False)


def test_without_status_records_predictions_and_failures_tell(make: SimpleNamespace) -> None:
    records = [make.start("front door", "yard"), make.prediction(source=1), make.failure()]
    verdict = _verdict(records)
    assert [source.state for source in verdict.sources] == ["failed", "playing"]
    assert (verdict.status, verdict.is_well) == ("degraded", True)
    assert verdict.reason == "front door cannot be opened"


@pytest.mark.parametrize(
    ("states", "status", "is_well"),
    [
        (["playing", "waiting"], "ok", True),
        (["ended", "waiting"], "ok", True),
        (["lost", "playing"], "degraded", True),
        (["failed", "waiting"], "degraded", True),
        (["lost", "failed"], "failing", False),
        (["lost", "ended"], "failing", False),
    ],
)
def test_it_is_well_while_something_plays_or_waits(
    make: SimpleNamespace, states: list[str], status: str, is_well: bool
) -> None:
    sources = [make.source_status(f"camera {index}", state) for index, state in enumerate(states)]
    verdict = _verdict([make.start("camera 0", "camera 1"), make.status(*sources)])
    assert (verdict.status, verdict.is_well) == (status, is_well)
    assert verdict.to_dict()["sources"][0] == {"name": "camera 0", "state": states[0], "message": None}


def test_a_stream_without_predictions_is_stalled(make: SimpleNamespace) -> None:
    instant = ClipSpec(frames=1, stride=1, fps=25.0, size=64)
    verdict = _verdict([make.start(clip=instant), make.status()], patience_seconds=0)
    assert (verdict.status, verdict.is_well) == ("stalled", False)
    assert str(verdict.reason).startswith("no prediction for")


def test_a_long_clip_takes_long_to_be_complete(make: SimpleNamespace) -> None:
    # 16 frames at stride 2 and 25 a second are 1.2 s: patience is three times that at least.
    assert _verdict([make.start(), make.status()], patience_seconds=0).status == "ok"
