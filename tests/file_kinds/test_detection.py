"""Every kind of file is told by what it holds, whatever it is called."""

from __future__ import annotations

import json
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from s2tf_edge.file_kinds import FileKind, find_kind
from s2tf_edge.models import create_model, save_model

TS_PACKET = b"\x47" + bytes(187)
META = {"format": 1, "target": "onnx", "files": {"model.onnx": "0" * 64, "verify.json": "0" * 64}}


def _onnx() -> bytes:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", ends[:1], ends[1:])
    return bytes(helper.make_model(graph).SerializeToString())


def _safetensors() -> bytes:
    header = json.dumps({"fc.weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(4)


BYTES: dict[str, tuple[bytes, FileKind]] = {
    "onnx": (_onnx(), FileKind.ONNX),
    "safetensors": (_safetensors(), FileKind.SAFETENSORS),
    "pickle": (pickle.dumps({"blobs": [1]}, protocol=2), FileKind.CHECKPOINT),
    "engine": (b"vtrt" + bytes(60), FileKind.ENGINE),
    "tflite": (b"\x1c\0\0\0TFL3" + bytes(60), FileKind.TFLITE),
    "ort": (b"\x18\0\0\0ORTM" + bytes(60), FileKind.ORT),
    "executorch": (b"\x18\0\0\0ET12" + bytes(60), FileKind.EXECUTORCH),
    "gguf": (b"GGUF\x03\0\0\0" + bytes(60), FileKind.GGUF),
    "pdf": (b"%PDF-1.7\n", FileKind.PDF),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(60), FileKind.KERAS),
    "IR": (b'<?xml version="1.0"?>\n<net name="Model0" version="11">\n', FileKind.IR),
    "mp4": (b"\0\0\0\x20ftypisom" + bytes(60), FileKind.VIDEO),
    "avi": (b"RIFF\x10\0\0\0AVI LIST", FileKind.VIDEO),
    "mkv": (b"\x1aE\xdf\xa3" + bytes(60), FileKind.VIDEO),
    "ts": (TS_PACKET * 3, FileKind.VIDEO),
    "m2ts": ((bytes(4) + TS_PACKET) * 3, FileKind.VIDEO),
    "webp": (b"RIFF\x10\0\0\0WEBPVP8 ", FileKind.PICTURE),
    "bmp": (b"BM\x36\0\0\0" + bytes(60), FileKind.PICTURE),
    "jpeg": (b"\xff\xd8\xff\xe0" + bytes(60), FileKind.PICTURE),
    "gzip": (b"\x1f\x8b\x08" + bytes(60), FileKind.ARCHIVE),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n", FileKind.POINTER),
    "page": (b"\n<!DOCTYPE html><html><title>Sign in</title>", FileKind.WEB_PAGE),
    "page without a type": (b"\xef\xbb\xbf<head><title>Sign in</title>", FileKind.WEB_PAGE),
    "error of S3": (b'<?xml version="1.0"?>\n<Error><Code>NoSuchKey</Code></Error>', FileKind.WEB_PAGE),
    "XHTML": (b'<?xml version="1.0"?><!DOCTYPE html><html></html>', FileKind.WEB_PAGE),
    "other XML": (b'<?xml version="1.0"?><annotation/>', FileKind.TEXT),
    "Markdown": (b"<!-- <html> -->\n# Networks\n", FileKind.TEXT),
    "empty": (b"", FileKind.EMPTY),
    "text": ("größe = 3\n".encode(), FileKind.TEXT),
    "text cut in a letter": (b"a" + "ö".encode() * 2**21, FileKind.TEXT),
    "noise": (b"\xfe\xed\0\xff" * 16, FileKind.UNKNOWN),
    "clip file": (b'{"frames": 8, "crop": 32, "labels": ["a"]}', FileKind.CLIP_FILE),
    "class names": (b'["run", "walk"]', FileKind.CLASS_NAMES),
    "numbered classes": (b'\xef\xbb\xbf{"run": 0, "walk": 1}', FileKind.CLASS_NAMES),
    "other JSON": (b'{"epochs": 3, "lr": 0.1}', FileKind.JSON),
    "no JSON": (b'{"epochs": 3', FileKind.TEXT),
    "deep JSON": (b"[" * 100_000, FileKind.TEXT),
    "words that look like a video": (b"the skip of it\n", FileKind.TEXT),
    "a list that looks like a picture": (b"BMX/a.avi\n", FileKind.TEXT),
}


@pytest.mark.parametrize(("data", "kind"), BYTES.values(), ids=BYTES)
def test_what_a_file_is_does_not_hang_on_its_name(data: bytes, kind: FileKind, tmp_path: Path) -> None:
    for name in ("file", "file.pt", "file.dat"):
        (tmp_path / name).write_bytes(data)
        assert find_kind(tmp_path / name).kind is kind


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("m.plan", b"\x01\x02\0", FileKind.ENGINE),
        ("m.trt", b"\x01\x02\0", FileKind.ENGINE),
        ("frozen.pb", b"\x0a\x10\0", FileKind.GRAPHDEF),
        ("saved_model.pb", b"\x08\x01\x12\x04abcd", FileKind.GRAPHDEF),
        ("net.pb", b"\x08\x03\x12\x04abcd", FileKind.ONNX),
        ("list.txt", b"a.avi 0\nb.avi 1\n", FileKind.LIST),
        ("list.csv", b"a.avi,0\n", FileKind.LIST),
    ],
)
def test_where_bytes_do_not_tell_the_name_does(name: str, data: bytes, kind: FileKind, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    assert find_kind(tmp_path / name).kind is kind


def _save_script(path: Path) -> None:
    torch.jit.script(nn.Linear(2, 2)).save(path)  # type: ignore[no-untyped-call]


def _save_model(path: Path) -> None:
    save_model(path, create_model("r3d_10?width=0.0625", num_classes=2, frames=4, size=24))


def _save_keras(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", "")


def _save_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("clips/a.avi", "")


def _save_arrays(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, x=np.zeros(1))


def _save_tar(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        archive.add(__file__)


def _save_old_checkpoint(path: Path) -> None:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for name in ("sys_info", "pickle", "tensors", "storages"):
            archive.addfile(tarfile.TarInfo(name))


WRITERS: dict[str, tuple[Callable[[Path], Any], FileKind]] = {
    "model.pt": (_save_model, FileKind.MODEL),
    "checkpoint": (lambda path: torch.save({"model_state": nn.Linear(2, 2).state_dict()}, path), FileKind.CHECKPOINT),
    "older checkpoint": (
        lambda path: torch.save(nn.Linear(2, 2).state_dict(), path, _use_new_zipfile_serialization=False),
        FileKind.CHECKPOINT,
    ),
    "last.ckpt": (
        lambda path: torch.save({"state_dict": nn.Linear(2, 2).state_dict(), "s2tf_run": {}}, path),
        FileKind.RUN_CHECKPOINT,
    ),
    "torch.export": (
        lambda path: torch.export.save(torch.export.export(nn.Linear(2, 2), (torch.zeros(1, 2),)), path),
        FileKind.EXPORTED_PROGRAM,
    ),
    "keras": (_save_keras, FileKind.KERAS),
    "zip": (_save_zip, FileKind.ARCHIVE),
    "tar": (_save_tar, FileKind.ARCHIVE),
    "checkpoint of PyTorch 0.1": (_save_old_checkpoint, FileKind.CHECKPOINT),
    "npz": (_save_arrays, FileKind.ARRAYS),
}


@pytest.mark.parametrize(("write", "kind"), WRITERS.values(), ids=WRITERS)
def test_archives_are_told_by_their_members(write: Callable[[Path], Any], kind: FileKind, tmp_path: Path) -> None:
    path = tmp_path / "a.pt2"
    write(path)
    assert find_kind(path).kind is kind


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_torchscript_is_no_checkpoint(tmp_path: Path) -> None:
    _save_script(tmp_path / "a.pt")
    assert find_kind(tmp_path / "a.pt").kind is FileKind.TORCHSCRIPT


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("touched by a pickle"),))  # type: ignore[return-value]


def test_looking_runs_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"kind": "s2tf_edge.model", "state": Evil()}, "evil.pt")
    Path("evil.pkl").write_bytes(pickle.dumps(Evil()))
    assert [find_kind(name).kind for name in ("evil.pt", "evil.pkl")] == [FileKind.MODEL, FileKind.CHECKPOINT]
    assert sorted(os.listdir()) == ["evil.pkl", "evil.pt"]  # noqa: PTH208


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    folder = tmp_path / "out" / "net_onnx_fp32"
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text(json.dumps(META))
    for name in META["files"]:  # type: ignore[attr-defined]
        (folder / name).write_bytes(b"\x08\x08\x12\x01a")
    return folder


