"""The graph of a step as Triton drives it: whole states in, whole states out, seen to agree with the artifact's."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from s2tf_edge.errors import InputFileError, VerificationError
from s2tf_edge.export.triton.interface import ServedModel
from s2tf_edge.extras import require
from s2tf_edge.runtime.artifact import GRAPH_FILE
from s2tf_edge.step_spec import StateSpec
from s2tf_edge.words import one_line, shortened

__all__ = ["write_step_graph"]

_SEED: Final = 0
_TOLERANCES: Final = {"fp32": 1e-4, "fp16": 2e-2}
"""Of the largest value there is, by precision. Both graphs run in one runtime, and were found alike bit for bit."""
_WIDEST: Final = 5e-2


def write_step_graph(artifact: Path, model: ServedModel, to: Path) -> None:
    """Writes the graph with whole states, and steps it beside the artifact's own until all slots were written to.

    Args:
        artifact: a folder with ``model.onnx``, whose files are known to be whole.
        model: of it.
        to: the file to write; large weights lie beside it.

    Raises:
        InputFileError: the graph is not as its description says.
        MissingExtraError: ONNX or ONNX Runtime is not installed.
        VerificationError: the two do not agree.
    """
    purpose = "publishing a step for Triton"
    ir, runtime = (require(name, extra="export", purpose=purpose) for name in ("onnx_ir", "onnxruntime"))
    from s2tf_edge.calibration.onnx_files import save_model
    from s2tf_edge.export.passes.whole_states import WholeStates

    assert model.meta.step is not None
    path = artifact / GRAPH_FILE
    try:
        save_model(WholeStates(model.meta.step)(ir.load(path)).model, to)
    except Exception as error:  # of onnx_ir or of ONNX's checker, which have nothing in common
        raise _contradiction(path, error) from error
    _compare(_Slices(_Network(runtime, path), model), _Whole(_Network(runtime, to), model), model)


class _Network:
    """A graph in ONNX Runtime, on the CPU."""

    def __init__(self, runtime: Any, path: Path) -> None:
        options = runtime.SessionOptions()
        options.log_severity_level = 4
        self._path = path
        try:
            self._session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its errors have no class of their own in common
            raise _contradiction(path, error) from error
        self._outputs = [output.name for output in self._session.get_outputs()]

    def run(self, values: dict[str, Any]) -> dict[str, NDArray[Any]]:
        """All outputs by name."""
        try:
            return dict(zip(self._outputs, self._session.run(None, values), strict=True))
        except Exception as error:
            raise _contradiction(self._path, error) from error


class _Slices:
    """The artifact's own graph, and what it is to remember in single slices."""

    def __init__(self, network: _Network, model: ServedModel) -> None:
        assert model.meta.step is not None
        self._network = network
        self._states = model.meta.step.states
        self._past = {
            state.name: deque([_start(state, pair.shape[0])] * state.slots, maxlen=state.slots)
            for state, pair in zip(self._states, model.states, strict=True)
        }

    def step(self, frames: dict[str, Any]) -> list[NDArray[Any]]:
        """Logits, and after them all states, each as one tensor."""
        past = [pair for state in self._states for pair in zip(state.inputs, self._past[state.name], strict=True)]
        outputs = self._network.run(frames | dict(past))
        for state in self._states:
            self._past[state.name].extend(outputs[name] for name in state.outputs)
        return [outputs["logits"], *(np.concatenate(list(self._past[state.name]), axis=1) for state in self._states)]


class _Whole:
    """Triton's graph, whose states are handed back as they came."""

    def __init__(self, network: _Network, model: ServedModel) -> None:
        self._network = network
        self._states = model.states
        self._past = {pair.past: np.zeros(pair.shape, pair.dtype) for pair in self._states}

    def step(self, frames: dict[str, Any]) -> list[NDArray[Any]]:
        """As of ``_Slices``."""
        outputs = self._network.run(frames | self._past)
        self._past = {pair.past: outputs[pair.next] for pair in self._states}
        return [outputs["logits"], *self._past.values()]


def _contradiction(path: Path, error: Exception) -> InputFileError:
    cause = error.__cause__ or error
    msg = f"{path} is not as its description says: {shortened(one_line(cause), 80)}; export the model again"
    return InputFileError(msg)


def _start(state: StateSpec, streams: int) -> NDArray[Any]:
    return np.zeros((streams, *state.shape), state.dtype)


def _compare(one: _Slices, other: _Whole, model: ServedModel) -> None:
    assert model.meta.step is not None
    random = np.random.default_rng(_SEED)
    tolerance = _TOLERANCES.get(str(model.meta.precision.get("asked")), _WIDEST)
    names = ["logits", *(pair.next for pair in model.states)]
    for _ in range(2 + max(-(-state.slots // state.fresh) for state in model.meta.step.states)):
        frames = {tensor.name: _noise(random, tensor.shape, tensor.dtype) for tensor in model.inputs}
        for expected, got, name in zip(one.step(frames), other.step(frames), names, strict=True):
            error = float(np.abs(got.astype(np.float64) - expected).max())
            if not error <= tolerance * float(np.abs(expected).max()):
                msg = f"the graph for Triton does not agree with the artifact's: {name} differs by up to {error:.3g}"
                raise VerificationError(msg)


def _noise(random: np.random.Generator, shape: tuple[int | None, ...], dtype: str) -> NDArray[Any]:
    sides = [side or 1 for side in shape]
    if dtype == "uint8":
        return random.integers(0, 256, sides, dtype=np.uint8)
    return random.standard_normal(sides, dtype=np.float32)
