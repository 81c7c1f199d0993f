"""ONNX Runtime: runs ``model.onnx`` on CPUs, and on NVIDIA GPUs where its CUDA provider is installed."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np

from s2tf_edge.errors import InputFileError, UnsupportedError, UsageError
from s2tf_edge.extras import require
from s2tf_edge.runtime.hardware import count_threads
from s2tf_edge.runtime.session import (
    STEP_INPUT,
    Clips,
    LayerTime,
    ModelInfo,
    Outputs,
    Session,
    SessionOptions,
    frames_first,
)
from s2tf_edge.runtime.session.step_state import HostBuffer, RingState, StepState
from s2tf_edge.step_spec import StateSpec, StepSpec

__all__ = ["KEPT_OUT", "OrtSession"]

logger = logging.getLogger(__name__)

_SUFFIX: Final = "ExecutionProvider"
_PREFERRED: Final = ("CUDA", "CPU")
"""Providers that ``auto`` chooses from, best first."""
_ELSEWHERE: Final = frozenset({"Azure"})
"""Providers that run nothing on this machine."""
_ON_CUDA: Final = "CUDAExecutionProvider"
_CUDA_OPTIONS: Final = {"use_tf32": "0"}
"""TF32 rounds products to 10 bits, an error larger than what fp32 is allowed."""
_FATAL_ONLY: Final = 4
KEPT_OUT: Final = ("WeightBiasQuantization",)
"""Optimizations left out: this one puts layers between integer ones that were left in float back to integers."""
_MASK: Final = "mask"
_KERNEL_TIME: Final = "_kernel_time"
_UNKNOWN_OP: Final = "is not a registered function/op"


class OrtSession(Session):
    """Runs an ONNX graph with input ``clip`` and outputs ``logits`` and, in some, ``mask``.

    Args:
        path: the file.
        info: what the graph takes and gives.
        options: threads and device; ``custom_ops`` are registered with the session.
        names: of the input and of the logits in a graph that calls them otherwise.
        fuses_integers: False computes a graph with Q/DQ as it is written, in float between them, as TensorRT's exact
            sums have it; integer kernels of some processors overflow.
    """

    backend: ClassVar[str] = "onnxruntime"

    def __init__(
        self,
        path: Path,
        info: ModelInfo,
        options: SessionOptions,
        *,
        names: tuple[str, str] = ("clip", "logits"),
        fuses_integers: bool = True,
    ) -> None:
        super().__init__(path, info, options)
        self._input, self._logits = names
        self._fuses_integers = fuses_integers
        self._profiles: Path | None = None

    def describe(self) -> dict[str, Any]:
        """Backend, version, execution provider, inference precision and threads."""
        facts = super().describe()
        if not self._is_open:
            return facts
        return facts | {
            "version": self._runtime.__version__,
            "device": self._engine.get_providers()[0].removesuffix(_SUFFIX),
            "inference_precision": "f16" if self.info.precision == "fp16" else "f32",
            "threads": self._threads,
        }

    def _open(self) -> None:
        self._runtime: Any = require("onnxruntime", extra="onnxruntime", purpose="running ONNX artifacts")
        self._runtime.disable_telemetry_events()
        provider = _provider(self.options.device, self._runtime.get_available_providers())
        errors = self._runtime.capi.onnxruntime_pybind11_state
        threads_before = count_threads()
        if self.options.profile:
            # A folder of its own: names in a common one can be guessed, and be another's link.
            self._profiles = Path(tempfile.mkdtemp(prefix="s2tf-profile-"))
        try:
            options = _session_options(self._runtime, self.options, fuses_integers=self._fuses_integers)
            if self._profiles is not None:
                options.enable_profiling = True
                options.profile_file_prefix = str(self._profiles / "layers")
            if provider == _ON_CUDA:
                _load_cuda_libraries(self._runtime)
            self._engine: Any = self._runtime.InferenceSession(
                self.path,
                options,
                providers=[(provider, _CUDA_OPTIONS if provider == _ON_CUDA else {})],
                # Else the Python wrapper prints, and tries again without the provider that was asked for.
                enable_fallback=0,
                disabled_optimizers=KEPT_OUT,
            )
        except errors.NotImplemented as error:
            self._remove_profiles()
            msg = f"ONNX Runtime cannot run {self.path} on {provider}: {error}"
            raise UnsupportedError(msg) from error
        except (
            errors.Fail,
            errors.InvalidGraph,
            errors.InvalidProtobuf,
            errors.InvalidArgument,
            errors.NoSuchFile,
            errors.ModelRequiresCompilation,
            errors.RuntimeException,
            RuntimeError,
        ) as error:
            self._remove_profiles()
            raise _unreadable(self.path, error) from error
        self._check_provider(provider)
        # ONNX Runtime does not tell how many it chose; the thread that calls it works as one of them.
        started = None if threads_before is None else (count_threads() or 0) - threads_before + 1
        self._threads = self.options.threads or started
        self._outputs = [self._logits, *(each.name for each in self._engine.get_outputs() if each.name == _MASK)]

    def _check_provider(self, wanted: str) -> None:
        """ONNX Runtime takes the CPU without a word where the libraries of a provider do not load."""
        found = self._engine.get_providers()[0]
        if found == wanted:
            return
        name = wanted.removesuffix(_SUFFIX)
        reason = (
            f"ONNX Runtime {self._runtime.__version__} has its {name} provider here, but not what that needs "
            f"({_requirements(self._runtime)}); see that the driver works and install them"
        )
        if self.options.device == "auto":
            logger.warning("%s; the processor runs %s", reason, self.path)
            return
        self._close()
        msg = f"{reason}, or give the device CPU"
        raise UnsupportedError(msg)

    def _run(self, clips: Clips) -> Outputs:
        try:
            results = self._engine.run(self._outputs, self._feed(clips))
        except self._errors as error:
            raise self._contradiction(error) from error
        logits, *mask = (np.asarray(values, dtype=np.float32) for values in results)
        return Outputs(logits=logits, mask=mask[0] if mask else None)

    def _profile(self, predict: Callable[[], object], runs: int) -> Sequence[LayerTime]:
        for _ in range(runs):
            predict()
        file = Path(self._engine.end_profiling())
        events = json.loads(file.read_text(encoding="utf-8"))
        times: dict[tuple[str, str], list[float]] = defaultdict(list)
        for event in events:
            name, operator = event.get("name", ""), event.get("args", {}).get("op_name")
            if event.get("cat") == "Node" and operator and name.endswith(_KERNEL_TIME):
                times[name.removesuffix(_KERNEL_TIME), operator].append(event["dur"] / 1000)
        # What ran before, as to warm up, is in the file too: the last runs are those that were asked for.
        return [
            LayerTime(name=name, kind=operator, kernel="", ms=sum(each[-runs:]) / min(runs, len(each)))
            for (name, operator), each in times.items()
        ]

    def _start(self, spec: StepSpec, batch: int) -> StepState:
        def make(state: StateSpec) -> HostBuffer:
            array = np.zeros((batch, *state.shape), state.dtype)
            return HostBuffer(array, self._runtime.OrtValue.ortvalue_from_numpy(array))

        return RingState(spec, owner=self.network_key, batch=batch, make=make)

    def _step(self, frames: Clips, state: StepState) -> Outputs:
        assert isinstance(state, RingState)
        try:
            binding = state.bound(self._bind)
            binding.bind_cpu_input(STEP_INPUT, frames_first(frames, self.info.spec))
            self._engine.run_with_iobinding(binding)
        except self._errors as error:
            raise self._contradiction(error) from error
        logits, *mask = (
            # Copies: a period later, the binding writes to the same memory.
            np.array(value.numpy(), dtype=np.float32)
            for value in binding.get_outputs()[: len(self._outputs)]
        )
        return Outputs(logits=logits, mask=mask[0][:, :, np.newaxis] if mask else None)

    def _bind(self, state: RingState) -> Any:
        """A binding to the state's buffers as they stand."""
        binding = self._engine.io_binding()
        for name, value in state.inputs():
            binding.bind_ortvalue_input(name, value)
        for name in self._outputs:
            binding.bind_output(name)
        for name, value in state.outputs():
            binding.bind_ortvalue_output(name, value)
        return binding

    def _feed(self, clips: Clips) -> dict[str, Any]:
        """Inputs of the graph by name."""
        return {self._input: clips}

    @property
    def _errors(self) -> tuple[type[Exception], ...]:
        errors = self._runtime.capi.onnxruntime_pybind11_state
        # Of bindings, any of these; the last where a name or a shape is not the graph's.
        return errors.Fail, errors.RuntimeException, errors.InvalidArgument, RuntimeError

    def _contradiction(self, error: Exception) -> InputFileError:
        msg = f"{self.path} contradicts itself when it runs ({error}); mend the graph, or export it again"
        return InputFileError(msg)

    def _close(self) -> None:
        del self._engine
        self._remove_profiles()

    def _remove_profiles(self) -> None:
        if self._profiles is not None:
            shutil.rmtree(self._profiles, ignore_errors=True)
            self._profiles = None


