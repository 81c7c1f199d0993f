"""One small 3D ConvNet in every form in which networks from elsewhere take a clip, against what PyTorch says of it.

Each form's nodes bring its own input to [N, 3, T, H, W], written by hand: independent of what the toolkit does to get
there. The network tells apart every frame, row, column and channel.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper, parser

from s2tf_edge.clip_file import read_clip_file
from s2tf_edge.export import ExportOptions, export
from s2tf_edge.export.sources.clips.description import describe_clips, write_description
from s2tf_edge.export.sources.plain_onnx import PlainOnnx, read_plain_onnx
from s2tf_edge.runtime.open import open_session

_FRAMES, _SIZE = 4, 8


@dataclass(frozen=True, kw_only=True)
class _Form:
    """A network's input, the nodes that make the clip ``x`` of it, and what a clip file says."""

    takes: str
    """The inputs, as ONNX writes them."""
    nodes: str
    """From the inputs to ``x``, [N, 3, T, H, W], or from those of two pathways to ``x`` and ``z``."""
    keys: Mapping[str, Any] = field(default_factory=dict)
    gives: str = "float[N,5] y"
    end: str = "y = Identity (q)"
    """From the logits ``q``, [N, 5] of the ``x`` that the nodes gave, to the output."""
    frames: Sequence[int] | None = None
    """Of the second pathway, where there are two."""
    is_float16: bool = False
    batches: tuple[int | None, ...] = (1, 2, None)
    """Clips at once that it can be exported for."""


_V = "v = Constant <value_ints = [1]> () x = Squeeze (i, v)"
_MERGE = "s = Constant <value_ints = [-1, 3, 4, 8, 8]> () x = Reshape (i, s)"
_MEAN = "m = Constant <value_ints = [-1, 2, 5]> () n = Reshape (q, m) o = Constant <value_ints = [1]> ()"
_UNSTACK = (
    "s = Constant <value_ints = [-1, 4, 3, 8, 8]> () a = Reshape (i, s) x = Transpose <perm = [0, 2, 1, 3, 4]> (a)"
)
_LAST = "x = Transpose <perm = [0, 4, 1, 2, 3]> (i)"
_BGR = "r = Constant <value_ints = [2, 1, 0]> ()"
_ONE = "o = Constant <value_ints = [0]> ()"
_SLOW = {"slow": {"frames": 2}, "fast": {"frames": 4}}
_TWO = "x = Identity (fast) z = Identity (slow)"

