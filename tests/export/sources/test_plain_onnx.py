from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper, parser

from s2tf_edge.clip_file import ClipFile, read_clip_file
from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.export.graph.onnx_file import write_graph
from s2tf_edge.export.sources.plain_onnx import PlainOnnx, read_plain_onnx
from s2tf_edge.export.sources.torch_to_onnx import to_onnx
from s2tf_edge.models.s2tf import VideoNetwork
from s2tf_edge.spec import ClipSpec

_SHARED = Path(__file__).parents[3] / "../shared/models"
_LABELS = ("a", "b", "c", "d", "e")
_CLIPS = ClipFile(spec=ClipSpec(frames=4, size=16), labels=_LABELS)
_HEAD = "p = GlobalAveragePool (r) f = Flatten (p) y = Gemm (f, fc)"


def _network(
    path: Path,
    *,
    clip: str = "float[1,3,4,16,16] x",
    outputs: str = "float[1,5] y",
    head: str = _HEAD,
    opset: int = 18,
    domains: str = "",
    functions: str = "",
    extra: Sequence[onnx.TensorProto] = (),
) -> Path:
    """Writes a small 3D ConvNet: one convolution, of which only the ReLU has a name, and ``head``."""
    model = parser.parse_model(f"""
        <ir_version: 8, opset_import: ["": {opset} {domains}], metadata_props: ["author": "someone"]>
        net ({clip}) => ({outputs}) {{
          c = Conv <pads = [0, 1, 1, 0, 1, 1], strides = [1, 2, 2]> (x, w)
          [relu] r = Relu (c)
          {head}
        }}
        {functions}""")
    random = np.random.default_rng(0)
    weights = {"w": random.normal(size=(4, 3, 1, 3, 3)), "fc": random.normal(size=(4, 5))}
    used = {name for node in model.graph.node for name in node.input}
    tensors = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    model.graph.initializer.extend(each for each in (*tensors, *extra) if each.name in used)
    onnx.save(model, path)
    return path


def _random_clips(count: int) -> NDArray[np.float32]:
    return np.random.default_rng(1).normal(size=(count, 3, 4, 16, 16)).astype(np.float32)


def _run(model: ir.Model, clips: NDArray[np.float32]) -> NDArray[np.float32]:
    content = ir.to_proto(model).SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["logits"], {"clip": clips})[0])


def _expected(source: PlainOnnx, clips: NDArray[np.float32]) -> NDArray[np.float32]:
    with source.session() as session:
        return session.infer(clips).logits


def _sides(value: ir.Value) -> list[str]:
    return [str(side) for side in value.shape or ()]


def _proves(source: PlainOnnx, *, batch: int | None, count: int) -> ir.Model:
    """The graph, after it has given the logits of the untouched file for ``count`` clips at once."""
    model, clips = source.graph(batch=batch), _random_clips(count)
    np.testing.assert_allclose(_run(model, clips), _expected(source, clips), rtol=0, atol=1e-5)
    return model


def test_a_graph_in_the_form_of_all_exports(tmp_path: Path) -> None:
    source = read_plain_onnx(_network(tmp_path / "my net é.onnx"), _CLIPS)
    assert (source.name, source.num_classes, source.batch) == ("my net é", 5, 1)
    model = _proves(source, batch=1, count=1)
    (clip,), (logits,) = model.graph.inputs, model.graph.outputs
    assert (clip.name, clip.dtype, _sides(clip)) == ("clip", ir.DataType.FLOAT, ["1", "3", "4", "16", "16"])
    assert (logits.name, logits.dtype, _sides(logits)) == ("logits", ir.DataType.FLOAT, ["1", "5"])
    assert [node.name for node in model.graph] == ["Conv_1", "relu", "GlobalAveragePool_1", "Flatten_1", "Gemm_1"]
    assert model.metadata_props["author"] == "someone"
    assert model.metadata_props["network"] == "my net é"
    assert {"labels", "clip"} <= set(model.metadata_props)
    write_graph(model, tmp_path / "model.onnx")


@pytest.mark.parametrize(("batch", "count"), [(3, 3), (None, 1), (None, 3)])
@pytest.mark.parametrize("first", ["1", "N", ""])
def test_the_batch_is_set_as_asked(first: str, batch: int | None, count: int, tmp_path: Path) -> None:
    clip = f"float[{first},3,4,16,16] x" if first else "float[n,3,t,h,16] x"
    source = read_plain_onnx(_network(tmp_path / "net.onnx", clip=clip, outputs="float[M,K] y"), _CLIPS)
    assert source.batch == (1 if first == "1" else None)
    model = _proves(source, batch=batch, count=count)
    assert _sides(model.graph.inputs[0]) == [str(batch or "batch"), "3", "4", "16", "16"]
    assert _sides(model.graph.outputs[0]) == [str(batch or "batch"), "5"]


