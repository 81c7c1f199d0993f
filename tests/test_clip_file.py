from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from s2tf_edge.clip_file import read_clip_file
from s2tf_edge.errors import InputFileError
from s2tf_edge.spec import ClipSpec

_PAGE = Path(__file__).parents[1] / "docs/clip-file.md"
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


@pytest.mark.parametrize("name", ["pipe", "/dev/zero", "."])
def test_labels_of_others_are_read_from_files_alone(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputFileError, match=r"labels names .*, which is no file"):
        read_clip_file(_write(tmp_path / "a.json", _values(labels=name)))


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


def test_how_the_network_takes_a_clip(tmp_path: Path) -> None:
    form = read_clip_file(_write(tmp_path / "a.json", _values())).form
    assert (str(form.tensor.layout), form.tensor.channels, form.tensor.views, form.dtype) == (
        "NCTHW",
        "RGB",
        None,
        None,
    )
    given = _values(layout="NTHWC", views=2, channels="BGR", dtype="float16", notes={"layout": "by hand"})
    file = read_clip_file(_write(tmp_path / "a.json", given))
    tensor = file.form.tensor
    assert (str(tensor.layout), tensor.channels, tensor.views) == ("NVTHWC", "BGR", 2)
    assert file.form.dtype == "float16"
    # The clip is RGB, the file has its numbers in the network's order.
    assert (file.spec.mean, file.spec.std) == ((0.5, 0.5, 0.5), (1.0, 0.5, 0.25))


def test_a_network_of_raw_pixels_needs_no_mean(tmp_path: Path) -> None:
    file = read_clip_file(_write(tmp_path / "a.json", _values(mean=None, std=None, dtype="uint8")))
    assert (file.spec.mean, file.spec.std) == ((0, 0, 0), (1, 1, 1))
    assert read_clip_file(_write(tmp_path / "a.json", _values(mean=[0, 0, 0], std=[1, 1, 1], dtype="uint8"))) == file


def test_pathways_take_frames_of_their_own(tmp_path: Path) -> None:
    given = {"slow": {"frames": 2}, "mid": {"every": 2, "layout": "NTHWC", "channels": "BGR"}, "fast": {}}
    pathways = read_clip_file(_write(tmp_path / "a.json", _values(inputs=given, layout="NTCHW"))).form.pathways
    assert {name: each.frames for name, each in pathways.items()} == {"slow": (0, 7), "mid": (0, 2, 4, 6), "fast": None}
    assert [str(each.layout) for each in pathways.values()] == ["NTCHW", "NTHWC", "NTCHW"]
    assert [each.channels for each in pathways.values()] == ["RGB", "BGR", "RGB"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layout": "NCDHW"}, r"layout must be NCTHW, NTHWC, NTCHW, or another order of N \(clips\), V .* got 'NCDHW'"),
        ({"layout": 5}, "layout must be text such as NTHWC, got 5"),
        ({"views": 0}, "views must be a whole number from 1 to 256, got 0"),
        ({"views": True}, "views must be a whole number"),
        ({"channels": "bgr"}, 'channels must be RGB or BGR, got "bgr"'),
        ({"dtype": "half"}, 'dtype must be float32 or float16 or uint8, got "half"'),
        ({"dtype": "uint8"}, "with dtype uint8 the network takes raw pixels .* leave out mean"),
        ({"inputs": {}}, "inputs must be an object such as"),
        ({"inputs": {"slow": 8}}, 'inputs must be an object such as {"slow": {"frames": 8}'),
        (
            {"inputs": {"x": {}}, "input": "x"},
            "input names the only tensor .* and inputs several; leave one of them out",
        ),
        (
            {"inputs": {"slow": {"frame": 2}}},
            "inputs, slow: 'frame' looks like 'frames' misspelt; allowed frames, every",
        ),
        ({"inputs": {"slow": {"frames": 2, "every": 4}}}, "inputs, slow: frames spreads .* leave one of them out"),
        (
            {"inputs": {"slow": {"frames": 16}}},
            'inputs, slow: {"frames": 16} asks for more than the 8 frames of the clip',
        ),
        ({"inputs": {"slow": {"every": 0}}}, "inputs, slow: every must be a whole number from 1, got 0"),
        (
            {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]},
            r'from 0 to 1; divide both by 255: "mean": \[0\.485, 0\.456, 0\.406\], "std": \[0\.229, 0\.224, 0\.225\]',
        ),
    ],
)
def test_a_form_that_is_none_is_named(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=message):
        read_clip_file(_write(tmp_path / "a.json", _values(**changes)))


def test_an_encoding_other_than_utf8_is_named(tmp_path: Path) -> None:
    text = json.dumps(_values(labels=["开门", "跑步"]), ensure_ascii=False)
    (tmp_path / "a.json").write_bytes(text.encode("cp936"))
    with pytest.raises(
        InputFileError, match=r"a\.json is not valid JSON in UTF-8 .*looks like GBK \(cp936\): iconv -f CP936"
    ):
        read_clip_file(tmp_path / "a.json")
    (tmp_path / "names.txt").write_bytes("Tür öffnen\nlaufen\n".encode("latin-1"))
    with pytest.raises(InputFileError, match=r"names\.txt is not a list of class names in UTF-8 .*looks like Latin-1"):
        read_clip_file(_write(tmp_path / "a.json", _values(labels="names.txt")))


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


def test_every_example_of_the_page_is_a_clip_file(tmp_path: Path) -> None:
    (tmp_path / "kinetics.txt").write_text("jump\nrun\n", encoding="utf-8")
    examples = re.findall(r"```json\n(.*?)```", _PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(examples) >= 5
    for example in examples:
        (tmp_path / "a.json").write_text(example, encoding="utf-8")
        assert len(read_clip_file(tmp_path / "a.json").labels) == 2


def test_the_page_has_every_key(tmp_path: Path) -> None:
    rows = [line.split("|")[1] for line in _PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    told = {key for row in rows for key in re.findall(r"`(\w+)`", row)}
    with pytest.raises(InputFileError, match="allowed") as got:
        read_clip_file(_write(tmp_path / "a.json", {}))
    listed = re.search(r"required are (.*), allowed (.*)$", str(got.value))
    assert listed is not None
    assert set(", ".join(listed.groups()).split(", ")) <= told


@pytest.mark.needs_shared
def test_a_real_file() -> None:
    file = read_clip_file(_SHARED)
    assert (file.spec.frames, file.spec.stride, file.spec.size, file.spec.resize_short_side) == (32, 2, 224, 256)
    assert (len(file.labels), file.labels[0], file.output) == (400, "abseiling", "logits")