def test_a_file_of_an_artifact_stands_for_it(artifact: Path) -> None:
    for name in ("meta.json", "model.onnx", "verify.json"):
        found = find_kind(artifact / name)
        assert (found.kind, found.stands_for) == (FileKind.ARTIFACT_FILE, artifact)
    (artifact / "notes.md").write_text("mine")
    found = find_kind(artifact / "notes.md")
    assert (found.kind, found.stands_for) == (FileKind.TEXT, artifact / "notes.md")
    assert find_kind(artifact).kind is FileKind.ARTIFACT


def test_another_tool_s_meta_json_makes_no_artifact_of_what_lies_beside_it(artifact: Path) -> None:
    (artifact / "meta.json").write_text('{"frames": 8, "crop": 32}')
    assert find_kind(artifact / "model.onnx").kind is FileKind.ONNX
    assert find_kind(artifact / "meta.json").kind is FileKind.CLIP_FILE


def test_folders_say_what_is_in_them(artifact: Path, tmp_path: Path) -> None:
    assert find_kind(artifact.parent).kind is FileKind.ARTIFACTS
    assert find_kind(artifact.parent).related == (artifact,)
    assert find_kind(tmp_path).kind is FileKind.FOLDER
    (tmp_path / "model.pt").touch()
    assert find_kind(tmp_path).related == (tmp_path / "model.pt",)
    (artifact.parent / "saved_model.pb").touch()
    assert find_kind(artifact.parent).kind is FileKind.SAVED_MODEL