@pytest.mark.parametrize(
    "head",
    [
        "p = GlobalAveragePool (r) s = Constant <value_ints = [1, 4]> () f = Reshape (p, s) y = Gemm (f, fc)",
        "p = GlobalAveragePool (r) s = Constant <value_ints = [1, -1]> () f = Reshape (p, s) y = MatMul (f, k)",
    ],
)
@pytest.mark.parametrize("first", ["1", "N"])
def test_a_batch_fixed_by_a_constant_is_refused(head: str, first: str, tmp_path: Path) -> None:
    extra = [numpy_helper.from_array(np.ones((4, 5), np.float32), "k")]
    clip = f"float[{first},3,4,16,16] x"
    source = read_plain_onnx(_network(tmp_path / "net.onnx", clip=clip, head=head, extra=extra), _CLIPS)
    own = "1 clip at once" if first == "1" else "its own number of clips at once"
    with pytest.raises(UsageError, match=rf"is fixed to {own} and cannot take any number .*; export it from"):
        source.graph(batch=None)
    with pytest.raises(UsageError, match=r"cannot take 3 .*; export it from its framework with a batch axis"):
        source.graph(batch=3)
    _proves(source, batch=1, count=1)


def test_a_file_for_several_clips_runs_as_it_is(tmp_path: Path) -> None:
    clip = "float[2,3,4,16,16] x"
    source = read_plain_onnx(_network(tmp_path / "net.onnx", clip=clip, outputs="float[2,5] y"), _CLIPS)
    assert source.batch == 2
    assert _expected(source, _random_clips(3)).shape == (3, 5)
    _proves(source, batch=1, count=1)


def test_names_of_nodes_become_unique(tmp_path: Path) -> None:
    head = "[relu] a = Relu (r) b = Relu (a) [Relu_1] d = Relu (b) [relu] r2 = Relu (d)"
    head += _HEAD.replace("(r)", "(r2)")
    model = read_plain_onnx(_network(tmp_path / "net.onnx", head=head), _CLIPS).graph()
    names = [node.name for node in model.graph if node.op_type == "Relu"]
    assert names == ["relu", "relu_1", "Relu_2", "Relu_1", "relu_2"]


def test_names_within_branches_become_unique(tmp_path: Path) -> None:
    head = """yes = Constant <value = bool {1}> ()
        b = If (yes) <then_branch = g1 () => (float[1,4,4,8,8] q) { [relu] q = Relu (r) },
                      else_branch = g2 () => (float[1,4,4,8,8] logits) { logits = Neg (r) }>"""
    source = read_plain_onnx(_network(tmp_path / "net.onnx", head=head + _HEAD.replace("(r)", "(b)")), _CLIPS)
    model = _proves(source, batch=1, count=1)
    names = [node.name for node in ir.traversal.RecursiveGraphIterator(model.graph)]
    assert len(set(names)) == len(names)
    assert {"relu", "relu_1", "Neg_1", "If_1"} <= set(names)


def test_values_that_have_our_names_give_way(tmp_path: Path) -> None:
    head = "logits = Mul (r, clip) p = GlobalAveragePool (logits) f = Flatten (p) y = Gemm (f, fc)"
    extra = [numpy_helper.from_array(np.full(1, 2, np.float32), "clip")]
    source = read_plain_onnx(_network(tmp_path / "net.onnx", head=head, extra=extra), _CLIPS)
    model = _proves(source, batch=None, count=2)
    assert set(model.graph.initializers) == {"w", "fc", "clip_1"}
    assert {node.outputs[0].name for node in model.graph} >= {"logits", "logits_1"}


def test_swapped_names_are_put_right(tmp_path: Path) -> None:
    path = _network(tmp_path / "net.onnx")
    model = onnx.load(path)
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [{"x": "logits", "y": "clip"}.get(name, name) for name in names]
    model.graph.input[0].name, model.graph.output[0].name = "logits", "clip"
    onnx.save(model, path)
    _proves(read_plain_onnx(path, _CLIPS), batch=1, count=1)


