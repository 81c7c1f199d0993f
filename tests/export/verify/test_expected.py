"""What a network said, written beside an engine and read where the network is not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s2tf_edge.errors import InputFileError
from s2tf_edge.export.verify.expected import read_expected, write_expected
from s2tf_edge.runtime.artifact import ArtifactMeta
from s2tf_edge.runtime.session import Outputs
from s2tf_edge.spec import ClipSpec

META = ArtifactMeta(
    network="n",
    labels=tuple("abcde"),
    clip=ClipSpec(frames=4, size=16),
    target="trt",
    precision={"asked": "fp16"},
    inputs={"clip": {"shape": [None, 3, 4, 16, 16], "dtype": "float32"}},
    outputs={"logits": {"shape": [None, 5], "dtype": "float32"}},
    model="model.onnx",
    files={"model.onnx": ""},
)
WITH_MASK = dataclasses.replace(
    META, outputs={**META.outputs, "mask": {"shape": [None, 1, 1, 2, 2], "dtype": "float32"}}
)


def _floats(*shape: int) -> Any:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    outputs = Outputs(logits=_floats(8, 5), mask=_floats(8, 1, 1, 2, 2))
    write_expected(outputs, tmp_path)
    read = read_expected(tmp_path, WITH_MASK)
    np.testing.assert_array_equal(read.logits, outputs.logits)
    assert read.mask is not None
    np.testing.assert_array_equal(read.mask, outputs.mask)


def test_a_mask_that_the_artifact_does_not_put_out_is_left_out(tmp_path: Path) -> None:
    write_expected(Outputs(logits=_floats(8, 5), mask=_floats(8, 1, 1, 2, 2)), tmp_path)
    assert read_expected(tmp_path, META).mask is None


def _npz(folder: Path, **arrays: Any) -> None:
    np.savez_compressed(folder / "expected.npz", **arrays)


def _one_array(folder: Path) -> None:
    with (folder / "expected.npz").open("wb") as file:
        np.save(file, np.zeros((8, 5), np.float32))


def _truncate(folder: Path) -> None:
    path = folder / "expected.npz"
    path.write_bytes(path.read_bytes()[:200])


@pytest.mark.parametrize(
    "damage",
    [
        _truncate,
        lambda folder: (folder / "expected.npz").unlink(),
        lambda folder: (folder / "expected.npz").write_bytes(b""),
        lambda folder: (folder / "expected.npz").write_bytes(b"<html>"),
        _one_array,
        lambda folder: _npz(folder, mask=np.zeros((8, 1))),
        lambda folder: _npz(folder, logits=np.float32(1)),
        lambda folder: _npz(folder, logits=np.zeros((8, 4), np.float32)),
        lambda folder: _npz(folder, logits=np.zeros((2, 5), np.float32)),
        lambda folder: _npz(folder, logits=np.array(["a"] * 40).reshape(8, 5)),
        lambda folder: _npz(folder, logits=np.array([None])),
        lambda folder: _npz(folder, logits=np.zeros((8, 5), np.float32), padding=np.zeros(2**25)),
    ],
)
def test_expected_outputs_that_are_none_are_refused(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    write_expected(Outputs(logits=_floats(8, 5)), tmp_path)
    damage(tmp_path)
    with pytest.raises(InputFileError, match=r"expected\.npz does not hold what a network said of seeded clips"):
        read_expected(tmp_path, META)


@pytest.mark.parametrize("mask", [{}, {"mask": np.zeros((8, 1, 1, 3, 3), np.float32)}], ids=["none", "another shape"])
def test_a_mask_that_the_artifact_has_must_be_expected(tmp_path: Path, mask: dict[str, Any]) -> None:
    _npz(tmp_path, logits=np.zeros((8, 5), np.float32), **mask)
    with pytest.raises(InputFileError, match=r"expected\.npz does not hold what .*mask"):
        read_expected(tmp_path, WITH_MASK)
