"""TensorRT and TensorRT-RTX: runs ``model.engine`` on an NVIDIA GPU."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from s2tf_edge.errors import InputFileError, UnsupportedError, UsageError
from s2tf_edge.runtime.artifact import META_FILE
from s2tf_edge.runtime.backends.cuda_memory import CudaBuffer, CudaSlice, load_cuda
from s2tf_edge.runtime.backends.tensorrt_library import EXTRAS, EngineLog, load_tensorrt
from s2tf_edge.runtime.backends.tensorrt_times import LayerClock
from s2tf_edge.runtime.session import (
    STEP_INPUT,
    Clips,
    LayerTime,
    ModelInfo,
    Outputs,
    Session,
    SessionOptions,
    frames_first,
    input_shape,
)
from s2tf_edge.runtime.session.step_state import RingState, StepState
from s2tf_edge.step_spec import StateSpec, StepSpec

__all__ = ["TensorRtSession"]

_DEVICE: Final = re.compile(r"auto|(?:gpu|cuda)(?:[.:](\d+))?", re.IGNORECASE)
_PRECISIONS: Final = {"fp32": "f32", "fp16": "f16", "int8": "i8"}
_CLIP: Final = "clip"
_OUTPUTS: Final = ("logits", "mask")
_PORTABLE_FROM: Final = (8, 0)
"""Compute capability of Ampere, the oldest that portable engines run on."""


class TensorRtSession(Session):
    """Runs an engine with input ``clip`` and outputs ``logits`` and, where it has one, ``mask``; or one that steps.

    One execution context on one stream. Requests larger than what the engine was built for are split; buffers are made
    once, for its largest. What a step remembers stays on the GPU: each names the addresses of its slices anew.
    """

    backend: ClassVar[str] = "tensorrt"

    def __init__(
        self, path: Path, info: ModelInfo, options: SessionOptions, *, target: str, built_with: Mapping[str, Any]
    ) -> None:
        """Checks the device's name; nothing is loaded yet.

        Args:
            path: the engine, inside its artifact folder.
            info: what is known of the network.
            options: device: ``auto``, ``GPU`` or ``GPU.1``.
            target: trt or trt-rtx.
            built_with: ``EngineFacts.built_with()`` of the build.

        Raises:
            UsageError: the device is not a GPU.
        """
        super().__init__(path, info, options)
        found = _DEVICE.fullmatch(options.device)
        if found is None:
            others = "or GPU.1 and so on for others than the first"
            msg = f"TensorRT has no device {options.device!r}; it has auto, GPU, {others}"
            raise UsageError(msg)
        self._index = int(found[1] or 0)
        self._target = target
        self._built_with = built_with
        self._rebuild = f"build it again here: s2tf-export {shlex.quote(str(path.parent))} --target {target}"
        self._runtime: Any = None
        self._engine: Any = None
        self._context: Any = None
        self._buffers: dict[str, CudaBuffer] = {}
        self._input = _CLIP if info.step is None else STEP_INPUT

    def describe(self) -> dict[str, Any]:
        """Backend, version, GPU, and the precision it was built in; ``threads`` is None: the CPU only waits."""
        facts = super().describe() | {"backend": _backend(self._target)}
        if not self._is_open:
            return facts
        return facts | {
            "version": self._library.version,
            "device": self._gpu.name,
            "inference_precision": _PRECISIONS.get(self.info.precision, self.info.precision),
            "threads": None,
        }

    def _open(self) -> None:
        purpose = f"running {self.info.name}"
        self._library = load_tensorrt(self._target, purpose=purpose)
        self._check_version()
        self._cuda = load_cuda(extra=EXTRAS[self._target], purpose=purpose)
        self._gpu = self._cuda.find_gpu(self._index)
        self._check_gpu()
        self._cuda.call("cudaSetDevice", self._index)
        self._stream: Any = self._cuda.call("cudaStreamCreate")
        try:
            self._load()
            self._allocate()
        except BaseException:
            self._close()
            raise

    def _load(self) -> None:
        # The library's objects do not keep each other alive: the session does.
        self._log = EngineLog(self._library)
        self._runtime = self._library.module.Runtime(self._log.listener)
        self._runtime.engine_host_code_allowed = bool(self._built_with.get("version_compatible"))
        self._engine = self._runtime.deserialize_cuda_engine(_read(self.path))
        if self._engine is None:
            msg = (
                f"{self.path} is not an engine that {self._library} can read ({self._log.last_error}); {self._rebuild}"
            )
            raise InputFileError(msg)
        self._check_tensors()
        self._create_context()

    def _create_context(self) -> None:
        self._context = self._engine.create_execution_context()
        if self._context is None:
            msg = f"{self._library} cannot run {self.path} on {self._gpu.name}: {self._log.last_error}"
            raise UnsupportedError(msg)

    def _allocate(self) -> None:
        """One buffer for each tensor, as large as the largest request."""
        shape = tuple(self._engine.get_tensor_shape(self._input))
        self._fewest = self._most = shape[0]
        if shape[0] == -1:
            smallest, _, largest = self._engine.get_tensor_profile_shape(self._input, 0)
            self._fewest, self._most = smallest[0], largest[0]
        self._context.set_input_shape(self._input, (self._most, *shape[1:]))
        for name in self._tensors():
            dtype = self._library.module.nptype(self._engine.get_tensor_dtype(name))
            self._buffers[name] = CudaBuffer(self._cuda, tuple(self._context.get_tensor_shape(name)), dtype)
            self._context.set_tensor_address(name, self._buffers[name].device)

    def _run(self, clips: Clips) -> Outputs:
        # CUDA's current device belongs to the thread, and a session may be used by another one than opened it.
        self._cuda.call("cudaSetDevice", self._index)
        parts = [self._run_once(clips[i : i + self._most]) for i in range(0, len(clips), self._most)]
        logits = np.concatenate([part["logits"] for part in parts])
        mask = np.concatenate([part["mask"] for part in parts]) if "mask" in parts[0] else None
        return Outputs(logits=logits, mask=mask)

    def _run_once(self, clips: Clips) -> dict[str, NDArray[np.float32]]:
        # Fewer clips than the engine takes: what lies behind them in the buffer is run along and left out.
        count, rows = len(clips), max(len(clips), self._fewest)
        self._context.set_input_shape(self._input, (rows, *clips.shape[1:]))
        return {name: values[:count] for name, values in self._execute(clips, rows).items()}

    def _start(self, spec: StepSpec, batch: int) -> StepState:
        self._cuda.call("cudaSetDevice", self._index)

        def make(state: StateSpec) -> CudaSlice:
            shape = (batch, *state.shape)
            dtypes = set()
            for name in (*state.inputs, *state.outputs):
                found = tuple(self._engine.get_tensor_shape(name))
                if found != shape:
                    msg = f"{self.path} has {name} {list(found)}, its {META_FILE} says {list(shape)}; {self._rebuild}"
                    raise InputFileError(msg)
                dtypes.add(np.dtype(self._library.module.nptype(self._engine.get_tensor_dtype(name))))
            if len(dtypes) > 1:
                msg = f"{self.path} takes {state.name} in one type and gives it in another; {self._rebuild}"
                raise InputFileError(msg)
            return CudaSlice(self._cuda, shape, dtypes.pop())

        return RingState(spec, owner=self.network_key, batch=batch, make=make)

    def _step(self, frames: Clips, state: StepState) -> Outputs:
        assert isinstance(state, RingState)
        self._cuda.call("cudaSetDevice", self._index)
        for name, address in (*state.inputs(), *state.outputs()):
            self._context.set_tensor_address(name, address)
        seen = frames_first(frames, self.info.spec)
        outputs = self._execute(seen, len(seen))
        mask = outputs["mask"][:, :, np.newaxis] if "mask" in outputs else None
        return Outputs(logits=outputs["logits"], mask=mask)

    def _execute(self, pixels: Clips, rows: int) -> dict[str, NDArray[np.float32]]:
        """The outputs after a run on what fits the input, of as many ``rows`` as the engine was told."""
        source = self._buffers[self._input]
        source.host[: len(pixels)] = pixels
        source.upload(rows, stream=self._stream)
        if not self._context.execute_async_v3(stream_handle=int(self._stream)):
            msg = f"{self._library} failed on {self._gpu.name}: {self._log.last_error}"
            raise UnsupportedError(msg)
        outputs = {name: buffer for name, buffer in self._buffers.items() if name != self._input}
        for buffer in outputs.values():
            buffer.download(min(rows, len(buffer.host)), stream=self._stream)
        self._cuda.call("cudaStreamSynchronize", self._stream)
        # Copies: the next request overwrites the buffers.
        return {name: np.array(buffer.host, dtype=np.float32) for name, buffer in outputs.items()}

    def _profile(self, predict: Callable[[], object], runs: int) -> Sequence[LayerTime]:
        # With one attached, a context reports the layers of a run before it returns (``enqueue_emits_profile``).
        self._clock = LayerClock(self._library.module)
        self._context.profiler = self._clock.listener
        for _ in range(runs):
            predict()
        return self._clock.means(runs)

    def _fork(self) -> None:
        # A context of its own, with stream and buffers; the engine is shared.
        self._cuda.call("cudaSetDevice", self._index)
        self._buffers, self._stream = {}, self._cuda.call("cudaStreamCreate")
        try:
            self._create_context()
            self._allocate()
        except BaseException:
            self._close()
            raise

    def _close(self) -> None:
        # In this order: a context must be gone before its engine, and an engine before its runtime.
        self._context = self._engine = self._runtime = None
        for buffer in self._buffers.values():
            buffer.free()
        self._buffers.clear()
        self._cuda.release("cudaStreamDestroy", self._stream)

    def _check_version(self) -> None:
        """Engines run with the very release that built them, or where so built with later ones.

        Sources: TensorRT's and TensorRT-RTX's documentation, "Engine Compatibility".
        """
        built, here = _version(str(self._built_with.get("version", ""))), _version(self._library.version)
        fits = here >= built if self._built_with.get("version_compatible") else here == built
        if not fits:
            msg = (
                f"{self.path} was built with {self._library.name} {_dotted(built) or 'of an unknown version'}, "
                f"here is {_dotted(here)}; {self._rebuild}"
            )
            raise InputFileError(msg)

    def _check_gpu(self) -> None:
        gpu, built_for = self._gpu, _capabilities(self._built_with)
        if not _fits(self._built_with, gpu.compute_capability, is_rtx=self._library.is_rtx):
            capabilities = f"compute capability {', '.join(built_for) or '8.0 and later'}"
            msg = (
                f"{self.path} was built for {self._built_with.get('gpu', 'another GPU')} ({capabilities}), "
                f"here is {gpu.name} ({gpu.compute_capability}); {self._rebuild}"
            )
            raise InputFileError(msg)

    def _check_tensors(self) -> None:
        spec, names = self.info.spec, self._tensors()
        if self._input not in names or "logits" not in names:
            msg = f"{self.path} has tensors {', '.join(names)}; it must have {self._input} and logits; {self._rebuild}"
            raise InputFileError(msg)
        dtype = np.dtype(self._library.module.nptype(self._engine.get_tensor_dtype(self._input))).name
        shape = tuple(self._engine.get_tensor_shape(self._input))
        wanted = input_shape(self.info)
        if dtype != spec.dtype or shape[1:] != wanted[1:] or (self.info.step and shape != wanted):
            got, expected = f"{dtype} {list(shape)}", f"{spec.dtype} {list(wanted)}"
            msg = f"{self.path} takes {got}, its {META_FILE} says {expected}; {self._rebuild}"
            raise InputFileError(msg)

    def _tensors(self) -> list[str]:
        names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        return [name for name in names if name in {self._input, *_OUTPUTS}]


def _backend(target: str) -> str:
    return "tensorrt-rtx" if target == "trt-rtx" else TensorRtSession.backend


def _fits(built_with: Mapping[str, Any], here: str, *, is_rtx: bool) -> bool:
    """Whether an engine runs on a GPU of compute capability ``here``."""
    built_for = _capabilities(built_with)
    is_portable = not built_for if is_rtx else bool(built_with.get("hardware_compatible"))
    return _version(here) >= _PORTABLE_FROM if is_portable else here in built_for


def _capabilities(built_with: Mapping[str, Any]) -> tuple[str, ...]:
    values = built_with.get("compute_capabilities")
    return tuple(map(str, values)) if isinstance(values, list | tuple) else ()


def _version(text: str) -> tuple[int, ...]:
    """Major, minor and patch; what follows, a build number, does not matter."""
    return tuple(int(number) for number in re.findall(r"\d+", text)[:3])


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror}"
        raise InputFileError(msg) from error
