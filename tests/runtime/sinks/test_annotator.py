"""What is current is drawn, and nothing that no longer is."""

from __future__ import annotations

from dataclasses import replace

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from s2tf_edge.runtime.sinks.annotator import Annotator, drawable
from s2tf_edge.runtime.sinks.heat_map import crop_region
from s2tf_edge.runtime.streaming.records import Failure, Gap, Prediction, Record, SourceStatus, Start, Status
from s2tf_edge.runtime.streaming.regions import Region
from s2tf_edge.runtime.streaming.zones import Zone
from s2tf_edge.spec import ClipSpec


def _start() -> Start:
    return Start(
        artifact="a",
        network="n",
        target="onnx",
        precision="fp32",
        clip=ClipSpec(frames=4, size=32),
        labels=2,
        hop=1,
        policy="auto",
        smooth="none",
        threshold=0.5,
        sources=("x", "y"),
    )


def _prediction(*, source: int = 0, mask: bool = True) -> Prediction:
    hot = np.ones((4, 4), np.float32)
    hot[1, 1] = 3
    topk = (("walk", 0.9), ("run", 0.1))
    return Prediction(
        source=source,
        t_start=0.0,
        t_end=1.0,
        label="walk",
        score=0.9,
        topk=topk,
        age_ms=1.0,
        infer_ms=1.0,
        mask=hot if mask else None,
    )


def _status(*states: str) -> Status:
    sources = tuple(
        SourceStatus(
            name="x",
            state=state,
            frames=1,
            windows=1,
            gaps=0,
            reconnects=0,
            position_seconds=1.0,
            duration_seconds=None,
            message=None,
        )
        for state in states
    )
    return Status(seconds=1.0, drops={}, stages_ms={}, sources=sources)


def _drawn(*records: Record, saliency: bool = True) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Where the upper and where the lower half of a gray picture has been drawn on."""
    annotator = Annotator(source=0, saliency=saliency)
    for record in (_start(), *records):
        annotator.follow(record)
    image = np.full((240, 320, 3), 90, np.uint8)
    annotator.draw_saliency(image, pts_seconds=0.0)
    annotator.draw_labels(image)
    return image[:120] != 90, image[120:] != 90


def test_labels_are_below_and_saliency_where_it_was_asked_for() -> None:
    upper, lower = _drawn(_prediction(), saliency=False)
    assert not upper.any()
    assert lower.any()
    upper, lower = _drawn(_prediction())
    assert upper.any()
    assert lower.any()


def test_without_a_mask_only_labels_are_drawn() -> None:
    upper, lower = _drawn(_prediction(mask=False))
    assert not upper.any()
    assert lower.any()


@pytest.mark.parametrize(
    "loss",
    [
        Gap(source=0, t_start=1.0, t_end=5.0),
        Failure(source=0, name="x", message="gone", exit_code=8),
        _status("lost", "playing"),
        _status("failed", "playing"),
    ],
)
def test_what_is_lost_has_no_label(loss: Record) -> None:
    assert not any(half.any() for half in _drawn(_prediction(), loss))


@pytest.mark.parametrize(
    "record",
    [
        Gap(source=1, t_start=1.0, t_end=5.0),
        Failure(source=1, name="y", message="gone", exit_code=8),
        _status("playing", "lost"),
        # A file that was read ahead has ended before its last pictures are shown.
        _status("ended", "failed"),
    ],
)
def test_what_happens_to_others_changes_nothing(record: Record) -> None:
    drawn, expected = _drawn(_prediction(), record), _drawn(_prediction())
    for half, other in zip(drawn, expected, strict=True):
        np.testing.assert_array_equal(half, other)


def test_predictions_of_others_are_not_drawn() -> None:
    assert not any(half.any() for half in _drawn(_prediction(source=1)))


@pytest.mark.parametrize("format", ["rgb24", "yuv420p", "gray8"])
def test_drawing_leaves_the_frame_alone(format: str) -> None:
    frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 90, np.uint8), format="rgb24").reformat(format=format)
    before = frame.to_ndarray().copy()
    drawable(frame)[:] = 0
    np.testing.assert_array_equal(frame.to_ndarray(), before)


ZONES = (Zone(0, "door", None, (0.0, 0.0, 0.5, 1.0)), Zone(1, "till", None, (0.5, 0.0, 0.5, 1.0)))


def _drawn_zones(*records: Record, labels: bool = False) -> list[NDArray[np.bool_]]:
    """Where the saliency, or the labels, of two zones side by side are drawn: in the left and in the right half."""
    regions = tuple(Region(zone.region or "", zone.shares or (0, 0, 1, 1)) for zone in ZONES)
    annotator = Annotator(source=0, saliency=True)
    for record in (replace(_start(), regions=regions, pictures=(0, 0)), *records):
        annotator.follow(record)
    image = np.full((240, 320, 3), 90, np.uint8)
    if labels:
        annotator.draw_labels(image, zones=ZONES)
    else:
        annotator.draw_saliency(image, pts_seconds=0.0, zones=ZONES)
    return [(half != 90).any(axis=2) for half in (image[:, :160], image[:, 160:])]


def test_saliency_of_a_zone_glows_within_what_the_network_sees_of_it() -> None:
    left, right = _drawn_zones(replace(_prediction(source=1), region="till"))
    assert not left.any()
    rows, columns = crop_region(240, 160, ClipSpec(frames=4, size=32))
    outside = right.copy()
    outside[rows, columns] = False
    assert not outside.any()
    inside = right[rows, columns]
    # The mask is 4 × 4, and its second cell of the second row is hot; the corners of the crop have marks.
    middle = np.argwhere(inside[12:-12, 12:-12]).mean(axis=0) + 12.5
    assert middle == pytest.approx(np.array(inside.shape) * 1.5 / 4, abs=0.06 * max(inside.shape))


def test_a_label_stands_in_its_zone_until_its_signal_is_lost() -> None:
    bare = _drawn_zones(labels=True)
    found = replace(_prediction(source=1), region="till")
    labeled = _drawn_zones(found, labels=True)
    np.testing.assert_array_equal(labeled[0], bare[0])
    assert labeled[1].sum() > bare[1].sum()
    lost = _drawn_zones(found, Gap(source=1, t_start=1.0, t_end=5.0), labels=True)
    np.testing.assert_array_equal(lost, bare)