_FORMS: Mapping[str, _Form] = {
    "NCTHW": _Form(takes="float[N,3,4,8,8] i", nodes="x = Identity (i)"),
    "NTHWC": _Form(takes="float[N,4,8,8,3] i", nodes=_LAST, keys={"layout": "NTHWC"}),
    "NTCHW": _Form(
        takes="float[N,4,3,8,8] i", nodes="x = Transpose <perm = [0, 2, 1, 3, 4]> (i)", keys={"layout": "NTCHW"}
    ),
    "THWNC": _Form(
        takes="float[4,8,8,N,3] i", nodes="x = Transpose <perm = [3, 4, 0, 1, 2]> (i)", keys={"layout": "THWNC"}
    ),
    "one view": _Form(takes="float[N,1,3,4,8,8] i", nodes=_V, keys={"views": 1}),
    "one view, NTHWC": _Form(
        takes="float[N,1,4,8,8,3] j",
        nodes=f"v = Constant <value_ints = [1]> () i = Squeeze (j, v) {_LAST}",
        keys={"layout": "NTHWC", "views": 1},
    ),
    "views that the graph counts": _Form(
        takes="float[N,2,3,4,8,8] i", nodes=_MERGE, keys={"layout": "NVCTHW"},
        end=f"{_MEAN} y = ReduceMean <keepdims = 0> (n, o)",
    ),
    "views averaged inside": _Form(
        takes="float[N,2,3,4,8,8] i", nodes=_MERGE, keys={"views": 2},
        end=f"{_MEAN} y = ReduceMean <keepdims = 0> (n, o)",
    ),
    "a row a view": _Form(takes="float[N,2,3,4,8,8] i", nodes=_MERGE, keys={"views": 2}, gives="float[M,5] y"),
    "an axis of views in the logits": _Form(
        takes="float[N,2,3,4,8,8] i", nodes=_MERGE, keys={"views": 2}, gives="float[N,2,5] y",
        end="m = Constant <value_ints = [-1, 2, 5]> () y = Reshape (q, m)",
    ),
    "(NV)CTHW": _Form(
        takes="float[M,3,4,8,8] i", nodes="x = Identity (i)", keys={"layout": "(NV)CTHW", "views": 3},
        gives="float[M,5] y",
    ),
    "(NT)CHW": _Form(takes="float[M,3,8,8] i", nodes=_UNSTACK, keys={"layout": "(NT)CHW"}),
    "(NT)HWC": _Form(
        takes="float[M,8,8,3] i", keys={"layout": "(NT)HWC"},
        nodes=f"s = Constant <value_ints = [-1, 4, 8, 8, 3]> () j = Reshape (i, s) {_LAST.replace('(i)', '(j)')}",
    ),
    "a row a picture": _Form(
        takes="float[M,3,8,8] i", nodes=_UNSTACK, keys={"layout": "(NT)CHW"}, gives="float[M,5] y",
        end="""m = Constant <value_ints = [1, 4]> () n = Tile (q, m) o = Constant <value_ints = [-1, 5]> ()
               y = Reshape (n, o)""",
    ),
    "N(TC)HW": _Form(takes="float[N,12,8,8] i", nodes=_UNSTACK, keys={"layout": "N(TC)HW"}),
    "N(CT)HW": _Form(takes="float[N,12,8,8] i", nodes=_MERGE, keys={"layout": "N(CT)HW"}),
    "TCHW": _Form(
        takes="float[4,3,8,8] i", nodes=_UNSTACK, keys={"layout": "TCHW"}, gives="float[1,5] y", batches=(1,)
    ),
    "CTHW, logits without an axis of clips": _Form(
        takes="float[3,4,8,8] i", nodes=f"{_ONE} x = Unsqueeze (i, o)", keys={"layout": "CTHW"}, gives="float[5] y",
        end="y = Squeeze (q, o)", batches=(1,),
    ),
    "BGR": _Form(
        takes="float[N,3,4,8,8] i", nodes=f"{_BGR} x = Gather <axis = 1> (i, r)", keys={"channels": "BGR"}
    ),
    "float16": _Form(takes="float16[N,3,4,8,8] i", nodes="x = Identity (i)", keys={"dtype": "float16"},
        gives="float16[N,5] y", is_float16=True),
    "float16 that the file does not tell": _Form(
        takes="float16[N,3,4,8,8] i", nodes="x = Identity (i)", gives="float16[N,5] y", is_float16=True
    ),
    "NTHWC, BGR, float16": _Form(
        takes="float16[N,4,8,8,3] i", nodes=f"{_BGR} j = Gather <axis = 4> (i, r) {_LAST.replace('(i)', '(j)')}",
        keys={"layout": "NTHWC", "channels": "BGR", "dtype": "float16"}, gives="float16[N,5] y", is_float16=True,
    ),
    "uint8": _Form(
        takes="uint8[N,4,8,8,3] i", keys={"layout": "NTHWC", "dtype": "uint8"},
        nodes=f"""a = Cast <to = 1> (i) c = Constant <value = float {{255}}> () j = Div (a, c)
                  {_LAST.replace("(i)", "(j)")}""",
    ),
    "uint8, moved before it is cast": _Form(
        takes="uint8[N,4,8,8,3] i", keys={"layout": "NTHWC", "dtype": "uint8"},
        nodes=f"""{_LAST.replace("x =", "b =")} a = Cast <to = 1> (b) c = Constant <value = float {{255}}> ()
                  x = Div (a, c)""",
    ),
    "uint8, read by an operator of bytes": _Form(
        takes="uint8[N,4,8,8,3] i", keys={"layout": "NTHWC", "dtype": "uint8"},
        nodes=f"""k = Constant <value = float {{0.00392156862745098}}> () j = DequantizeLinear (i, k)
                  {_LAST.replace("(i)", "(j)")}""",
    ),
    "pathways": _Form(
        takes="float[N,3,2,8,8] slow, float[N,3,4,8,8] fast", nodes=_TWO, keys={"inputs": _SLOW}, frames=(0, 3)
    ),
    "pathways, every second frame": _Form(
        takes="float[N,3,2,8,8] slow, float[N,3,4,8,8] fast", nodes=_TWO, frames=(0, 2),
        keys={"inputs": {"fast": {}, "slow": {"every": 2}}},
    ),
    "pathways, each in a layout of its own": _Form(
        takes="float[N,2,3,8,8] slow, float[N,4,8,8,3] fast", frames=(0, 3),
        nodes="x = Transpose <perm = [0, 4, 1, 2, 3]> (fast) z = Transpose <perm = [0, 2, 1, 3, 4]> (slow)",
        keys={"layout": "NTHWC", "inputs": {"slow": {"frames": 2, "layout": "NTCHW"}, "fast": {}}},
    ),
}  # fmt: skip


