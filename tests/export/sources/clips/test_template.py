"""What a template says of a graph's shapes, what it guesses, and that it says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import parser

from s2tf_edge.clip_file import read_clip_file
from s2tf_edge.errors import InputFileError
from s2tf_edge.export.sources.clips.description import describe_clips, write_description
from s2tf_edge.export.sources.plain_onnx import read_plain_onnx

_END = "m = ReduceMean <keepdims = 1> (x) e = Flatten (m) t = Constant <value_ints = [1, 6]> () y = Expand (e, t)"


def _describe(takes: str, folder: Path, *, gives: str = "float[N,6] y", end: str = _END, **meta: str) -> dict[str, Any]:
    model = parser.parse_model(f'<ir_version: 10, opset_import: ["": 18]> net ({takes}) => ({gives}) {{ {end} }}')
    for key, value in meta.items():
        model.metadata_props.add(key=key, value=value)
    onnx.save(model, folder / "net.onnx")
    return describe_clips(folder / "net.onnx")


def test_everything_that_the_shapes_tell(tmp_path: Path) -> None:
    values = _describe("float[1,3,13,160,160] x", tmp_path)
    notes = values.pop("notes")
    assert values == {
        "frames": 13, "stride": 1, "fps": 25.0, "resize_short_side": 160, "crop": 160,
        "mean": [0.45] * 3, "std": [0.225] * 3, "layout": "NCTHW", "channels": "RGB", "dtype": "float32",
        "labels": [f"class {index}" for index in range(6)],
    }  # fmt: skip
    assert set(notes) == {"about", "stride", "fps", "resize_short_side", "mean", "std", "channels", "labels"}


@pytest.mark.parametrize(
    ("takes", "found"),
    [
        ("float[1,16,112,112,3] x", {"layout": "NTHWC", "frames": 16, "crop": 112}),
        ("float[1,8,3,224,224] x", {"layout": "NTCHW", "frames": 8, "crop": 224}),
        ("float[N,1,3,32,224,224] x", {"layout": "NCTHW", "views": 1, "frames": 32}),
        ("float[1,30,8,3,224,224] x", {"layout": "NTCHW", "views": 30, "frames": 8}),
        ("float[1,24,224,224] x", {"layout": "N(TC)HW", "frames": 8}),
        ("float[3,16,112,112] x", {"layout": "CTHW", "frames": 16}),
        ("float[N,3,t,h,w] x", {"layout": "NCTHW", "frames": 16, "crop": 224}),
        ("float[N,t,h,w,3] x", {"layout": "NTHWC", "frames": 16, "crop": 224}),
        ("float[a,b,c,d,e] x", {"layout": "NCTHW", "frames": 16, "crop": 224}),
        ("float[8,3,224,224] x", {"layout": "(NT)CHW", "frames": 8}),
        ("float[n,3,224,224] x", {"layout": "(NT)CHW", "frames": 8}),
    ],
)
def test_layouts_are_found(takes: str, found: dict[str, Any], tmp_path: Path) -> None:
    values = _describe(takes, tmp_path)
    assert {key: values.get(key) for key in found} == found
    (tmp_path / "net.json").write_text(write_description(values), encoding="utf-8")
    read_plain_onnx(tmp_path / "net.onnx", read_clip_file(tmp_path / "net.json"))


@pytest.mark.parametrize(
    ("takes", "key", "note"),
    [
        ("float[N,3,t,112,112] x", "frames", "a guess: the graph takes any number"),
        ("float[N,3,8,h,w] x", "crop", "a guess: the graph takes any number"),
        ("float[a,b,c,d,e] x", "layout", "a guess, as the graph does not say which axis has the three channels"),
        ("float[1,3,3,32,32] x", "layout", "the shape fits NTCHW as well"),
        (
            "float[1,24,32,32] x",
            "layout",
            "a guess: N(CT)HW where all frames of one channel come before those of the next",
        ),
        ("float[1,10,3,8,32,32] x", "views", "the clip is given to each view; one view is as good and takes less time"),
        ("float[1,3,8,32,32] x", "mean", "a guess: of pixels from 0 to 1, in the network's order of channels"),
    ],
)
def test_what_is_a_guess_is_said_to_be_one(takes: str, key: str, note: str, tmp_path: Path) -> None:
    assert _describe(takes, tmp_path)["notes"][key] == note


def test_pictures_of_several_clips_are_counted(tmp_path: Path) -> None:
    """Sixteen pictures that give two rows of logits are two clips of eight."""
    end = "s = Constant <value_ints = [-1, 8, 3, 32, 32]> () c = Reshape (x, s) "
    end += "a = Constant <value_ints = [1, 2, 3, 4]> () m = ReduceMean <keepdims = 0> (c, a) "
    end += "o = Constant <value_ints = [1]> () u = Unsqueeze (m, o) "
    end += "t = Constant <value_ints = [1, 6]> () y = Expand (u, t)"
    values = _describe("float[16,3,32,32] x", tmp_path, end=end, gives="float[M,6] y")
    assert (values["frames"], values["notes"]["frames"]) == (8, "as many as make one row of logits")
    (tmp_path / "net.json").write_text(write_description(values), encoding="utf-8")
    assert read_plain_onnx(tmp_path / "net.onnx", read_clip_file(tmp_path / "net.json")).batch == 2


def test_names_of_classes_come_from_the_graph_where_it_has_them(tmp_path: Path) -> None:
    values = _describe(
        "float[1,3,8,32,32] x", tmp_path, names="{0: 'run', 1: 'gähnen', 2: 'c', 3: 'd', 4: 'e', 5: 'f'}"
    )
    assert values["labels"] == ["run", "gähnen", "c", "d", "e", "f"]
    assert "labels" not in values["notes"]
    assert '"gähnen"' in write_description(values)


def test_a_number_of_classes_that_is_not_told(tmp_path: Path) -> None:
    end = "s = Shape (x) h = Cast <to = 1> (s) z = NonZero (h) f = Cast <to = 1> (z) y = Identity (f)"
    values = _describe("float[1,3,8,32,32] x", tmp_path, end=end, gives="float[a,b] y")
    assert values["labels"] == ["class 0"]
    assert "does not tell how many" in values["notes"]["labels"]


def test_one_of_several_outputs_is_named(tmp_path: Path) -> None:
    values = _describe(
        "float[1,3,8,32,32] x", tmp_path, gives="float[1,6] y, float[1,6] logits", end=f"{_END} logits = Neg (y)"
    )
    assert (values["output"], values["notes"]["output"]) == ("logits", "one of y, logits")


def test_the_text_is_json_with_a_key_a_line(tmp_path: Path) -> None:
    values = _describe("float[1,3,8,32,32] x", tmp_path)
    text = write_description(values)
    assert json.loads(text) == values
    assert ' "mean": [0.45, 0.45, 0.45],\n' in text
    assert '  "stride": "a guess",\n' in text


@pytest.mark.parametrize(
    ("takes", "message"),
    [
        (
            "float[1,128] x",
            r"input x of .*net\.onnx is float \[1, 128\], which is no clip of square pictures in three chan",
        ),
        ("float[1,1,8,32,32] x", r"is float \[1, 1, 8, 32, 32\], which is no clip"),
        ("float[1,3,8,32,48] x", r"is float \[1, 3, 8, 32, 48\], which is no clip"),
        ("double[1,3,8,32,32] x", r"is double .* a network here takes float32, float16, uint8, such as \[N, 3, T"),
    ],
)
def test_a_graph_of_something_else_is_refused(takes: str, message: str, tmp_path: Path) -> None:
    end = "y = Identity (x)"
    with pytest.raises(InputFileError, match=message):
        _describe(takes, tmp_path, end=end, gives=takes.replace(" x", " y"))


def test_outputs_that_are_no_logits_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="gives y, none of which is float32 logits; export the logits"):
        _describe("float[1,3,8,32,32] x", tmp_path, end="y = Shape (x)", gives="int64[5] y")


@pytest.mark.parametrize("clip", ["[" * 100_000, "{", "null", "[1]", '{"frames": Infinity}', '{"mean": [[]]}'])
def test_metadata_that_describes_no_clip_is_left_alone(clip: str, tmp_path: Path) -> None:
    values = _describe("float[1,3,13,160,160] x", tmp_path, clip=clip, labels='{"a": Infinity}')
    assert (values["frames"], values["crop"], values["stride"]) == (13, 160, 1)
    assert values["labels"] == [f"class {index}" for index in range(6)]