def test_a_graph_and_its_clip_file_know_each_other(tmp_path: Path) -> None:
    graph, clips = tmp_path / "net.onnx", tmp_path / "net.json"
    graph.write_bytes(_onnx())
    clips.write_text('["run", "walk"]')
    assert find_kind(graph).related == ()
    clips.write_text('{"frames": 8, "crop": 32}')
    assert (find_kind(graph).related, find_kind(clips).related) == ((clips,), (graph,))


def test_a_folder_with_a_network_says_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "net.xml").write_text('<?xml version="1.0"?><net name="a" version="11">')
    assert find_kind(tmp_path).kind is FileKind.IR_FOLDER
    (tmp_path / "net.onnx").write_bytes(_onnx())
    assert (find_kind(tmp_path).kind, find_kind(tmp_path).related) == (FileKind.ONNX_FOLDER, (tmp_path / "net.onnx",))


@pytest.mark.parametrize("name", ["net.onnx.data", "net.onnx_data", "net.data"])
def test_weights_are_told_by_the_graph_beside_them(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"\xfe\xed\0\xff")
    assert find_kind(tmp_path / name).kind is FileKind.UNKNOWN
    (tmp_path / "net.onnx").write_bytes(_onnx())
    assert find_kind(tmp_path / name).related == (tmp_path / "net.onnx",)


def test_weights_of_openvino_are_told_by_the_graph_beside_them(tmp_path: Path) -> None:
    (tmp_path / "net.bin").write_bytes(b"\xfe\xed\0\xff")
    (tmp_path / "net.xml").write_text("<annotation/>")
    assert find_kind(tmp_path / "net.bin").kind is FileKind.UNKNOWN
    (tmp_path / "net.xml").write_text('<?xml version="1.0"?><net name="a" version="11">')
    assert find_kind(tmp_path / "net.bin").kind is FileKind.IR_WEIGHTS


def test_what_cannot_be_read_is_left_to_who_opens_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    assert [find_kind(tmp_path / name).kind for name in ("pipe", "none")] == [FileKind.UNKNOWN, FileKind.MISSING]
    # Python's versions differ in what they say of names that cannot be.
    kinds = {find_kind(tmp_path / name).kind for name in ("x" * 5000, "\0", "loop")}
    assert kinds <= {FileKind.UNKNOWN, FileKind.MISSING}


def test_of_a_large_file_the_ends_are_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.onnx"
    path.write_bytes(_onnx())
    os.truncate(path, 2**40)
    assert find_kind(path).kind is FileKind.ONNX