def _weights() -> dict[str, NDArray[np.float32]]:
    random = np.random.default_rng(0)
    shapes = {"w": (4, 3, 3, 3, 3), "fc": (5, 4 * 2 * 4 * 4), "w2": (4, 3, 2, 3, 3), "fc2": (5, 4 * 4 * 4)}
    return {name: (random.normal(size=shape) / 8).astype(np.float32) for name, shape in shapes.items()}


def _write(form: _Form, path: Path) -> Path:
    """Writes the network of that form to ``path``, and its clip file beside it as ``.json``."""
    slow = """c2 = Conv <pads = [0, 1, 1, 0, 1, 1], strides = [1, 2, 2]> (z, w2)
              r2 = Relu (c2) f2 = Flatten (r2) g2 = Gemm <transB = 1> (f2, fc2) q = Add (g, g2)"""
    model = parser.parse_model(f"""
        <ir_version: 10, opset_import: ["": 18]>
        net ({form.takes}) => ({form.gives}) {{
          {form.nodes}
          [conv] c1 = Conv <pads = [1, 1, 1, 1, 1, 1], strides = [2, 2, 2]> (x, w)
          r1 = Relu (c1) f = Flatten (r1) g = Gemm <transB = 1> (f, fc)
          {slow if form.frames else "q = Identity (g)"}
          {form.end}
        }}""")
    used = {name for node in model.graph.node for name in node.input}
    dtype = np.float16 if form.is_float16 else np.float32
    for name, value in _weights().items():
        if name in used:
            model.graph.initializer.append(numpy_helper.from_array(value.astype(dtype), name))
    onnx.save(model, path)
    pixels = {} if form.keys.get("dtype") == "uint8" else {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3]}
    clips = {"frames": _FRAMES, "crop": _SIZE, **pixels, "labels": list("abcde"), **form.keys}
    path.with_suffix(".json").write_text(json.dumps(clips), encoding="utf-8")
    return path


def _torch_logits(form: _Form, clips: NDArray[np.float32]) -> NDArray[np.float32]:
    """What PyTorch computes of clips, float32 [N, 3, T, H, W] in RGB; of uint8, of pixels over 255."""
    rounding = torch.float16 if form.is_float16 else torch.float32
    weights = {name: torch.from_numpy(value).to(rounding).float() for name, value in _weights().items()}
    x = torch.from_numpy(clips).to(rounding).float()
    features = torch.nn.functional.conv3d(x, weights["w"], stride=2, padding=1).relu().flatten(1)
    logits = features @ weights["fc"].T
    if form.frames:
        slow = torch.nn.functional.conv3d(
            x[:, :, list(form.frames)], weights["w2"], stride=(1, 2, 2), padding=(0, 1, 1)
        )
        logits = logits + slow.relu().flatten(1) @ weights["fc2"].T
    return logits.numpy()


def _clips(form: _Form, count: int) -> NDArray[np.float32]:
    """Seeded clips as the toolkit has them."""
    random, shape = np.random.default_rng(count), (count, 3, _FRAMES, _SIZE, _SIZE)
    if form.keys.get("dtype") == "uint8":
        return random.integers(0, 256, size=shape).astype(np.float32) / np.float32(255)
    return random.normal(size=shape).astype(np.float32)


def _read(name: str, folder: Path) -> PlainOnnx:
    path = _write(_FORMS[name], folder / "net.onnx")
    return read_plain_onnx(path, read_clip_file(path.with_suffix(".json")))


def _run(model: ir.Model, clips: NDArray[np.float32]) -> NDArray[np.float32]:
    content = ir.to_proto(model).SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["logits"], {"clip": clips})[0])


def _tolerance(name: str) -> float:
    return 1e-2 if _FORMS[name].is_float16 else 1e-4


@pytest.mark.parametrize("name", _FORMS)
def test_every_form_becomes_the_one_that_all_graphs_have(name: str, tmp_path: Path) -> None:
    source = _read(name, tmp_path)
    for batch in _FORMS[name].batches:
        clips = _clips(_FORMS[name], batch or 3)
        model = source.graph(batch=batch)
        (clip,), (logits,) = model.graph.inputs, model.graph.outputs
        assert (clip.name, clip.dtype, logits.name, logits.dtype) == (
            "clip",
            ir.DataType.FLOAT,
            "logits",
            ir.DataType.FLOAT,
        )
        assert [str(side) for side in clip.shape or ()] == [str(batch or "batch"), "3", "4", "8", "8"]
        assert [str(side) for side in logits.shape or ()] == [str(batch or "batch"), "5"]
        onnx.checker.check_model(ir.to_proto(model), full_check=True)
        got = _run(model, clips)
        np.testing.assert_allclose(got, _torch_logits(_FORMS[name], clips), rtol=0, atol=_tolerance(name))