def _session_options(runtime: Any, options: SessionOptions, *, fuses_integers: bool) -> Any:
    values = runtime.SessionOptions()
    values.intra_op_num_threads = options.threads
    values.inter_op_num_threads = 1
    values.log_severity_level = _FATAL_ONLY
    # Threads that spin between two clips take the cores that decoding needs.
    values.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if not fuses_integers:
        values.add_session_config_entry("session.disable_quant_qdq", "1")
    for library in options.custom_ops:
        _register(values, library)
    return values


def _load_cuda_libraries(runtime: Any) -> None:
    """Loads CUDA and cuDNN from NVIDIA's packages, where pip put them; the system's are found without."""
    # What is missing is said by the check of the provider, once and in our words.
    runtime.set_default_logger_severity(_FATAL_ONLY)
    if hasattr(runtime, "preload_dlls"):
        with contextlib.redirect_stdout(io.StringIO()) as said:
            runtime.preload_dlls()
        logger.debug("ONNX Runtime's libraries: %s", said.getvalue().strip() or "all loaded")


def _requirements(runtime: Any) -> str:
    """What its CUDA provider needs, as far as ONNX Runtime says it."""
    cuda = str(getattr(runtime, "cuda_version", "") or "")
    return f"a driver, the libraries of CUDA {cuda}, and cuDNN" if cuda else "a driver, CUDA's libraries, and cuDNN"


def _register(values: Any, library: Path) -> None:
    try:
        values.register_custom_ops_library(str(library))
    except Exception as error:
        msg = f"ONNX Runtime cannot load the kernels of {library}: {error}"
        raise InputFileError(msg) from error


def _unreadable(path: Path, error: Exception) -> InputFileError | UnsupportedError:
    if _UNKNOWN_OP in str(error):
        msg = f"ONNX Runtime has no operator for {path}: {error}; register the library that has it, or give it a body"
        return UnsupportedError(msg)
    return InputFileError(f"{path} is not an ONNX model that ONNX Runtime can read ({error}); export it again")


def _provider(device: str, available: list[str]) -> str:
    names = [name.removesuffix(_SUFFIX) for name in available]
    names = [name for name in names if name not in _ELSEWHERE]
    wanted = _PREFERRED if device == "auto" else ("CUDA",) if device.upper() == "GPU" else (device.upper(),)
    for name in wanted:
        if name in names:
            return name + _SUFFIX
    msg = f"this ONNX Runtime has no device {device!r}; it has auto, {', '.join(names)}"
    raise UsageError(msg)
