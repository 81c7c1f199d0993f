"""What is taken for an artifact, and what is said of what is none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from s2tf_edge.errors import InputFileError
from s2tf_edge.runtime import open as opening
from s2tf_edge.runtime.open import is_artifact, open_session
from s2tf_edge.runtime.session import SessionOptions


def test_a_folder_with_a_meta_json_or_a_file_of_a_network_s_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.mp4").mkdir()
    (tmp_path / "a.mp4/meta.json").touch()
    (tmp_path / "videos").mkdir()
    names = ("a.mp4", "a.mp4/meta.json", "gone.pt", "gone.PTH", "gone.onnx", "model.xml", "videos", "gone", "clip.mp4")
    assert [is_artifact(str(tmp_path / name)) for name in names] == [True] * 6 + [False] * 3
    monkeypatch.chdir(tmp_path / "a.mp4")
    assert [is_artifact(text) for text in (".", "", "https://host/model.onnx")] == [True, False, False]


def test_a_graph_alone_does_not_say_what_it_takes(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"\x08\x08\x12\x07pytorch")
    with pytest.raises(InputFileError, match=r"a\.onnx is an ONNX graph, .* export it first: s2tf-export \S+a\.onnx"):
        open_session(tmp_path / "a.onnx")


def test_a_graph_in_an_artifact_stands_for_the_artifact() -> None:
    folder = Path(__file__).parents[1] / "golden/version_1/tiny_onnx_fp32"
    assert open_session(folder / "model.onnx").info == open_session(folder).info


@pytest.mark.parametrize(
    ("bits", "device", "overflows", "warns"),
    [
        (8, "auto", True, True),
        (None, "CPU", True, True),
        (7, "auto", True, False),
        (8, "CUDA", True, False),
        (8, "auto", False, False),
    ],
)
def test_integers_that_overflow_on_this_processor_are_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    bits: int | None,
    device: str,
    overflows: bool,
    warns: bool,
) -> None:
    folder = Path(shutil.copytree(Path(__file__).parents[1] / "golden/version_1/tiny_onnx_fp32", tmp_path / "a"))
    meta = json.loads((folder / "meta.json").read_text("utf-8"))
    meta["precision"]["asked"] = "int8"
    meta["build"] = {} if bits is None else {"weight_bits": bits}
    (folder / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    monkeypatch.setattr(opening, "saturates_int8", lambda: overflows)
    open_session(folder, SessionOptions(device=device))
    assert ("has no VNNI" in caplog.text) is warns
