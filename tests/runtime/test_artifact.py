from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from s2tf_edge.errors import InputFileError
from s2tf_edge.runtime.artifact import (
    FORMAT_VERSION,
    META_FILE,
    ArtifactMeta,
    check_files,
    read_meta,
    sha256,
    write_meta,
)
from s2tf_edge.spec import ClipSpec


@pytest.fixture
def meta() -> ArtifactMeta:
    return ArtifactMeta(
        network="r3d_10?width=0.25",
        labels=("wave", "größer", "<b>"),
        clip=ClipSpec(frames=8, size=32, stride=2, fps=30),
        target="onnx",
        precision={"asked": "fp32", "obtained": {"Conv": {"f32": 3}}},
        inputs={"clip": {"shape": [1, 3, 8, 32, 32], "dtype": "float32"}},
        outputs={"logits": {"shape": [1, 3], "dtype": "float32"}},
        model="model.onnx",
        files={"model.onnx": "0" * 64},
    )


def _rewrite(folder: Path, **changes: Any) -> None:
    path = folder / META_FILE
    values = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps({key: value for key, value in values.items() if value is not ...}), encoding="utf-8")


def test_what_was_written_is_read_back(meta: ArtifactMeta, tmp_path: Path) -> None:
    write_meta(meta, tmp_path)
    assert read_meta(tmp_path) == meta
    assert next(iter(json.loads((tmp_path / META_FILE).read_text(encoding="utf-8")))) == "format"


def test_the_order_of_keys_means_nothing(meta: ArtifactMeta, tmp_path: Path) -> None:
    files = {"model.bin": "1" * 64, "model.xml": "0" * 64}
    write_meta(dataclasses.replace(meta, model="model.xml", files=files), tmp_path)
    assert read_meta(tmp_path).model == "model.xml"


def test_unknown_keys_are_left_to_later_versions(meta: ArtifactMeta, tmp_path: Path) -> None:
    write_meta(meta, tmp_path)
    _rewrite(tmp_path, later=1)
    assert read_meta(tmp_path) == meta


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": FORMAT_VERSION + 1}, "has artifact format 2, this version reads 1; export the model again"),
        ({"network": ...}, "is not a valid artifact description"),
        ({"labels": None}, "labels must be a list"),
        ({"labels": "abc"}, "labels must be a list"),
        ({"network": 1}, "network must be a string"),
        ({"model": ...}, "is not a valid artifact description"),
        ({"model": "model.bin"}, r"its model 'model\.bin' is none of its files"),
        ({"source": []}, "source must be an object"),
        ({"build": []}, "build must be an object"),
        ({"clip": []}, "clip must be an object"),
        ({"clip": {"frames": 8, "size": 32, "std": [float("nan")] * 3}}, "std must be three finite numbers above zero"),
        ({"clip": {"frames": 8, "size": 32, "mean": [0, 0, 10**400]}}, "clip spec is not valid"),
        ({"clip": {"frames": 8}}, "clip spec is not valid"),
        ({"clip": {"frames": 8, "size": 32, "color": 1}}, "unknown keys"),
        ({"files": {}}, "is none of its files"),
        ({"files": {"../model.onnx": "0"}}, "leaves the folder"),
        ({"files": {"/model.onnx": "0"}}, "leaves the folder"),
        ({"files": ["model.onnx"]}, "files must be an object"),
        ({"precision": "fp32"}, "precision must be an object"),
    ],
)
def test_a_malformed_description_is_an_input_error(
    meta: ArtifactMeta, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    write_meta(meta, tmp_path)
    _rewrite(tmp_path, **changes)
    with pytest.raises(InputFileError, match=message):
        check_files(read_meta(tmp_path), tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not valid JSON"),
        ("[" * 100_000, "is not valid JSON"),
        ("[]", "must hold one JSON object, got list"),
        ("\xff\xfe", "is not valid JSON|artifact"),
    ],
)
def test_text_that_is_no_description_is_an_input_error(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / META_FILE).write_text(text, encoding="latin-1")
    with pytest.raises(InputFileError, match=message):
        read_meta(tmp_path)


def test_files_are_compared_with_their_hashes(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"abc")
    # The digest of "abc" in FIPS 180-2.
    assert sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    with pytest.raises(InputFileError, match=r"cannot read .*: No such file or directory"):
        sha256(tmp_path / "nothing")
