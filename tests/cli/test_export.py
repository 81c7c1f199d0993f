from __future__ import annotations

import dataclasses
import json
import re
import resource
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper, parser

import s2tf_edge.export
from s2tf_edge.cli import export as command
from s2tf_edge.cli.cache import last_artifact
from s2tf_edge.data.datasets import open_data
from s2tf_edge.data.synthetic import write_video
from s2tf_edge.errors import S2TFError
from s2tf_edge.export import ExportOptions
from s2tf_edge.models import create_model
from s2tf_edge.models.model_file import save_model

_INT8 = ("--target", "openvino", "--precision", "int8", "--calib", "synthetic?clips=4")
_ONNX, _OPENVINO, _RTX = ("--target", "onnx"), ("--target", "openvino"), ("--target", "trt-rtx")


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "a model.pt"
    save_model(path, create_model("r3d_10?width=0.125", num_classes=10, frames=4, size=24))
    return path


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ``.onnx`` of 0.6 MB from elsewhere, 4×16×16, which takes no tracing; its description is ``net.json``."""
    path = tmp_path_factory.mktemp("plain") / "plain net.onnx"
    model = parser.parse_model("""
        <ir_version: 8, opset_import: ["": 18]>
        net (float[n,3,4,16,16] x) => (float[n,5] y) {
          a = Conv <pads = [0, 1, 1, 0, 1, 1], strides = [1, 2, 2]> (x, w)
          b = Relu (a) c = Conv (b, v) p = GlobalAveragePool (c) f = Flatten (p) y = Gemm (f, fc)
        }""")
    random = np.random.default_rng(0)
    for name, shape in (("w", (64, 3, 1, 3, 3)), ("v", (256, 64, 1, 3, 3)), ("fc", (256, 5))):
        weights = random.normal(size=shape).astype(np.float32) / 8
        model.graph.initializer.append(numpy_helper.from_array(weights, name))
    onnx.save(model, path)
    clips = {"frames": 4, "crop": 16, "mean": [0.5] * 3, "std": [0.5] * 3, "labels": list("abcde")}
    path.with_name("net.json").write_text(json.dumps(clips))
    return path


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


Printed = tuple[int, str, str]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Printed]:
    """Runs the console script; gives its exit code, stdout and stderr."""

    def run(*arguments: str | Path) -> Printed:
        monkeypatch.setattr(sys, "argv", ["s2tf-export", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            command.main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


def test_the_last_lines_say_what_was_made_and_what_to_do_next(
    run: Callable[..., Printed], model_file: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "an artifact"
    code, out, err = run(model_file, "--target", "openvino", "--precision", "fp32", "--out", folder)
    lines = out.splitlines()
    assert code == 0, err
    assert lines[0].startswith("layers: ")
    assert lines[1].startswith("verified: largest error ")
    assert re.fullmatch(rf"{folder}  \d+\.\d MB  \d+\.\d s", lines[2])
    assert [shlex.split(line.removeprefix("next:")) for line in lines[3:]] == [
        ["s2tf-stream", str(folder), "--source", "VIDEO"],
        ["s2tf-report", str(model_file), str(folder), "--data", "TEST-DATA"],
    ]
    assert last_artifact() == folder


def test_int8_prints_its_integer_layers(run: Callable[..., Printed], model_file: Path, tmp_path: Path) -> None:
    target = ("--target", "openvino", "--precision", "int8", "--out", tmp_path / "a")
    code, out, err = run(model_file, *target, "--calib", "synthetic?clips=10", "--calib-clips", "4")
    assert code == 0, err
    *tried, counted = out.partition("verified")[0].splitlines()
    recipes = ["mixed", "mixed, dense layers alone", "symmetric", "symmetric, dense layers alone"]
    assert [re.split(" {2,}", line.strip())[0] for line in tried] == recipes
    assert sum(line.endswith(" ms  fastest") for line in tried) >= 1
    assert counted == "integer: 12 of 12 convolutions, 1 of 1 matrix products"
    assert "4 calibration clips; give 100 or more" in " ".join(err.split())
    assert "s2tf-report" in out
    assert "--data TEST-DATA" in out


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one video of twelve seconds, alone, and a list of it, without labels."""
    folder = tmp_path_factory.mktemp("tour é")
    labels = open_data("synthetic?clips=1").labels
    write_video(folder / "tour.mp4", clips=[(label, 3.0) for label in labels[:4]], size=(48, 64))
    (folder / "list.txt").write_text("tour.mp4\n")
    return folder