def test_other_outputs_are_dropped_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    outputs = "float[1,4,1,1,1] features, float[1,5] y"
    path = _network(tmp_path / "net.onnx", outputs=outputs, head=f"features = ReduceMax <keepdims = 1> (r, a) {_HEAD}",
                    extra=[numpy_helper.from_array(np.array([2, 3, 4]), "a")])  # fmt: skip
    model = _proves(read_plain_onnx(path, _CLIPS), batch=1, count=1)
    assert "net.onnx: output y is taken as logits; dropped: features" in caplog.text
    assert "ReduceMax" not in {node.op_type for node in model.graph}
    assert "a" not in model.graph.initializers


def test_the_clip_file_chooses_among_outputs(tmp_path: Path) -> None:
    outputs = "float[1,5] y, float[1,5] z"
    path = _network(tmp_path / "net.onnx", outputs=outputs, head=f"{_HEAD} z = Neg (y)")
    with pytest.raises(InputFileError, match=r'more than one output .* y float \[1, 5\], z float .*"output" in its'):
        read_plain_onnx(path, _CLIPS)
    chosen = ClipFile(spec=_CLIPS.spec, labels=_LABELS, input="x", output="z")
    model = _proves(read_plain_onnx(path, chosen), batch=1, count=1)
    assert model.graph.outputs[0].producer().op_type == "Neg"  # type: ignore[union-attr]  # no input


@pytest.mark.parametrize(("output", "head"), [
    ("float[1,5,1,1,1] y", "k = GlobalAveragePool (r) y = Conv (k, cw)"),
    ("float[N,1,1,1,5] y", "k = GlobalAveragePool (r) j = Conv (k, cw) y = Transpose <perm = [0, 2, 3, 4, 1]> (j)"),
])  # fmt: skip
def test_logits_with_axes_of_one_are_flattened(output: str, head: str, tmp_path: Path) -> None:
    weights = np.random.default_rng(2).normal(size=(5, 4, 1, 1, 1)).astype(np.float32)
    path = _network(tmp_path / "net.onnx", outputs=output, head=head, extra=[numpy_helper.from_array(weights, "cw")])
    model = _proves(read_plain_onnx(path, _CLIPS), batch=None, count=2)
    assert _sides(model.graph.outputs[0]) == ["batch", "5"]


@pytest.mark.parametrize(("end", "warns"), [("y = Softmax (z)", True), ("s = Softmax (z) y = Identity (s)", True),
                                            ("y = LogSoftmax (z)", False)])  # fmt: skip
