"""``s2tf-export --describe``, and graphs that take clips in other forms, from the file to a stream."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
from onnx import parser

from s2tf_edge.cli import export, stream
from s2tf_edge.models import create_model
from s2tf_edge.models.model_file import save_model

Printed = tuple[int, str, str]
Run = Callable[..., Printed]

_COLORS = """<ir_version: 10, opset_import: ["": 18], metadata_props: ["names": "['blue', 'green', 'red']"]>
    net (float16[N,4,16,16,3] video) => (float16[N,3] scores) {
      f = Cast <to = 1> (video) a = Constant <value_ints = [1, 2, 3]> () m = ReduceMean <keepdims = 0> (f, a)
      scores = Cast <to = 10> (m)
    }"""
"""Tells the mean of each channel, in the order in which it takes them."""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs ``s2tf-export`` or another command; gives its exit code, stdout and stderr."""

    def run(*arguments: str | Path, main: Callable[[], None] = export.main) -> Printed:
        monkeypatch.setattr(sys, "argv", ["s2tf-export", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


@pytest.fixture
def colors(tmp_path: Path) -> Path:
    """A BGR network in NTHWC and float16."""
    path = tmp_path / "my colors.onnx"
    onnx.save(parser.parse_model(_COLORS), path)
    return path


@pytest.mark.parametrize("target", ["onnx", "openvino"])
@pytest.mark.parametrize("color", ["blue", "red"])
def test_what_is_described_is_exported_and_streamed(
    run: Run, colors: Path, tmp_path: Path, target: str, color: str
) -> None:
    code, out, err = run(colors, "--describe")
    values = json.loads(out)
    assert (code, err) == (0, "")
    assert {"layout": "NTHWC", "dtype": "float16", "labels": ["blue", "green", "red"]}.items() <= values.items()
    (tmp_path / "net.json").write_text(json.dumps(values | {"channels": "BGR"}), encoding="utf-8")
    given = ("--meta", tmp_path / "net.json", "--target", target, "--precision", "fp16", "--out", tmp_path / "a")
    code, _, err = run(colors, *given)
    assert code == 0, err
    source = f"lavfi:color={color}:size=64x48:rate=25"
    code, out, err = run(tmp_path / "a", source, "--duration", "1", "--jsonl", "-", "-q", main=stream.main)
    assert code == 0, err
    records = [json.loads(line) for line in out.splitlines()]
    assert {record["label"] for record in records if record["type"] == "prediction"} == {color}


def test_the_message_for_a_missing_clip_file_names_what_writes_one(run: Run, colors: Path) -> None:
    code, out, err = run(colors, "--target", "onnx")
    assert (code, out, err.count("\n")) == (2, "", 1)
    command = err.strip().rpartition("written by: ")[2]
    assert command == f"s2tf-export '{colors}' --describe > '{colors.with_suffix('.json')}'"
    words = command.replace("s2tf-export", f"{sys.executable} -c 'from s2tf_edge.cli.export import main; main()'", 1)
    subprocess.run(words, shell=True, check=True)
    assert run(colors, "--meta", colors.with_suffix(".json"), "--target", "onnx", "--dry-run")[0] == 0


def test_without_a_target_nothing_is_exported(run: Run, colors: Path) -> None:
    code, out, err = run(colors)
    assert (code, out) == (2, "")
    assert err.startswith("s2tf-export: error: nothing says what to export for; give --target one of: openvino (")


def test_a_model_and_an_artifact_describe_themselves(run: Run, colors: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_model(tmp_path / "model.pt", create_model("r3d_10?width=0.0625", num_classes=3, frames=4, size=16))
    code, out, _ = run(tmp_path / "model.pt", "--describe")
    values = json.loads(out)
    assert (code, values["frames"], values["crop"], len(values["labels"]), "notes" in values) == (0, 4, 16, 3, False)
    (tmp_path / "net.json").write_text(run(colors, "--describe")[1], encoding="utf-8")
    given = ("--meta", tmp_path / "net.json", "--target", "onnx", "--precision", "fp16", "--input", "u8")
    assert run(colors, *given, "--out", tmp_path / "a")[0] == 0
    described = [json.loads(run(path, "--describe")[1]) for path in (tmp_path / "a", tmp_path / "a" / "model.onnx")]
    for values in described:
        assert {"layout": "NTHWC", "dtype": "uint8", "labels": ["blue", "green", "red"]}.items() <= values.items()
        assert "mean" not in values


@pytest.mark.parametrize(
    ("name", "message"),
    [("none.onnx", "none.onnx does not exist"), ("text.onnx", "is not a valid ONNX model"), ("empty", "meta.json")],
)
def test_what_cannot_be_described_is_one_line(run: Run, tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "text.onnx").write_text("no graph")
    (tmp_path / "empty").mkdir()
    code, out, err = run(tmp_path / name, "--describe")
    assert (code, out, err.count("\n")) == (9, "", 1)
    assert message in err


def test_labels_in_another_encoding_say_how_to_convert_them(run: Run, colors: Path, tmp_path: Path) -> None:
    values = json.loads(run(colors, "--describe")[1]) | {"labels": "names.txt"}
    (tmp_path / "net.json").write_text(json.dumps(values))
    (tmp_path / "names.txt").write_bytes("蓝色\n绿色\n红色\n".encode("cp936"))
    code, _, err = run(colors, "--meta", tmp_path / "net.json", "--target", "onnx", "--out", tmp_path / "a")
    assert code == 9
    assert "names.txt is not a list of class names in UTF-8 (byte 0); it looks like GBK (cp936): iconv -f CP936" in err