@pytest.mark.parametrize("name", ["", "*.MP4", "list.txt", "tour.mp4"])
def test_int8_is_calibrated_on_several_clips_of_a_video_without_labels(
    run: Callable[..., Printed], plain: Path, tour: Path, tmp_path: Path, name: str
) -> None:
    data = str(tour / name)
    target = ("--target", "onnx", *_INT8[2:4], "--meta", plain.with_name("net.json"), "--out", tmp_path / "a")
    code, _, err = run(plain, *target, "--calib", data, "--calib-clips", "6")
    assert code == 0, err
    calib = json.loads((tmp_path / "a" / "calib.json").read_text())
    assert (calib["data"], calib["count"], len(calib["sha256"])) == (data, 6, 64)
    assert {(clip["video"], clip["label"]) for clip in calib["clips"]} == {(str(tour / "tour.mp4"), None)}
    assert len({clip["sha256"] for clip in calib["clips"]}) == 6
    verified = json.loads((tmp_path / "a" / "verify.json").read_text())
    assert (verified["clips"], verified["n"]) == ("unseen", 5)


def test_a_bound_on_the_loss_needs_labels(run: Callable[..., Printed], plain: Path, tour: Path, tmp_path: Path) -> None:
    given = ("--calib", tour, "--eval", tour, "--max-drop", "1", "--meta", plain.with_name("net.json"))
    code, _, err = run(plain, *_ONNX, *_INT8[2:4], *given, "--out", tmp_path / "a")
    said = " ".join(err.split())
    assert code == 2
    assert "--max-drop measures top-1, which needs videos with labels" in said
    assert "give --eval DATA as a folder of class folders" in said


def test_the_gate_says_what_was_lost(run: Callable[..., Printed], tmp_path: Path) -> None:
    labels = open_data("synthetic?clips=1").labels
    model_file = tmp_path / "model.pt"
    save_model(model_file, create_model("r3d_10?width=0.125", num_classes=10, frames=4, size=24, labels=labels))
    data = ("--calib", "synthetic?clips=10", "--eval", "synthetic?split=test&clips=10", "--max-drop", "100")
    code, out, err = run(model_file, *_ONNX, *_INT8[2:4], *data, "--out", tmp_path / "a", "--no-verify")
    assert code == 0, err
    lost = r"top-1 \d+\.\d %, in float \d+\.\d %: a drop of -?\d+\.\d points \(-?\d+\.\d to \d+\.\d\), n = 10"
    assert re.search(rf"^gate: Q/DQ for onnxruntime, minmax, 0 layers returned to float: {lost}$", out, re.MULTILINE)
    assert out.startswith("integer: 12 of 12 convolutions, 1 of 1 matrix products\n")


def test_auto_prints_every_precision_and_keeps_the_fastest(
    run: Callable[..., Printed], plain: Path, tmp_path: Path
) -> None:
    meta, data = ("--meta", plain.with_name("net.json")), ("--calib", "synthetic?clips=10")
    code, out, err = run(plain, *meta, *_OPENVINO, "--precision", "auto", *data, "--out", tmp_path / "a")
    assert code == 0, err
    lines = out.splitlines()[:3]
    assert all(re.fullmatch(r"  (fp16|fp32|int8) {2,}\d+\.\d\d ms(  fastest)?", line) for line in lines)
    (fastest, *_) = [line.split()[0] for line in lines if line.endswith("fastest")]
    assert json.loads((tmp_path / "a" / "meta.json").read_text())["precision"]["asked"] == fastest


