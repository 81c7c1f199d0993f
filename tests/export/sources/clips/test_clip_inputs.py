"""What the shape of an input says against its clip file, and what the message advises."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import parser

from s2tf_edge.clip_file import read_clip_file
from s2tf_edge.errors import InputFileError
from s2tf_edge.export.sources.plain_onnx import PlainOnnx, read_plain_onnx

_END = "t = Constant <value_ints = [1, 5]> () y = Expand (e, t)"


def _read(takes: str, folder: Path, *, gives: str = "float[N,5] y", end: str = _END, **changes: Any) -> PlainOnnx:
    """A graph that only has the ends of a network, read with a clip file of 4 frames of 16 pixels."""
    model = parser.parse_model(f"""<ir_version: 10, opset_import: ["": 18]> net ({takes}) => ({gives}) {{
        c = Cast <to = 1> ({takes.split()[-1]}) m = ReduceMean <keepdims = 1> (c) e = Flatten (m) {end} }}""")
    onnx.save(model, folder / "net.onnx")
    values = {"frames": 4, "crop": 16, "mean": [0.5] * 3, "std": [0.5] * 3, "labels": list("abcde"), **changes}
    (folder / "net.json").write_text(json.dumps({key: value for key, value in values.items() if value is not None}))
    return read_plain_onnx(folder / "net.onnx", read_clip_file(folder / "net.json"))


@pytest.mark.parametrize(
    ("takes", "changes", "message"),
    [
        (
            "float[1,4,16,16,3] x",
            {},
            r'is \[1, 4, 16, 16, 3\], .* should be \[N, 3, 4, 16, 16\] \(clips, .* NTHWC: write "layout": "NTHWC", or',
        ),
        ("float[N,4,3,16,16] x", {}, r'shape of layout NTCHW: write "layout": "NTCHW"'),
        ("float[1,1,3,4,16,16] x", {}, r'shape of layout NVCTHW: write "layout": "NCTHW", "views": 1, or'),
        ("float[1,10,4,16,16,3] x", {}, r'layout NVTHWC: write "layout": "NTHWC", "views": 10, or'),
        ("float[4,3,16,16] x", {}, r'layout \(NT\)CHW: write "layout": "\(NT\)CHW", or'),
        ("float[1,12,16,16] x", {}, r'layout N\(TC\)HW: write "layout": "N\(TC\)HW", or'),
        ("float[3,4,16,16] x", {}, r'layout CTHW: write "layout": "CTHW", or'),
        ("float[1,3,8,16,16] x", {}, r'shape of layout NCTHW: write "frames": 8, or'),
        ("float[1,8,32,32,3] x", {}, r'write "layout": "NTHWC", "frames": 8, "crop": 32, or'),
        (
            "float[1,3,4,16,16] x",
            {"layout": "NTHWC"},
            r'\(clips, frames, height, width, channels\); that is .* of layout NCTHW: write "layout": "NCTHW", or',
        ),
        ("float[1,3,4,16,16] x", {"views": 1}, r'write "layout": "NCTHW" and leave out views, or'),
        ("float[1,3,3,16,16] x", {"frames": 4}, r'layout NCTHW or NTCHW: write "frames": 3'),
        ("float[1,3,4,16,24] x", {}, "correct the one or the other; pictures are square here, of one height and width"),
        ("float[1,1,4,16,16] x", {}, "correct the one or the other; it has no axis of 3 channels"),
        ("float[1,2,3,4,16,16] x", {"views": 3}, r'write "views": 2, or'),
        ("uint8[1,4,16,16,3] x", {"layout": "NTHWC"}, r'is uint8, so it takes raw pixels; write "dtype": "uint8" in'),
        (
            "float[1,3,4,16,16] x",
            {"dtype": "uint8", "mean": None, "std": None},
            r'is float32, but .* says dtype uint8; write "dtype": "float32"',
        ),
        ("int32[1,3,4,16,16] x", {}, "is int32, but must be float32, float16 or uint8"),
        (
            "float[1,3,2,16,16] slow, float[1,3,4,16,16] fast",
            {},
            r'takes 2 inputs \(slow, fast\); .* through several pathways: .*"inputs": {"slow": {"frames": …}, "fast"',
        ),
        (
            "float[1,3,2,16,16] slow, float[1,3,4,16,16] fast",
            {"inputs": {"fast": {}}},
            r"describes the inputs fast, but .*net\.onnx has slow, fast; describe each of these once",
        ),
        (
            "float[1,3,2,16,16] slow, float[1,3,4,16,16] fast",
            {"inputs": {"fast": {}, "slow": {"frames": 3}}},
            r'input slow of .* is \[1, 3, 2, 16, 16\], but with the frames \(3\) .* write "frames": 2, or',
        ),
        (
            "float[1,3,2,16,16] slow, float[2,3,4,16,16] fast",
            {"inputs": {"fast": {}, "slow": {"frames": 2}}},
            r"take different numbers of clips at once \(slow 1, fast 2\)",
        ),
    ],
)
def test_a_shape_that_contradicts_is_advised(takes: str, changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=message):
        _read(takes, tmp_path, **changes)


def test_rows_that_are_neither_views_nor_pictures_are_refused(tmp_path: Path) -> None:
    end = _END.replace("[1, 5]", "[3, 5]")
    with pytest.raises(
        InputFileError, match=r"gives y \[3, 5\] for a batch of 1, which is not 1 or 2 times the 5 labels"
    ):
        _read("float[1,2,3,4,16,16] x", tmp_path, views=2, end=end, gives="float[M,5] y")
