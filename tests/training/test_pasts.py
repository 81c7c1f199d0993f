"""What a causal network is trained on: a clip, and now and then what was before it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from s2tf_edge import load_model
from s2tf_edge.data.datasets import open_data
from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.errors import UsageError
from s2tf_edge.models import create_model
from s2tf_edge.models.causal import beginning_at
from s2tf_edge.spec import ClipSpec
from s2tf_edge.training import TrainConfig, train
from s2tf_edge.training.loaders import make_loaders
from s2tf_edge.training.networks import make_network
from s2tf_edge.training.pasts import cut_past, fill_up, find_prefix, reach_back

Sides = tuple[LabeledVideos, LabeledVideos]
MODEL = "s2tf_x3d_xs?width=0.25&causal=true"
SPEC = ClipSpec(frames=4, size=32, stride=1, fps=15.0, resize_short_side=36)


class _Counted:
    """A video of 40 frames, each of which is its number; ``read`` is that of any video."""

    name = "counted"
    label = 0

    def room(self, spec: ClipSpec) -> float:
        return (40 - spec.frames) / spec.frames

    def read(self, spec: ClipSpec, *, at: float = 0.5) -> Any:
        start = at * (40 - spec.frames)
        assert start == pytest.approx(round(start))
        return np.arange(round(start), round(start) + spec.frames)


@pytest.mark.parametrize("start", [0, 1, 5, 8, 20, 36])
def test_a_past_ends_where_the_clip_begins_and_is_no_longer_than_the_video_has(start: int) -> None:
    video, at = _Counted(), start / 36
    reading, where = reach_back(video, SPEC, at=at, most=8)
    frames = video.read(reading, at=where)
    np.testing.assert_array_equal(frames[-4:], video.read(SPEC, at=at))
    assert len(frames) - 4 == min(8, start)


@torch.no_grad()
def test_clips_of_several_lengths_side_by_side_are_seen_as_each_alone() -> None:
    torch.manual_seed(0)
    network = create_model(MODEL, num_classes=5, frames=4, size=32).double().eval()
    clips = [torch.randn(3, 4 + past, 32, 32, dtype=torch.float64) for past in (0, 2, 5)]
    filled, starts = zip(*(fill_up(clip, 4 + 7) for clip in clips), strict=True)
    lengths = set()
    for share in np.arange(0, 1, 1 / 12):
        batch, begins = cut_past(torch.stack(filled), torch.tensor(starts), frames=4, share=share)
        past = batch.shape[2] - 4
        assert begins.tolist() == [past - min(past, each) for each in (0, 2, 5)]
        if past in lengths:
            continue
        lengths.add(past)
        with beginning_at(begins):
            together = network(batch)
        alone = torch.cat([network(clip[None, :, -(4 + past) :]) for clip in clips])
        torch.testing.assert_close(together, alone, atol=1e-12, rtol=0)
        # Without being told, it takes the picture that fills up for what was seen.
        assert past == 0 or not torch.allclose(network(batch), alone, atol=1e-5)
    assert lengths == set(range(6))


def test_of_a_past_that_all_clips_have_no_position_is_before_a_beginning() -> None:
    clips = torch.arange(10.0)[None, None, :, None, None].expand(3, -1, -1, -1, -1)
    for share in (0.0, 0.3, 0.999):
        batch, begins = cut_past(clips, torch.zeros(3).long(), frames=4, share=share)
        assert batch.shape[2] == 4 + int(7 * share)
        assert (begins.tolist(), batch[0, 0, -4:].flatten().tolist()) == ([0, 0, 0], [6, 7, 8, 9])


def test_the_past_is_as_long_as_a_clip_unless_told_otherwise(tiny: TrainConfig) -> None:
    videos = open_data("synthetic?clips=10")
    causal, whole = (dataclasses.replace(tiny, model=model) for model in (MODEL, "x3d_xs?width=0.25"))
    networks = [make_network(config, videos, None) for config in (causal, whole)]
    assert find_prefix(causal, networks[0]) == 8
    assert find_prefix(dataclasses.replace(causal, prefix=3), networks[0]) == 3
    assert find_prefix(whole, networks[1]) == 0
    with pytest.raises(
        UsageError, match=r"`prefix` is for causal networks, and x3d_xs.* sees whole clips; leave it ou"
    ):
        find_prefix(dataclasses.replace(whole, prefix=3), networks[1])
    with pytest.raises(UsageError, match=r"`prefix` and the clip's 8 frames must be 1024 at most together, got 1017"):
        find_prefix(dataclasses.replace(causal, prefix=1017), networks[0])


def test_a_causal_network_trains_on_its_past_and_is_validated_from_a_fresh_start(
    tmp_path: Path, tiny: TrainConfig, sides: Sides
) -> None:
    config = dataclasses.replace(tiny, model=MODEL, stride=1, mixup=0.2, precise_norms=10)
    spec = make_network(config, sides[0], None).spec
    loaders = make_loaders(config, videos=sides[0], validation=sides[1], spec=spec, prefix=40)
    seen = [batch[2] for batch in loaders[0]]
    assert len(set(torch.cat(seen).tolist())) > 1
    assert [len(batch) for batch in loaders[1]] == [2, 2]

    first, again = (train(config, videos=sides[0], validation=sides[1], out=tmp_path / name) for name in "ab")
    assert first.model.read_bytes() == again.model.read_bytes()
    assert load_model(first.model).is_causal
    other = train(dataclasses.replace(config, prefix=0), videos=sides[0], validation=sides[1], out=tmp_path / "c")
    assert other.model.read_bytes() != first.model.read_bytes()


def test_a_causal_network_begins_with_the_weights_of_one_that_sees_clips(
    tmp_path: Path, tiny: TrainConfig, sides: Sides, caplog: pytest.LogCaptureFixture
) -> None:
    config = dataclasses.replace(tiny, model="s2tf_x3d_xs?width=0.25", epochs=1)
    clip = train(config, videos=sides[0], validation=sides[1], out=tmp_path / "clip")
    causal = dataclasses.replace(config, model=MODEL)
    with caplog.at_level("INFO"):
        train(causal, videos=sides[0], validation=sides[1], out=tmp_path / "causal", pretrained=clip.model)
    assert "; fresh: none" in caplog.text