@pytest.mark.parametrize(
    ("arguments", "precision"),
    [
        (("onnx",), "fp32"),
        (("openvino", "--precision", "int8", "--calib", "synthetic?clips=4"), "int8"),
        (("trt", "--defer-build"), "fp16"),
        pytest.param(("trt-rtx",), "fp16", marks=pytest.mark.needs_rtx),
    ],
)
def test_a_dry_run_writes_nothing(
    run: Callable[..., Printed], model_file: Path, tmp_path: Path, arguments: tuple[str, ...], precision: str
) -> None:
    out_folder = tmp_path / "new" / "a"
    code, out, err = run(model_file, "--out", out_folder, "--dry-run", "--target", *arguments)
    assert code == 0, err
    assert "would export r3d_10?width=0.125 (10 classes, clips of 4×24×24)" in out
    assert f"for {arguments[0]} in {precision}, to {out_folder}" in out
    assert not list(tmp_path.iterdir())
    assert [path.name for path in model_file.parent.iterdir()] == [model_file.name]


def test_verification_can_be_left_out(run: Callable[..., Printed], model_file: Path, tmp_path: Path) -> None:
    code, out, _ = run(model_file, "--target", "onnx", "--out", tmp_path / "a", "--no-verify", "-q")
    assert code == 0
    assert "\nnot verified\n" in out
    assert not (tmp_path / "a" / "verify.json").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--target", "tpu"), 2, "there is no target 'tpu'; there are: onnx with fp32, fp16, int8 or auto;"),
        ((*_ONNX, "--precision", "bf16"), 2, "no target 'onnx' with precision 'bf16'"),
        ((*_OPENVINO, "--precision", "int8"), 2, "int8 needs clips to calibrate with; give --calib DATA"),
        ((*_ONNX, "--calib", "synthetic", "--calib-clips", "0"), 2, "--calib-clips must be one or more"),
        ((*_ONNX, "--calib", "nowhere"), 9, "nowhere"),
        ((*_ONNX, "--eval", "nowhere"), 9, "nowhere"),
        ((*_ONNX, "--exclude", "stem"), 2, "--exclude is for int8, but the precision is fp32"),
        ((*_OPENVINO, "--sensitivity", "a.html"), 2, "--sensitivity is for int8, but the precision is fp16"),
        ((*_INT8, "--sensitivity", "nowhere/a.html"), 9, "cannot write nowhere/a.html: its folder must exist"),
        ((*_INT8, "--calib-method", "max"), 2, "--calib-method must be one of minmax, entropy, percentile, mse"),
        ((*_INT8, "--max-drop", "1"), 2, "--max-drop needs labeled videos to measure the loss on; give --eval"),
        ((*_INT8, "--max-drop", "1", "--eval", "synthetic"), 2, "the network lacks the label 'moving left' of"),
        ((*_INT8, "--max-drop", "-1", "--eval", "synthetic"), 2, "--max-drop must lie between 0 and 100 points"),
        ((*_ONNX, *_INT8[2:], "--custom-ops", "keep"), 2, "--custom-ops keep leaves nodes that cannot be quantized"),
        ((*_ONNX, "--precision", "auto", "--exclude", "a"), 2, "--exclude is for int8, but auto tries that only with"),
        ((*_RTX, "--precision", "auto", "--defer-build"), 2, "--precision auto times what it builds, which --defer-"),
        ((*_OPENVINO, "--precision", "int8", "--calib", "synthetic", "--exclude", "("), 2, "not a regular expression"),
        ((*_OPENVINO, "--custom-ops", "keep"), 2, "openvino runs standard operators only"),
        ((*_ONNX, "--custom-ops", "drop"), 2, "--custom-ops must be one of auto, keep, inline"),
        ((*_ONNX, "--batch", "0"), 2, "--batch must be from 1 to 256, got 0"),
        ((*_ONNX, "--batch", "2", "--dynamic-batch"), 2, "--batch 2 fixes the number of clips"),
        ((*_ONNX, "--input", "u16"), 2, "--input must be one of f32, u8"),
        ((*_ONNX, "--opset", "17"), 2, "--opset must be from 18 to 24"),
        ((*_ONNX, "--mask"), 2, "has no saliency mask to put out; leave out --mask"),
        ((*_ONNX, "--defer-build"), 2, "--defer-build is for TensorRT"),
        ((*_ONNX, "--workspace", "1"), 2, "--workspace is for TensorRT"),
        ((*_OPENVINO, "--timing-cache", "t"), 2, "--timing-cache is for TensorRT"),
        ((*_OPENVINO, "--version-compatible"), 2, "--version-compatible is for TensorRT"),
        ((*_ONNX, "--hardware-compatible"), 2, "--hardware-compatible is for TensorRT"),
        ((*_RTX, "--defer-build", "--workspace", "0"), 2, "--workspace must lie in (0, 1024] GiB"),
        ((*_ONNX, "--meta", "net.json"), 2, "--meta describes a plain .onnx file"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_its_code(
    run: Callable[..., Printed],
    model_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    got, out, err = run(model_file, *arguments, "--out", "a", "-q")
    assert (got, out) == (code, "")
    assert err.startswith("s2tf-export: error: ")
    assert message in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_missing_tensorrt_says_what_else_there_is(
    run: Callable[..., Printed], model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    for extra in ((), ("--dry-run",)):
        code, out, err = run(model_file, "--target", "trt", "--out", tmp_path / "a", *extra)
        assert (code, out, err.count("\n")) == (7, "", 1)
        assert "--defer-build leaves that to the device, --target trt-rtx needs no GPU" in err
        assert err.endswith("install it with: pip install 's2tf-edge[tensorrt]'\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["missing", "text", "empty", "truncated", "folder"])
def test_what_is_no_model_is_code_9(run: Callable[..., Printed], model_file: Path, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.pt"
    content = {"text": b"hello", "empty": b"", "truncated": model_file.read_bytes()[:5000]}
    if kind == "folder":
        path.mkdir()
    elif kind in content:
        path.write_bytes(content[kind])
    code, out, err = run(path, "--target", "onnx")
    assert (code, out, err.count("\n")) == (9, "", 1)
    assert "x.pt" in err


def test_an_output_that_cannot_be_written_is_told(
    run: Callable[..., Printed], model_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine").write_text("mine")
    code, _, err = run(model_file, "--target", "onnx", "--out", tmp_path / "mine")
    assert (code, err.count("\n")) == (2, 1)
    assert "exists and is not an artifact folder" in err
    code, _, err = run(model_file, "--target", "onnx", "--out", tmp_path / "mine" / "a")
    assert (code, err.count("\n")) == (9, 1)
    assert "cannot make the output folder" in err


def test_a_plain_onnx_needs_a_description(run: Callable[..., Printed], plain: Path, tmp_path: Path) -> None:
    code, out, err = run(plain, "--target", "onnx", "--out", tmp_path / "a")
    assert (code, out, err.count("\n")) == (2, "", 1)
    keys = "frames, crop, mean, std, labels and, where they are not 1, 25 and the crop, "
    assert f"plain net.onnx does not say what clips it takes; give --meta FILE.json with {keys}stride, fps" in err


@pytest.mark.parametrize("target", ["onnx", "openvino", pytest.param("trt-rtx", marks=pytest.mark.needs_rtx)])
def test_a_plain_onnx_is_exported(run: Callable[..., Printed], plain: Path, tmp_path: Path, target: str) -> None:
    out_folder = tmp_path / "a"
    code, out, err = run(plain, "--meta", plain.with_name("net.json"), "--target", target, "--out", out_folder)
    assert code == 0, err
    assert re.search("^verified(, the graph alone)?: largest error ", out, re.MULTILINE)
    # A report runs artifacts and model.pt, no plain .onnx.
    assert shlex.split(out.splitlines()[-1]) == ["s2tf-report", str(out_folder), "--data", "TEST-DATA"]


@pytest.mark.needs_rtx
@pytest.mark.parametrize("out", [(), ("--out", "finished")])
def test_a_deferred_build_is_finished(
    run: Callable[..., Printed], plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    meta = ("--meta", plain.with_name("net.json"))
    code, printed, err = run(plain, *meta, "--target", "trt-rtx", "--defer-build", "--out", "an artifact")
    assert code == 0, err
    assert shlex.split(printed.splitlines()[-1].partition("there: ")[2]) == ["sh", "an artifact/build.sh"]
    with pytest.raises(S2TFError, match="none was exported yet"):
        last_artifact()
    code, printed, err = run("an artifact", "--target", "trt-rtx", *out)
    assert code == 0, err
    folder = out[1] if out else "an artifact"
    assert (tmp_path / folder / "model.engine").is_file()
    assert shlex.split(printed.splitlines()[-1]) == ["s2tf-report", folder, "--data", "TEST-DATA"]
    assert last_artifact() == tmp_path / folder


@pytest.mark.needs_rtx
def test_the_script_of_a_deferred_build_finishes_it(run: Callable[..., Printed], plain: Path, tmp_path: Path) -> None:
    meta = ("--meta", plain.with_name("net.json"))
    assert run(plain, *meta, "--target", "trt-rtx", "--defer-build", "--out", tmp_path / "it's")[0] == 0
    script = tmp_path / "bin" / "s2tf-export"
    script.parent.mkdir()
    # The code that is tested here, which need not be the one that is installed.
    script.write_text(f"#!{sys.executable}\nimport sys; sys.path[:] = {sys.path!r}\n{_MAIN}")
    script.chmod(0o755)
    environment = {"PATH": f"{script.parent}:/usr/bin:/bin", "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(
        ["sh", tmp_path / "it's" / "build.sh"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "it's" / "model.engine").is_file()


def test_every_flag_is_explained(run: Callable[..., Printed], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    code, out, _ = run("--help")
    assert code == 0
    flags = {f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(ExportOptions)} - {"--verify"}
    for flag in (*flags, "--no-verify", "--dry-run", "--quiet", "--verbose", "--version"):
        assert re.search(rf"{flag}\b(?!-) .*\w", out), flag
    assert out.count("s2tf-export model.pt --target") == 6


_INT8_OPTIONS: dict[str, Any] = {"precision": "int8", "calib": "synthetic?clips=9"}
_OTHER_VALUES: dict[str, dict[str, Any]] = {
    "form": {"form": "clip"},
    "hop": {"hop": 2},
    "target": {"target": "onnx"},
    "precision": {"precision": "fp32"},
    "out": {"out": Path("/out/it's é")},
    "meta": {"meta": Path("/in/net.json")},
    "eval_mode": {"eval_mode": True},
    "requantize": {"requantize": True},
    "calib": _INT8_OPTIONS,
    "calib_clips": {"calib_clips": 7, **_INT8_OPTIONS},
    "weight_bits": {"weight_bits": 7, **_INT8_OPTIONS},
    "calib_method": {"calib_method": "mse", **_INT8_OPTIONS},
    "eval": {"eval": "synthetic?clips=3"},
    "max_drop": {"max_drop": 1.5, "eval": "synthetic", "verify": False, **_INT8_OPTIONS},
    "exclude": {"exclude": ("^stem", "-dash", "a b|$c"), **_INT8_OPTIONS},
    "custom_ops": {"custom_ops": "keep"},
    "batch": {"batch": 4},
    "dynamic_batch": {"dynamic_batch": True},
    "input": {"input": "u8"},
    "mask": {"mask": True},
    "opset": {"opset": 21},
    "defer_build": {"defer_build": True},
    "portable": {"portable": True, "precision": "auto"},
    "workspace": {"workspace": 0.5},
    "timing_cache": {"timing_cache": Path("/in/cache")},
    "version_compatible": {"version_compatible": True},
    "hardware_compatible": {"hardware_compatible": True},
    "sensitivity": {"sensitivity": Path("/out/é.html"), **_INT8_OPTIONS},
    "verify": {"verify": False},
}
"""For each field a value other than its default, with what it needs beside it."""


@pytest.fixture
def parse(run: Callable[..., Printed], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Path, ExportOptions]]:
    """What the console script makes of a command line."""

    def parse(*arguments: str) -> tuple[Path, ExportOptions]:
        parsed: list[tuple[Path, ExportOptions]] = []

        def plan(model: Path, options: ExportOptions, **_: object) -> None:
            parsed.append((model, options))
            msg = "stop here"
            raise S2TFError(msg)

        monkeypatch.setattr(s2tf_edge.export, "plan_export", plan)
        _, _, err = run(*arguments)
        assert "stop here" in err, err
        return parsed[0]

    return parse


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(ExportOptions) if field.name != "triton"])
def test_every_option_comes_back_from_its_command_line(
    parse: Callable[..., tuple[Path, ExportOptions]], model_file: Path, name: str
) -> None:
    plain = ExportOptions(target="trt-rtx", precision="fp16", out=Path("/out/a"))
    given = dataclasses.replace(plain, **_OTHER_VALUES[name])
    assert getattr(given, name) != getattr(plain, name)
    assert given.out is not None
    assert given.precision is not None
    words = given.command(model_file, precision=given.precision, folder=given.out)
    assert words is not None
    assert parse(*shlex.split(shlex.join(words))[1:]) == (model_file, given)


def test_what_makes_an_artifact_again_publishes_it_no_more(
    parse: Callable[..., tuple[Path, ExportOptions]], model_file: Path
) -> None:
    _, given = parse(str(model_file), "--target", "onnx", "--triton", "/srv/models é")
    assert given.triton == Path("/srv/models é")
    words = given.command(model_file, precision="fp32", folder=Path("/out/a"))
    assert words is not None
    assert not any("triton" in word or "models é" in word for word in words)


def test_all_options_come_back_together(parse: Callable[..., tuple[Path, ExportOptions]], model_file: Path) -> None:
    together = {name: value for values in _OTHER_VALUES.values() for name, value in values.items()}
    # Those that others rule out.
    without = {"dynamic_batch": False, "portable": False}
    given = ExportOptions(**{**together, **_INT8_OPTIONS, **without, "target": "trt-rtx"})
    words = given.command(model_file, precision="int8", folder=together["out"])
    assert words is not None
    assert parse(*shlex.split(shlex.join(words))[1:]) == (model_file, given)
    options = ExportOptions(target="openvino")
    assert parse(str(model_file), "--target", "openvino") == (model_file, options)


_MAIN = "import sys; from s2tf_edge.cli.export import main; sys.argv[0] = 's2tf-export'; main()"


def _start(*arguments: str | Path, **options: Any) -> subprocess.Popen[str]:
    """The command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", _MAIN, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        **options,
    )


@pytest.mark.parametrize(
    ("number", "target", "line"),
    [(signal.SIGINT, "onnx", "making the graph "), (signal.SIGTERM, "openvino", "building ")],
)
def test_a_signal_ends_in_order(
    interrupt: Callable[..., subprocess.CompletedProcess[str]],
    model_file: Path,
    tmp_path: Path,
    number: signal.Signals,
    target: str,
    line: str,
) -> None:
    # So many clips that it is not done before the signal arrives, however late that is.
    endless = ("--precision", "int8", "--calib", "synthetic?clips=50000", "--calib-clips", "50000")
    arguments = ("--target", target, *endless, "--out", tmp_path / "a")
    done = interrupt("export", model_file, *arguments, at=line, number=number, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr.endswith("s2tf-export: error: interrupted\n")
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("target", "limit"),
    [
        # The graph is 0.6 MB, its fp16 form half of that, and an engine larger than either.
        pytest.param("onnx", 300_000, id="graph"),
        pytest.param("trt-rtx", 450_000, marks=[pytest.mark.needs_rtx, pytest.mark.slow], id="engine"),
    ],
)
def test_a_disk_that_takes_no_more_leaves_nothing(plain: Path, tmp_path: Path, target: str, limit: int) -> None:
    """In place of a full disk, files may not grow beyond a limit."""

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    meta = ("--meta", plain.with_name("net.json"))
    with _start(plain, *meta, "--target", target, "--out", tmp_path / "a", "-q", preexec_fn=limited) as process:
        out, err = process.communicate(timeout=300)
    assert (process.returncode, out) == (9, ""), err
    assert re.fullmatch(r"s2tf-export: error: cannot write .*: File too large; free some space .*\n", err)
    assert not list(tmp_path.iterdir())


_TINY_DISK = 'mount -t tmpfs -o size=300k none "$1" || exit 99; shift; "$@"; echo "left: $(ls -A disk)"'


@pytest.mark.parametrize("target", [pytest.param("onnx", marks=pytest.mark.slow), "openvino"])
def test_a_full_disk_leaves_nothing(plain: Path, tmp_path: Path, target: str) -> None:
    """A disk of 300 kB, where the system lets anyone mount one."""
    (tmp_path / "disk").mkdir()
    export_words = (sys.executable, "-c", _MAIN, plain, "--meta", plain.with_name("net.json"))
    options = ("--target", target, "--precision", "fp32", "--out", "disk/a", "-q")
    words = ("unshare", "-rm", "sh", "-c", _TINY_DISK, "sh", "disk", *export_words, *options)
    try:
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no unshare")
    if done.returncode == 99 or "unshare" in done.stderr:
        pytest.skip("no disk can be mounted here")
    assert done.stdout == "left: \n"
    assert re.fullmatch(r"s2tf-export: error: cannot write .*; free some space or give another --out\n", done.stderr)


def test_an_export_is_published_for_triton_too(run: Callable[..., Printed], plain: Path, tmp_path: Path) -> None:
    models, out = tmp_path / "models", tmp_path / "net"
    words = (plain, "--meta", plain.with_name("net.json"), *_ONNX, "--dynamic-batch", "--out", out, "--triton", models)
    code, printed, err = run(*words, "--dry-run")
    assert code == 0, err
    assert printed.splitlines()[-1] == f"and publish it for Triton as {models / 'net'}"
    assert not models.exists()
    code, printed, err = run(*words)
    assert code == 0, err
    assert f"for Triton: {models / 'net'}, version 1, backend onnxruntime" in printed.splitlines()
    assert "triton" not in (out / "reproduce.sh").read_text(encoding="utf-8")
    assert "max_batch_size: 16" in (models / "net" / "config.pbtxt").read_text(encoding="utf-8")


def test_an_artifact_is_published_as_it_is(run: Callable[..., Printed], plain: Path, tmp_path: Path) -> None:
    out, models = tmp_path / "net", tmp_path / "models"
    assert run(plain, "--meta", plain.with_name("net.json"), *_OPENVINO, "--out", out)[0] == 0
    before = {path: path.read_bytes() for path in out.iterdir()}
    code, printed, err = run(out, "--triton", models, "--dry-run")
    assert (code, err) == (0, "")
    assert printed.splitlines() == [
        f"would publish {out} as {models / 'net'}, version 1 or the one that it equals",
        "for Triton's openvino backend",
    ]
    assert not models.exists()
    for said in ("for Triton", "for Triton, as it was"):
        code, printed, err = run(out / "model.xml", "--triton", models)
        assert (code, printed) == (0, f"{said}: {models / 'net'}, version 1, backend openvino\n"), err
    assert {path: path.read_bytes() for path in out.iterdir()} == before
    # What asks for more needs a target, and so does what is no artifact.
    code, _, err = run(out, "--triton", models, "--batch", "2")
    assert (code, "nothing says what to export for; give --target one of" in " ".join(err.split())) == (2, True)
    code, _, err = run(plain, "--triton", models)
    assert code == 9
    code, _, err = run(tmp_path / "nothing", "--triton", models)
    assert code == 9


def test_what_triton_does_not_serve_ends_with_3(run: Callable[..., Printed], plain: Path, tmp_path: Path) -> None:
    words = ("--meta", plain.with_name("net.json"), "--out", tmp_path / "net", "--triton", tmp_path / "models")
    code, _, err = run(plain, *words, *_RTX)
    assert code == 3
    assert "has no backend for artifacts of trt-rtx; export for --target trt" in " ".join(err.split())
    assert not (tmp_path / "net").exists()


def test_what_is_left_to_the_server_is_said(run: Callable[..., Printed], plain: Path, tmp_path: Path) -> None:
    models = tmp_path / "my models"
    words = ("--meta", plain.with_name("net.json"), "--out", tmp_path / "net", "--triton", models)
    code, printed, err = run(plain, *words, "--target", "trt", "--defer-build")
    assert code == 0, err
    (line,) = [line for line in printed.splitlines() if line.startswith("left to do on the server")]
    assert shlex.split(line.rpartition(": ")[2]) == ["sh", str(models / "net" / "1" / "build.sh")]
