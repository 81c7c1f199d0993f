"""What every session checks, on a small session of its own: logits are the brightness of each frame."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from s2tf_edge.errors import InputFileError, UsageError, VerificationError
from s2tf_edge.runtime.artifact import ArtifactMeta, sha256, write_meta
from s2tf_edge.runtime.open import open_session
from s2tf_edge.runtime.session import Clips, ModelInfo, Outputs, Session, SessionOptions
from s2tf_edge.spec import ClipSpec

SPEC = ClipSpec(frames=2, size=4)


class _Brightness(Session):
    backend: ClassVar[str] = "brightness"
    batches: list[int]

    def _open(self) -> None:
        self.batches = []

    def _run(self, clips: Clips) -> Outputs:
        self.batches.append(len(clips))
        logits = clips.mean(axis=(1, 3, 4), dtype=np.float32)
        return Outputs(logits=logits, mask=logits[:, :1, np.newaxis, np.newaxis, np.newaxis])

    def _close(self) -> None:
        self.batches.clear()


def _session(batch: int | None, *, labels: tuple[str, ...] = ("dark", "bright")) -> _Brightness:
    info = ModelInfo(name="a", network="n", target="t", precision="fp32", spec=SPEC, labels=labels, batch=batch)
    return _Brightness(Path("a"), info, SessionOptions())


def _clips(count: int) -> np.ndarray:
    return np.random.default_rng(0).random(SPEC.input_shape(count)).astype(np.float32)


@pytest.mark.parametrize(("batch", "runs"), [(1, [1] * 5), (2, [2, 2, 2]), (5, [5]), (8, [8]), (None, [5])])
def test_clips_are_run_in_batches_and_padding_is_cut_off(batch: int | None, runs: list[int]) -> None:
    clips = _clips(5)
    with _session(batch) as session:
        outputs = session.infer(clips)
        assert isinstance(session, _Brightness)
        assert session.batches == runs
    np.testing.assert_allclose(outputs.logits, clips.mean(axis=(1, 3, 4)), rtol=1e-6)
    assert outputs.mask is not None
    assert outputs.mask.shape == (5, 1, 1, 1, 1)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_not_finite_are_refused(value: float) -> None:
    clips = _clips(3)
    with _session(1) as session:
        session.infer(clips)
        clips[1, 0, 0, 0, 0] = value
        with pytest.raises(VerificationError, match="a computes logits that are not finite; export it in a higher"):
            session.infer(clips)


@pytest.mark.parametrize("labels", [("dark",), ("dark", "gray", "bright")])
def test_labels_that_are_not_the_networks_are_refused(labels: tuple[str, ...]) -> None:
    with (
        _session(1, labels=labels) as session,
        pytest.raises(InputFileError, match=rf"a names {len(labels)} classes, but its logits are \[N, 2\]; export it"),
    ):
        session.infer(_clips(1))


def test_opening_and_closing_twice_is_allowed() -> None:
    session = _session(1)
    for _ in range(2):
        session.open()
        session.open()
        assert session.infer(_clips(1)).logits.shape == (1, 2)
        session.close()
        session.close()


def test_labels_beyond_the_known_have_a_name_too() -> None:
    info = _session(1).info
    assert [info.label(index) for index in range(3)] == ["dark", "bright", "class 2"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threads": -1}, "`threads` must be zero or more, got -1"),
        ({"requests": -1}, "`requests` must be zero or more, got -1"),
        ({"hint": "fast"}, "hint must be one of latency"),
    ],
)
def test_options_are_checked(options: dict[str, int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SessionOptions(**options)  # type: ignore[arg-type]


def _artifact(folder: Path, **changes: object) -> Path:
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"not really a model")
    meta = ArtifactMeta(
        network="n",
        labels=("a", "b"),
        clip=SPEC,
        target="onnx",
        precision={"asked": "fp32"},
        inputs={"clip": {"shape": [None, *SPEC.input_shape()[1:]], "dtype": "float32"}},
        outputs={"logits": {"shape": [None, 2], "dtype": "float32"}},
        model="model.onnx",
        files={"model.onnx": sha256(folder / "model.onnx")},
    )
    write_meta(dataclasses.replace(meta, **changes), folder)  # type: ignore[arg-type]
    return folder


@pytest.mark.parametrize("target", ["trt", "trt-rtx"])
def test_an_engine_has_a_session_that_asks_for_a_gpu(tmp_path: Path, target: str) -> None:
    built_with = {"library": "TensorRT", "version": "10.3.0"}
    folder = _artifact(tmp_path / "a", target=target, build={"built_with": built_with})
    assert open_session(folder).backend == "tensorrt"
    with pytest.raises(UsageError, match="TensorRT has no device 'CPU'; it has auto, GPU"):
        open_session(folder, SessionOptions(device="CPU"))


@pytest.mark.parametrize("device", ["auto", "AUTO", "Auto"])
def test_auto_may_be_written_as_runtimes_write_devices(device: str) -> None:
    assert SessionOptions(device=device).device == dataclasses.replace(SessionOptions(device=device)).device == "auto"


def test_an_artifact_says_what_its_session_takes(tmp_path: Path) -> None:
    info = open_session(_artifact(tmp_path / "a b")).info
    assert (info.name, info.target, info.precision) == ("a b", "onnx", "fp32")
    assert (info.spec, info.labels, info.batch) == (SPEC, ("a", "b"), None)
    assert open_session(tmp_path / "a b" / "meta.json").info == info


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": "tpu"}, "was built for target 'tpu'; this version runs onnx, openvino, trt, trt-rtx artifacts"),
        ({"target": "trt"}, r"does not say what built its engine; build it again: s2tf-export .* --target trt$"),
        ({"target": "trt-rtx", "build": {"built_with": "TensorRT"}}, "does not say what built its engine"),
        (
            {"target": "trt-rtx", "build": {"deferred": True}},
            r"still to be built: on the device, run its build\.sh, or s2tf-export .* --target trt-rtx$",
        ),
        ({"inputs": {}}, "lacks the shape of input 'clip' or the precision; export again"),
        ({"files": {"model.onnx": "0"}}, r"model\.onnx has changed since it was exported"),
        ({"files": {"model.onnx": "0", "model.bin": "0"}}, r"model\.onnx has changed since it was exported"),
        ({"model": "model.xml", "files": {"model.xml": "0"}}, r"lacks its file model\.xml"),
        *(
            ({"inputs": {"clip": {"shape": [batch]}}}, "has batch .*; it must be null or from 1 to 1024")
            for batch in (0, -1, True, "2", 1.5, 10**7)
        ),
    ],
)
def test_an_artifact_that_cannot_be_run_is_an_input_error(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(InputFileError, match=message):
        open_session(_artifact(tmp_path / "a", **changes))


def test_what_is_no_artifact_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"does not exist; give a model\.pt or an artifact folder"):
        open_session(tmp_path / "nothing")
    with pytest.raises(InputFileError, match=r"is not an artifact folder: it has no meta\.json"):
        open_session(tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(InputFileError, match=r"notes\.txt"):
        open_session(tmp_path / "notes.txt")