def test_probabilities_in_place_of_logits_are_told(
    end: str, warns: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    read_plain_onnx(_network(tmp_path / "net.onnx", head=_HEAD.replace("y =", "z =") + end), _CLIPS)
    assert ("ends in a Softmax; scores will be softened twice" in caplog.text) is warns


@pytest.mark.parametrize("opset", [9, 11, 13, 17])
def test_older_opsets_are_converted(opset: int, tmp_path: Path) -> None:
    head = "p = ReduceMean <axes = [2, 3, 4], keepdims = 0> (r) y = Gemm (p, fc)"
    if opset < 11:
        head = f"d = Dropout <ratio = 0.5> (r) {head.replace('(r)', '(d)')}"
        extra = [numpy_helper.from_array(np.zeros(5, np.float32), "bias")]
        head = head.replace("(p, fc)", "(p, fc, bias)")
    else:
        extra = []
    source = read_plain_onnx(_network(tmp_path / "net.onnx", head=head, opset=opset, extra=extra), _CLIPS)
    model = _proves(source, batch=None, count=2)
    assert model.graph.opset_imports[""] == 18
    assert model.metadata_props["author"] == "someone"


def test_newer_opsets_stay(tmp_path: Path) -> None:
    source = read_plain_onnx(_network(tmp_path / "net.onnx", opset=20), _CLIPS)
    assert _proves(source, batch=1, count=1).graph.opset_imports[""] == 20


_BODY = """<domain: "com.example", opset_import: ["": {opset}]>
    Half (a) => (b) {{ two = Constant <value = float {{2}}> () b = Div (a, two) }}"""


@pytest.mark.parametrize("opset", [15, 18])
def test_functions_are_kept_where_the_opset_is(opset: int, tmp_path: Path) -> None:
    """ONNX's converter would drop them, so that those of an older file are written out."""
    path = _network(
        tmp_path / "net.onnx",
        head=f"h = com.example.Half (r) {_HEAD.replace('(r)', '(h)')}",
        opset=opset,
        domains=', "com.example": 1',
        functions=_BODY.format(opset=opset),
    )
    model = _proves(read_plain_onnx(path, _CLIPS), batch=None, count=2)
    assert [key[:2] for key in model.functions] == ([("com.example", "Half")] if opset == 18 else [])
    assert model.graph.opset_imports[""] == 18
    assert "Div" in {node.op_type for node in model.graph.all_nodes()} or model.functions


def test_operators_nobody_knows_are_left_to_the_target(tmp_path: Path) -> None:
    head = f"h = com.example.Strange (r) {_HEAD.replace('(r)', '(h)')}"
    source = read_plain_onnx(_network(tmp_path / "net.onnx", head=head, domains=', "com.example": 1'), _CLIPS)
    model = source.graph(batch=None)
    assert [node.domain for node in model.graph if node.op_type == "Strange"] == ["com.example"]
    assert _sides(model.graph.outputs[0]) == ["batch", "5"]


def test_weights_that_are_listed_as_inputs_are_none(tmp_path: Path) -> None:
    path = _network(tmp_path / "net.onnx")
    model = onnx.load(path)
    weights = [onnx.helper.make_tensor_value_info(each.name, 1, each.dims) for each in model.graph.initializer]
    model.graph.input.extend(weights)
    onnx.save(model, path)
    graph = _proves(read_plain_onnx(path, _CLIPS), batch=1, count=1).graph
    assert [value.name for value in graph.inputs] == ["clip"]


def _with_weights_outside(path: Path, location: str) -> onnx.ModelProto:
    """Writes the network with its weights in ``weights.bin`` beside it, and points the file to ``location``."""
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        next(each for each in tensor.external_data if each.key == "location").value = location
    onnx.save(model, path)
    return model


def test_weights_may_lie_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    path = _network(tmp_path / "in" / "net.onnx")
    _with_weights_outside(path, "weights.bin")
    model = _proves(read_plain_onnx(path, _CLIPS), batch=1, count=1)
    write_graph(model, tmp_path / "model.onnx")
    (tmp_path / "in" / "weights.bin").unlink()
    onnx.checker.check_model(tmp_path / "model.onnx", full_check=True)
    with pytest.raises(InputFileError, match=r"is not a valid ONNX model.*weights\.bin"):
        read_plain_onnx(path, _CLIPS)


@pytest.mark.parametrize("location", ["../secret.bin", "{folder}/secret.bin", "link.bin"])
def test_weights_outside_the_folder_are_refused(location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    path = _network(folder / "net.onnx")
    _with_weights_outside(path, location.format(folder=tmp_path))
    (folder / "weights.bin").rename(tmp_path / "secret.bin")
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    # By a relative path too: the folder is then the empty string.
    monkeypatch.chdir(folder)
    for each in (path, Path(path.name)):
        with pytest.raises(InputFileError, match=r"is not a valid ONNX model.*(outside|absolute path|symbolic link)"):
            read_plain_onnx(each, _CLIPS)


def test_weights_that_are_cut_off_are_refused(tmp_path: Path) -> None:
    path = _network(tmp_path / "net.onnx")
    _with_weights_outside(path, "weights.bin")
    os.truncate(tmp_path / "weights.bin", 100)
    with pytest.raises(InputFileError, match="is not a valid ONNX model, or it is damaged"):
        read_plain_onnx(path, _CLIPS)


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    whole = _network(tmp_path / "net.onnx").read_bytes()
    contents = {"empty": b"", "text": b"hello\n" * 50, "cut": whole[:-9], "torch": b"PK\x03\x04" + bytes(500)}
    for name, content in contents.items():
        (tmp_path / f"{name}.onnx").write_bytes(content)
        with pytest.raises(InputFileError, match=rf"{name}\.onnx is not a valid ONNX model, or it is damaged: .*again"):
            read_plain_onnx(tmp_path / f"{name}.onnx", _CLIPS)


def test_bytes_changed_anywhere_end_in_an_error_of_ours_or_in_a_graph(tmp_path: Path) -> None:
    path, random = _network(tmp_path / "net.onnx"), np.random.default_rng(0)
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    refused = 0
    for _ in range(200):
        changed = whole.copy()
        changed[random.integers(len(whole), size=2)] = random.integers(256, size=2)
        path.write_bytes(changed.tobytes())
        try:
            read_plain_onnx(path, _CLIPS).graph(batch=None)
        except (InputFileError, UsageError):
            refused += 1
    assert 0 < refused < 200


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"cannot read .*none\.onnx: No such file"):
        read_plain_onnx(tmp_path / "none.onnx", _CLIPS)
    with pytest.raises(InputFileError, match=r"cannot read .*: Is a directory"):
        read_plain_onnx(tmp_path, _CLIPS)


def test_an_invalid_graph_is_told(tmp_path: Path) -> None:
    path = _network(tmp_path / "net.onnx", head=_HEAD.replace("(p)", "(nothing)"))
    with pytest.raises(InputFileError, match=r"is not a valid ONNX model.*nothing"):
        read_plain_onnx(path, _CLIPS)
    with pytest.raises(InputFileError, match=r"has shapes that contradict each other: .*Inferred shape"):
        read_plain_onnx(_network(path, outputs="float[1,6] y"), _CLIPS)


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        ("float[1,3,4,16,16] x, float[1,3,4,16,16] fast", r"takes 2 inputs \(x, fast\); a network here takes one clip"),
        ("double[1,3,4,16,16] x", "input x of .* is double, but must be float32; export the network in float32"),
        (
            "float[1,3,8,16,16] x",
            r"is \[1, 3, 8, 16, 16\], but with the frames \(4\) and crop \(16\) of its",
        ),
        ("float[N,3,4,16,24] x", r"is \[N, 3, 4, 16, 24\], but .* it should be \[N, 3, 4, 16, 16\] \(clips, channels"),
    ],
)
def test_an_input_that_is_no_such_clip(clip: str, message: str, tmp_path: Path) -> None:
    path = _network(tmp_path / "net.onnx", clip=clip, outputs="float[N,K] y")
    if "double" in clip:
        path = _to_double(path)
    with pytest.raises(InputFileError, match=message):
        read_plain_onnx(path, _CLIPS)


