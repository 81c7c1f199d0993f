"""The pretrained I3D beside the repository, a plain ONNX file as a user may bring one."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from s2tf_edge.export import ExportOptions, export
from s2tf_edge.export.options import CALIB_CLIPS
from s2tf_edge.runtime import Prediction, StreamOptions, open_session, recognize
from s2tf_edge.runtime.streaming.smoothing import Smoothing

pytestmark = [pytest.mark.slow, pytest.mark.needs_shared]

_EACH_WINDOW = StreamOptions(hop=4, smoothing=Smoothing(kind="none"))
LABELS = {
    "v_SoccerJuggling_g23_c01.avi": "juggling soccer ball",
    "R6llTwEh07w.mp4": "using segway",
    "demo.mp4": "arm wrestling",
    "video1.mp4": "high jump",
    "video2.mp4": "deadlifting",
}


def _export(shared: Path, out: Path, target: str, **options: str) -> Path:
    graph = shared / "models/i3d_rgb_k400_t32.onnx"
    result = export(graph, ExportOptions(target=target, meta=graph.with_suffix(".json"), out=out, **options))  # type: ignore[arg-type]
    assert result.verification is not None
    assert result.verification.passed
    return result.folder


@pytest.mark.parametrize("target", ["onnx", pytest.param("trt-rtx", marks=pytest.mark.needs_rtx)])
def test_exports_to_every_target(shared: Path, tmp_path: Path, target: str) -> None:
    folder = _export(shared, tmp_path / "a", target)
    assert json.loads((folder / "verify.json").read_text())["top1_disagreements"] == 0


@pytest.mark.parametrize("options", [{}, {"precision": "fp32", "input": "u8"}], ids=["fp16", "fp32-u8"])
def test_the_openvino_artifact_recognizes_real_clips(shared: Path, tmp_path: Path, options: dict[str, str]) -> None:
    folder = _export(shared, tmp_path / "a", "openvino", **options)
    for name, label in LABELS.items():
        records = recognize(shared / "clips/real" / name, folder)
        labels = Counter(record.label for record in records if isinstance(record, Prediction))
        assert labels.most_common(1)[0][0] == label


def test_integers_say_what_floats_say_of_real_clips(shared: Path, tmp_path: Path) -> None:
    graph = shared / "models/i3d_rgb_k400_t32.onnx"
    folders = {}
    for precision in ("fp32", "int8"):
        options = ExportOptions(
            target="openvino",
            precision=precision,
            meta=graph.with_suffix(".json"),
            out=tmp_path / precision,
            calib=str(shared / "clips/weizmann") if precision == "int8" else None,
            calib_clips=60 if precision == "int8" else CALIB_CLIPS,
        )
        folders[precision] = export(graph, options).folder
    floats, integers = (_labels(shared / "clips/real", folders[precision]) for precision in ("fp32", "int8"))
    assert floats.keys() == integers.keys()
    assert len(floats) >= 100
    agreeing = sum(integers[window] == label for window, label in floats.items())
    assert agreeing >= 0.98 * len(floats)
    for name, label in LABELS.items():
        said = Counter(each for (source, _), each in integers.items() if source == name)
        assert said.most_common(1)[0][0] == label


def _labels(clips: Path, artifact: Path) -> dict[tuple[str, float], str]:
    """The label of every window of the real clips, by file and time."""
    found = {}
    with open_session(artifact) as session:
        for clip in sorted(clips.iterdir()):
            for record in recognize(clip, session, options=_EACH_WINDOW):
                if isinstance(record, Prediction):
                    found[clip.name, record.t_start] = record.label
    return found
