from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from s2tf_edge.clip_file import read_clip_file
from s2tf_edge.errors import InputFileError
from s2tf_edge.spec import ClipSpec

_SHARED = Path(__file__).parents[1] / "../shared/models/i3d_rgb_k400_t32.json"


def _values(**changes: Any) -> dict[str, Any]:
    """A file that is right but for ``changes``; None takes a key out."""
    values = {"frames": 8, "crop": 32, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.5, 1], "labels": ["run", "wälk"]}
    return {key: value for key, value in (values | changes).items() if value is not None}


def _write(path: Path, values: Any) -> Path:
    path.write_text(json.dumps(values, ensure_ascii=False), encoding="utf-8")
    return path


def test_what_is_left_out_is_as_in_a_clip_spec(tmp_path: Path) -> None:
    path = _write(tmp_path / "clips é.json", _values())
    file = read_clip_file(path)
    assert file.spec == ClipSpec(frames=8, size=32, mean=(0.5, 0.5, 0.5), std=(0.25, 0.5, 1.0))
    assert file.labels == ("run", "wälk")
    assert (file.name, file.input, file.output) == (str(path), None, None)


def test_everything_that_may_be_given(tmp_path: Path) -> None:
    given = _values(stride=2, fps=29.97, resize_short_side=40, input="x:0", output="y", note="by hand", shape=[1, 3])
    file = read_clip_file(_write(tmp_path / "a.json", given))
    assert (file.spec.stride, file.spec.fps, file.spec.resize_short_side) == (2, 29.97, 40)
    assert (file.input, file.output) == ("x:0", "y")


def test_labels_may_be_in_a_file_beside(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("jump\nrun\n", encoding="utf-8")
    assert read_clip_file(_write(tmp_path / "a.json", _values(labels="names.txt"))).labels == ("jump", "run")
    with pytest.raises(InputFileError, match=r"cannot read .*none\.txt: No such file"):
        read_clip_file(_write(tmp_path / "a.json", _values(labels="none.txt")))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"frames": None, "frame": 8},
            r"it lacks frames; 'frame' looks like 'frames' misspelt; required are frames, crop",
        ),
        ({"crop": None, "mean": None}, "it lacks crop, mean; required are"),
        ({"FPS": 30}, "'FPS' looks like 'fps' misspelt.*allowed stride, fps, resize_short_side, input, output"),
        ({"Stride": 2, "resize_shortside": 40}, "'Stride' looks like 'stride' misspelt; 'resize_shortside' looks like"),
        ({"Layout": "NTHWC", "channel": "BGR"}, "'Layout' looks like 'layout' misspelt; 'channel' looks like"),
    ],
)
def test_a_key_that_is_missing_or_misspelt_is_named(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=message):
        read_clip_file(_write(tmp_path / "a.json", _values(**changes)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": 8.0}, r"a\.json does not describe a clip: frames must be a whole number from 1 to 1024, got 8\.0"),
        ({"frames": True}, "frames must be a whole number"),
        ({"crop": 5000}, "clip: crop must be a whole number from 1 to 4096, got 5000"),
        ({"crop": [32, 32]}, r"crop must be a whole number from 1 to 4096, got \[32, 32\]"),
        ({"stride": 0}, "stride must be a whole number from 1"),
        ({"fps": True}, "fps must be a number, got true"),
        ({"fps": "25"}, 'fps must be a number, got "25"'),
        ({"fps": 0}, r"fps must lie in \(0, 1000\], got 0"),
        ({"resize_short_side": False}, "resize_short_side must be a whole number, got false"),
        ({"resize_short_side": 31}, "resize_short_side must be a whole number from 32"),
        ({"mean": 0.5}, "mean must be a list of three numbers, got 0.5"),
        ({"mean": [0.5, 0.5]}, r"mean must be a list of three numbers, got \[0\.5, 0\.5\]"),
        ({"mean": [10**400, 0, 0]}, "a number is too large"),
        ({"std": [True, 1, 1]}, "std must be a list of three numbers"),
        ({"std": [0, 1, 1]}, "std must be three finite numbers above zero"),
        ({"labels": []}, "labels must name one class or more, each once; got 0 names"),
        ({"labels": ["run", "run"]}, "got 2 names, 1 different"),
        ({"labels": ["run", " "]}, "labels must be a list of names, or the name of a file"),
        ({"labels": {"run": 0}}, 'labels must be a list of names.*got {"run": 0}'),
        ({"labels": [1] * 400}, r"labels must be a list of names.*got \[1, 1,.{,60}…$"),
        ({"input": 3}, "input must be the name of a tensor, got 3"),
        ({"output": ""}, "output must be the name of a tensor"),
    ],
)
def test_a_value_that_is_not_allowed_is_named(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=message):
        read_clip_file(_write(tmp_path / "a.json", _values(**changes)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not valid JSON in UTF-8"),
        (b"\xff\xfe{}", "is not valid JSON in UTF-8"),
        (b'{"fps": NaN}', "NaN is no JSON number"),
        (b'{"fps": -Infinity}', "-Infinity is no JSON number"),
        (b"[" * 100_000, "is not valid JSON in UTF-8"),
        (b"[1]", r"must hold one JSON object with frames, crop, mean, std, labels; got \[1\]"),
        (b" " * (16 * 2**20 + 1), "larger than 16777216 bytes"),
    ],
    ids=["empty", "utf-16", "nan", "infinity", "deep", "list", "large"],
)
def test_a_file_that_is_no_json_object(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputFileError, match=message):
        read_clip_file(tmp_path / "a.json")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"cannot read .*none\.json: No such file"):
        read_clip_file(tmp_path / "none.json")
    with pytest.raises(InputFileError, match=r"cannot read .*: Is a directory"):
        read_clip_file(tmp_path)


@pytest.mark.needs_shared
def test_a_real_file() -> None:
    file = read_clip_file(_SHARED)
    assert (file.spec.frames, file.spec.stride, file.spec.size, file.spec.resize_short_side) == (32, 2, 224, 256)
    assert (len(file.labels), file.labels[0], file.output) == (400, "abseiling", "logits")
