"""Steps through calibration clips; what they hold is seen in tests/export/test_steps.py."""

from __future__ import annotations

from pathlib import Path

from s2tf_edge.calibration.calibration_clips import CalibrationClips, count_read
from s2tf_edge.calibration.ranges.rolling import RolledSteps
from s2tf_edge.data.datasets import open_videos
from s2tf_edge.runtime.session import ModelInfo
from s2tf_edge.spec import ClipSpec
from s2tf_edge.step_spec import StateSpec, StepSpec


def test_clips_are_counted_and_not_their_steps() -> None:
    spec = ClipSpec(frames=4, size=16, resize_short_side=20)
    clips = CalibrationClips(open_videos("synthetic?clips=3", use="train"), spec, count=3)
    state = StateSpec(name="past", shape=(8, 4, 4), slots=2)
    step = StepSpec(hop=1, receptive_field=9, warm_up=4, states=(state,))
    info = ModelInfo(name="n", network="n", target="onnx", precision="fp32", spec=spec, labels=("a",), step=step)
    steps = RolledSteps(Path("step.onnx"), clips, info)
    assert (len(steps), steps.clips_read) == (6, 0)
    list(clips)
    assert count_read(steps, given=len(steps)) == 3
