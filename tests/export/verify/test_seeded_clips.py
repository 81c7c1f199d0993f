from __future__ import annotations

import numpy as np

from s2tf_edge.export.verify.seeded_clips import seeded_clips
from s2tf_edge.spec import ClipSpec

SPEC = ClipSpec(frames=8, size=32)


def test_seeded_clips_are_frames_cropped_for_the_network() -> None:
    clips = seeded_clips(SPEC, count=3, seed=1)
    assert {clip.shape for clip in clips} == {(8, 32, 32, 3)}
    assert {clip.dtype.name for clip in clips} == {"uint8"}
    assert all(a.tobytes() == b.tobytes() for a, b in zip(clips, seeded_clips(SPEC, count=3, seed=1), strict=True))
    assert not np.array_equal(clips[0], clips[1])
    assert not np.array_equal(clips[0], seeded_clips(SPEC, count=1, seed=2)[0])


def test_seeded_clips_are_smooth_and_fill_the_range_of_pixels() -> None:
    clips = np.stack(seeded_clips(SPEC, count=4)).astype(np.float32)
    steps = [np.abs(np.diff(clips, axis=axis)).mean() for axis in (1, 2, 3)]
    assert max(steps) < 0.3 * clips.std()
    assert clips.min() < 0.15 * 255
    assert clips.max() > 0.85 * 255