def _to_double(path: Path) -> Path:
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name))
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    onnx.save(model, path)
    return path


def test_an_input_of_pictures_is_refused(tmp_path: Path) -> None:
    model = parser.parse_model("""<ir_version: 8, opset_import: ["": 18]>
        net (float[1,3,16,16] x) => (float[1,768] y) { y = Flatten (x) }""")
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(InputFileError, match=r"is \[1, 3, 16, 16\], but with the frames"):
        read_plain_onnx(tmp_path / "net.onnx", _CLIPS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input": "video"}, r"its description names the input 'video', but .*net\.onnx has x; correct it"),
        ({"output": "scores"}, r"its description names the output 'scores', but .* has: y float \[1, 5\]; correct"),
        (
            {"labels": _LABELS[:4]},
            r"no output that can be the float32 logits \[N, 4\] of the 4 labels .* y float",
        ),
    ],
)
def test_a_clip_file_that_does_not_fit(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    described = dataclasses.replace(_CLIPS, **changes)
    with pytest.raises(InputFileError, match=message):
        read_plain_onnx(_network(tmp_path / "net.onnx"), described)


def test_the_class_number_is_no_logits(tmp_path: Path) -> None:
    path = _network(tmp_path / "net.onnx", outputs="int64[1,1] n", head=f"{_HEAD} n = ArgMax <axis = 1> (y)")
    with pytest.raises(InputFileError, match=r"it has: n int64 \[1, 1\]; export the logits"):
        read_plain_onnx(path, _CLIPS)


def test_an_exported_graph_can_be_read_again(network: VideoNetwork, tmp_path: Path) -> None:
    model = to_onnx(network)
    write_graph(model, tmp_path / "model.onnx")
    described = ClipFile(spec=network.spec, labels=tuple(network.labels), input="clip", output="logits")
    source = read_plain_onnx(tmp_path / "model.onnx", described)
    again = source.graph(batch=None)
    assert [node.name for node in again.graph] == [node.name for node in model.graph]
    assert set(again.functions) == set(model.functions)
    clips = np.random.default_rng(0).normal(size=network.spec.input_shape(3)).astype(np.float32)
    np.testing.assert_allclose(_run(again, clips), _expected(source, clips), rtol=0, atol=1e-5)


@pytest.mark.needs_shared
def test_a_real_network() -> None:
    clips = read_clip_file(_SHARED / "i3d_rgb_k400_t32.json")
    source = read_plain_onnx(_SHARED / "i3d_rgb_k400_t32.onnx", clips)
    model = source.graph(batch=1)
    assert [node.name for node in model.graph][:2] == ["node_Conv_1235", "node_relu"]
    assert _sides(model.graph.inputs[0]) == ["1", "3", "32", "224", "224"]
    assert _sides(model.graph.outputs[0]) == ["1", "400"]
    with pytest.raises(UsageError, match="is fixed to 1 clip at once and cannot take any number"):
        source.graph(batch=None)