@pytest.mark.parametrize("name", _FORMS)
def test_the_file_as_it_came_is_fed_as_it_wants(name: str, tmp_path: Path) -> None:
    clips = _clips(_FORMS[name], 3)
    with _read(name, tmp_path).session() as session:
        got = session.infer(clips).logits
    np.testing.assert_allclose(got, _torch_logits(_FORMS[name], clips), rtol=0, atol=_tolerance(name))


_UNTOLD = {"THWNC", "N(CT)HW", "BGR", "NTHWC, BGR, float16", "pathways, every second frame", "a row a picture"}
"""What no shape tells."""


@pytest.mark.parametrize("name", [name for name in _FORMS if name not in _UNTOLD])
def test_a_template_is_right_as_it_is(name: str, tmp_path: Path) -> None:
    path = _write(_FORMS[name], tmp_path / "net.onnx")
    (tmp_path / "template.json").write_text(write_description(describe_clips(path)), encoding="utf-8")
    source = read_plain_onnx(path, read_clip_file(tmp_path / "template.json"))
    clips = _clips(_FORMS[name], 1)
    got = _run(source.graph(batch=1), clips)
    np.testing.assert_allclose(got, _torch_logits(_FORMS[name], clips), rtol=0, atol=_tolerance(name))
    assert (source.spec.frames, source.spec.size, len(source.labels)) == (4, 8, 5)


@pytest.mark.parametrize(
    ("name", "target", "options"),
    [
        ("NTHWC, BGR, float16", "onnx", {"precision": "fp16", "input": "u8"}),
        ("NTHWC, BGR, float16", "openvino", {"dynamic_batch": True}),
        pytest.param("NTHWC, BGR, float16", "trt-rtx", {}, marks=pytest.mark.needs_rtx),
        ("pathways", "onnx", {"input": "u8", "batch": 2}),
        ("pathways", "openvino", {"precision": "int8", "calib": "synthetic?clips=4"}),
        pytest.param("pathways", "trt-rtx", {}, marks=pytest.mark.needs_rtx),
        ("(NT)CHW", "openvino", {"precision": "int8", "calib": "synthetic?clips=4", "batch": 2}),
        ("a row a view", "openvino", {"precision": "fp32", "dynamic_batch": True}),
        ("uint8", "onnx", {"input": "u8"}),
        pytest.param("uint8, moved before it is cast", "trt-rtx", {"input": "u8"}, marks=pytest.mark.needs_rtx),
    ],
)
def test_artifacts_agree_with_the_file(name: str, target: str, options: dict[str, Any], tmp_path: Path) -> None:
    """The artifact is one as any other: nothing after the graph knows how the file takes clips."""
    path = _write(_FORMS[name], tmp_path / "net.onnx")
    meta = path.with_suffix(".json")
    result = export(path, ExportOptions(target=target, meta=meta, out=tmp_path / "a", **options))
    assert result.verification is not None
    bytes_in = options.get("input") == "u8"
    assert result.meta.inputs["clip"]["dtype"] == ("uint8" if bytes_in else "float32")
    assert result.meta.inputs["clip"]["shape"][1:] == ([4, 8, 8, 3] if bytes_in else [3, 4, 8, 8])


def test_pixels_give_the_same_class_by_either_input(tmp_path: Path) -> None:
    """Means of a BGR network are in its own order: mixed up, these clips would be normalized otherwise."""
    path = _write(_FORMS["BGR"], tmp_path / "net.onnx")
    frames = np.random.default_rng(5).integers(0, 256, size=(1, 4, 8, 8, 3)).astype(np.uint8)
    options = {"target": "onnx", "meta": path.with_suffix(".json"), "input": "u8", "out": tmp_path / "a"}
    export(path, ExportOptions(**options))  # type: ignore[arg-type]
    with open_session(tmp_path / "a") as session:
        got = session.infer(frames).logits
    # The clip file's mean is [0.4, 0.5, 0.6] for blue, green and red.
    clips = (frames / 255 - np.array([0.6, 0.5, 0.4])) / np.array([0.3, 0.25, 0.2])
    wanted = _torch_logits(_FORMS["BGR"], clips.transpose(0, 4, 1, 2, 3).astype(np.float32, order="C"))
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-4)
