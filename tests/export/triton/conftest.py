from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
from google.protobuf import text_format  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnx import numpy_helper, parser
from tritonclient.grpc import model_config_pb2

from s2tf_edge.export.artifact_folder import seal
from s2tf_edge.runtime.artifact import ArtifactMeta
from s2tf_edge.spec import ClipSpec
from s2tf_edge.step_spec import StateSpec, StepSpec

_TYPES = {"float32": "TYPE_FP32", "float16": "TYPE_FP16", "uint8": "TYPE_UINT8"}
_OF_ORT = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}
_OF_OPENVINO = {"f32": "float32", "f16": "float16", "u8": "uint8"}

Tensors = dict[str, tuple[str, list[int]]]
"""Type as Triton calls it, and shape with -1 for what is open, by name."""
Values = dict[str, NDArray[Any]]


class Served:
    """The newest version of a model, driven by what its ``config.pbtxt`` says, read with Triton's own schema."""

    def __init__(self, folder: Path) -> None:
        text = (folder / "config.pbtxt").read_text(encoding="utf-8")
        self.config = text_format.Parse(text, model_config_pb2.ModelConfig())
        versions = [int(path.name) for path in folder.iterdir() if path.name.isdecimal()]
        self.version = folder / str(max(versions))
        path = self.version / self.config.default_model_filename
        if self.config.backend == "tensorrt" and not path.exists():
            path = self.version / "model.onnx"  # which the engine is to be built from
        opened = _open_openvino(path) if self.config.backend == "openvino" else _open_onnx(path)
        self.inputs, self.outputs, self._run = opened
        self._sequences: dict[int, Values] = {}

    @property
    def states(self) -> list[tuple[Any, str, str]]:
        """Each state with its input and output, paired by places in the alphabet as Triton does (server issue 8586)."""
        states = list(self.config.sequence_batching.state)
        pasts = sorted(state.input_name for state in states)
        nexts = sorted(state.output_name for state in states)
        by_input = {state.input_name: state for state in states}
        return [(by_input[past], past, following) for past, following in zip(pasts, nexts, strict=True)]

    def infer(self, values: Values, *, sequence: int = 0, start: bool = False) -> Values:
        """What a client gets."""
        for tensor in self.config.input:
            shape, dims = list(values[tensor.name].shape), list(tensor.dims)
            if self.config.max_batch_size:
                assert 1 <= shape.pop(0) <= self.config.max_batch_size
            assert len(shape) == len(dims)
            assert all(wanted in {-1, got} for wanted, got in zip(dims, shape, strict=True)), (shape, dims)
            assert self.type_name(tensor.data_type) == _TYPES[values[tensor.name].dtype.name]
        if start:
            self._sequences[sequence] = {past: self._start(state) for state, past, _ in self.states}
        states = self._sequences[sequence] if self.states else {}
        outputs = self._run(values | states)
        for _, past, following in self.states:
            states[past] = outputs[following]
        return {tensor.name: outputs[tensor.name] for tensor in self.config.output}

    def _start(self, state: Any) -> NDArray[Any]:
        (start,) = state.initial_state
        assert (start.zero_data, start.data_type, list(start.dims)) == (True, state.data_type, list(state.dims))
        dtype = {name: each for each, name in _TYPES.items()}[self.type_name(start.data_type)]
        return np.zeros(list(start.dims), dtype)

    @staticmethod
    def type_name(number: int) -> str:
        return str(model_config_pb2.DataType.Name(number))


def _open_onnx(path: Path) -> tuple[Tensors, Tensors, Callable[[Values], Values]]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def tensors(infos: Any) -> Tensors:
        return {
            each.name: (_TYPES[_OF_ORT[each.type]], [side if isinstance(side, int) else -1 for side in each.shape])
            for each in infos
        }

    outputs = tensors(session.get_outputs())
    return (
        tensors(session.get_inputs()),
        outputs,
        lambda given: dict(zip(outputs, session.run(None, given), strict=True)),
    )


def _open_openvino(path: Path) -> tuple[Tensors, Tensors, Callable[[Values], Values]]:
    model = openvino.Core().read_model(path)
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def tensors(ports: Any) -> Tensors:
        return {
            port.any_name: (
                _TYPES[_OF_OPENVINO[port.element_type.get_type_name()]],
                [side.get_length() if side.is_static else -1 for side in port.partial_shape],
            )
            for port in ports
        }

    def run(given: Values) -> Values:
        return {port.any_name: np.array(values) for port, values in compiled(given).items()}

    return tensors(model.inputs), tensors(model.outputs), run


STATES = (
    StateSpec(name="cache", slots=3, shape=(2, 4, 4)),
    # Names of which one begins the other, whose order a suffix would turn round.
    StateSpec(name="cache_len", slots=1, shape=(1, 4, 4)),
    StateSpec(name="maps", slots=3, shape=(1, 4, 4), fresh=2),
    StateSpec(name="ring", slots=2, shape=(3, 1, 1), is_ordered=False),
)


@pytest.fixture
def step_artifact(tmp_path: Path) -> Callable[..., Path]:
    """Writes an artifact of one step whose every slot counts, made by hand, for tracing a network takes seconds."""

    def make(*, target: str = "onnx", name: str = "a step", **changes: Any) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        _write_step(folder / "model.onnx")
        step = StepSpec(hop=1, receptive_field=4, warm_up=4, states=STATES)
        deferred = {"deferred": True, "engine": {"asked": {"workspace_gib": 2.0}}} if target != "onnx" else {}
        meta = ArtifactMeta(
            network="by hand",
            labels=("walk", "run"),
            clip=ClipSpec(frames=4, size=4),
            target=target,
            precision={"asked": "fp32", "inference": "default"},
            inputs={"frames": {"shape": [1, 3, 4, 4], "dtype": "float32"}},
            outputs={"logits": {"shape": [1, 2], "dtype": "float32"}},
            model="model.onnx",
            files={"model.onnx": ""},
            build=deferred,
            step=step,
            **changes,
        )
        seal(meta, folder)
        return folder

    return make


def _write_step(path: Path) -> None:
    taken = ", ".join(f"float[1,{','.join(map(str, state.shape))}] {name}" for state in STATES for name in state.inputs)
    given = [f"float[1,{','.join(map(str, state.shape))}] {name}" for state in STATES for name in state.outputs]
    slots = [name for state in STATES if state.name != "ring" for name in state.inputs]
    model = parser.parse_model(f"""
        <ir_version: 8, opset_import: ["": 18]>
        step (float[1,3,4,4] frames, {taken}) => (float[1,2] logits, {", ".join(given)}) {{
          all = Concat <axis = 1> (frames, {", ".join(slots)})
          c = Conv (all, w)
          p = GlobalAveragePool (c) s = Add (p, ring_p0) a = Sub (s, ring_p1)
          f = Flatten (a) logits = Gemm (f, fc)
          cache_n = Conv (frames, v)
          cache_len_n = Conv (frames, u)
          maps_n0 = Relu (cache_len_n) maps_n1 = Neg (cache_len_n)
          ring_n = GlobalAveragePool (frames)
        }}""")
    random = np.random.default_rng(0)
    shapes = {"w": (3, 13, 1, 1), "v": (2, 3, 1, 1), "u": (1, 3, 1, 1), "fc": (3, 2)}
    for name, shape in shapes.items():
        model.graph.initializer.append(numpy_helper.from_array(random.normal(size=shape).astype(np.float32), name))
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


@pytest.fixture
def serve() -> Callable[[Path], Served]:
    return Served
