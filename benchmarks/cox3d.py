"""CoX3D (Hedegaard and Iosifidis, 2022), of continual-inference's layers, for ``benchmarks/step.py`` to compare with.

It needs that package, which is not installed here: ``pip install --no-deps continual-inference``. The network is
put together from an X3D's own layers: convolutions in time become continual ones, squeeze-and-excitation sees a frame,
shortcuts wait for their branch. It is exported, with its states, through that package's wrapper; its ``export``, of
1.2.4, names an option that PyTorch no longer has.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import continual
import numpy as np
import onnx
import onnxruntime
import openvino
import torch
from continual.onnx import OnnxWrapper
from continual.utils import flatten
from torch import Tensor, nn

from s2tf_edge.models import create_model
from s2tf_edge.models.blocks import ConvNorm, Residual

SHOWN_FIRST = 200
"""Frames until all states are filled."""


def predictions(model: str, folder: Path, *, threads: int) -> Iterator[tuple[str, Callable[[], object]]]:
    """Steps of the network ``model``, an X3D, in PyTorch, ONNX Runtime and OpenVINO: what each is, what makes one."""
    torch.manual_seed(0)
    network = create_model(model, num_classes=400).eval()
    frame = torch.randn(1, 3, network.spec.size, network.spec.size)
    cox3d = make_continual(network).eval()
    with torch.inference_mode():
        for _ in range(SHOWN_FIRST):
            cox3d.forward_step(frame)
    yield "PyTorch fp32", functools.partial(_step_torch, cox3d, frame)
    path = folder / f"{model} cox3d.onnx"
    export_step(make_continual(network).eval(), frame, path)
    nodes = len(onnx.load(path).graph.node)
    yield f"ONNX Runtime fp32, {nodes} nodes", _step_onnxruntime(path, frame.numpy(), threads=threads)
    for kind in ("f32", "bf16"):
        yield f"OpenVINO {kind}", _step_openvino(path, frame.numpy(), threads=threads, kind=kind)


def make_continual(network: nn.Module) -> Any:
    """CoX3D that shares its weights with an X3D."""
    backbone: Any = network.backbone
    stem, head = backbone.stem, backbone.head
    blocks = [_continual_block(block) for stage in backbone.stages for block in stage]
    pool = continual.AdaptiveAvgPool3d((1, 1, 1), kernel_size=13)
    classify = [head.lin5, nn.ReLU(), continual.Lambda(functools.partial(torch.flatten, start_dim=1)), head.fc]
    return continual.Sequential(
        stem.spatial, *_continual_conv(stem.temporal), *blocks, *_continual_conv(head.conv5), pool, *classify
    )


def _continual_conv(layer: ConvNorm) -> list[nn.Module]:
    conv = layer.conv if layer.conv.kernel_size[0] == 1 else continual.Conv3d.build_from(layer.conv)
    return [conv, layer.norm, *([nn.ReLU()] if layer.relu else [])]


def _continual_block(block: Residual) -> Any:
    first, depthwise, last = cast("Any", block.branch)
    squeeze = [] if isinstance(depthwise.squeeze, nn.Identity) else [_per_frame(depthwise.squeeze)]
    swish = continual.Lambda(nn.functional.silu, takes_time=True)
    branch = [*_continual_conv(first), *_continual_conv(depthwise), *squeeze, swish, *_continual_conv(last)]
    steps = continual.Sequential(*branch)
    if isinstance(block.shortcut, nn.Identity):
        return continual.Sequential(continual.Residual(steps), nn.ReLU())
    shortcut = continual.Sequential(*_continual_conv(cast("ConvNorm", block.shortcut)))
    return continual.Sequential(continual.BroadcastReduce(shortcut, steps), nn.ReLU())


def _per_frame(squeeze: nn.Module) -> Any:
    return continual.Lambda(squeeze, takes_time=True)


def export_step(cox3d: Any, frame: Tensor, path: Path) -> None:
    """Writes an ONNX file of one step; states are its other inputs and outputs, in this order."""
    state = None
    with torch.no_grad():
        for _ in range(SHOWN_FIRST):
            _, state = cox3d._forward_step(frame, state)
        # Positions in the rings are numbers in places and tensors in others.
        states = [torch.as_tensor(value) for value in flatten(state)]
        wrapper = OnnxWrapper(cox3d)
        inputs, outputs = ["x", *wrapper.state_input_names], ["y", *wrapper.state_output_names]
        torch.onnx.export(
            wrapper,
            (frame, *states),
            str(path),
            input_names=inputs,
            output_names=outputs,
            dynamo=False,
            opset_version=17,
        )
    np.savez(path.with_suffix(".npz"), *(value.numpy() for value in states))


@torch.inference_mode()
def _step_torch(cox3d: Any, frame: Tensor) -> object:
    return cox3d.forward_step(frame)


def _states(path: Path) -> list[np.ndarray]:
    with np.load(path.with_suffix(".npz")) as saved:
        return [saved[name] for name in saved.files]


def _step_onnxruntime(path: Path, frame: np.ndarray, *, threads: int) -> Callable[[], object]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()[1:]]
    states = _states(path)

    def step() -> object:
        logits, *states[:] = session.run(None, {"x": frame, **dict(zip(names, states, strict=True))})
        return logits

    return step


def _step_openvino(path: Path, frame: np.ndarray, *, threads: int, kind: str) -> Callable[[], object]:
    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": kind, "NUM_STREAMS": 1}
    compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    request = compiled.create_infer_request()
    states = _states(path)

    def step() -> object:
        results = request.infer([frame, *states], share_inputs=True, share_outputs=False)
        logits, *states[:] = (results[port] for port in compiled.outputs)
        return logits

    return step
