"""OpenVINO: runs ``model.xml`` on Intel, AMD and ARM CPUs, and on Intel GPUs and NPUs."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from s2tf_edge.errors import InputFileError, UnsupportedError, UsageError
from s2tf_edge.runtime.artifact import META_FILE
from s2tf_edge.runtime.backends.openvino_arm import arm_config, arm_warning, read_facts
from s2tf_edge.runtime.backends.openvino_states import make_buffer, state_type, with_own_states
from s2tf_edge.runtime.backends.telemetry import require_without_telemetry
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

__all__ = ["OpenVinoSession", "compile_config", "last_line"]

logger = logging.getLogger(__name__)

_MASK: Final = "mask"
_PRECISION: Final = "INFERENCE_PRECISION_HINT"


def compile_config(*, inference_precision: str, options: SessionOptions) -> dict[str, str]:
    """OpenVINO's properties for compiling a network.

    Args:
        inference_precision: ``f32`` or another of OpenVINO's types; ``default`` leaves the choice to the device, which
            is bfloat16 on CPUs that have it.
        options: threads, hint and requests.
    """
    config = {"PERFORMANCE_HINT": options.hint.upper()}
    if options.requests:
        config["PERFORMANCE_HINT_NUM_REQUESTS"] = str(options.requests)
    if inference_precision != "default":
        config[_PRECISION] = inference_precision
    if options.threads:
        config["INFERENCE_NUM_THREADS"] = str(options.threads)
    if options.profile:
        config["PERF_COUNT"] = "YES"
    if options.cache is not None:
        config["CACHE_DIR"] = str(options.cache)
    return config


def last_line(error: BaseException) -> str:
    """What went wrong: the last line that says anything of OpenVINO's many, which begin with its own source files."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


class OpenVinoSession(Session):
    """Runs an IR with input ``clip`` and outputs ``logits`` and, in some, ``mask`` through one inference request.

    ``auto`` stands for the CPU: OpenVINO's own AUTO device changes the engine, and with it the logits, while a stream
    runs.
    """

    backend: ClassVar[str] = "openvino"

    def __init__(
        self, path: Path, info: ModelInfo, options: SessionOptions, *, inference_precision: str = "default"
    ) -> None:
        super().__init__(path, info, options)
        self._inference_precision = inference_precision
        self._device = "CPU" if options.device == "auto" else options.device.upper()

    def describe(self) -> dict[str, Any]:
        """Backend, version, device, and inference precision and threads as the compiled network reports them."""
        facts = super().describe()
        if not self._is_open:
            return facts
        return facts | {
            "version": self._openvino.__version__,
            "device": self._core.get_property(self._device, "FULL_DEVICE_NAME"),
            "inference_precision": self._property(_PRECISION, lambda kind: kind.get_type_name()),
            "threads": self._property("INFERENCE_NUM_THREADS", int),
        }

    @property
    def requests(self) -> int:
        """As asked for; else what OpenVINO thinks best for its hint."""
        return self.options.requests or int(self._compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))

    @property
    def compiled(self) -> Any:
        """The ``openvino.CompiledModel`` of the open session."""
        self._check_open()
        return self._compiled

    def _property(self, name: str, convert: Any) -> Any:
        """A property of the compiled network; None where the device has no such property."""
        if name not in self._compiled.get_property("SUPPORTED_PROPERTIES"):
            return None
        return convert(self._compiled.get_property(name))

    def _open(self) -> None:
        self._openvino: Any = require_without_telemetry(
            "openvino", extra="openvino", purpose="running OpenVINO artifacts"
        )
        self._core = self._openvino.Core()
        available = self._core.available_devices
        if self._device.split(".")[0] not in {name.split(".")[0] for name in available}:
            msg = f"OpenVINO has no device {self.options.device!r} here; it has auto, {', '.join(available)}"
            raise UsageError(msg)
        network = self._read()
        config = self._choose_config(network)
        if self.info.step is not None:
            precision = config.get(_PRECISION, "default")
            self._state_type = state_type(self._core, self._device, inference_precision=precision)
            try:
                network = with_own_states(self._openvino, network, self.info.step, element_type=self._state_type)
            except (RuntimeError, ValueError) as error:
                msg = f"{self.path} is not as its {META_FILE} says ({last_line(error)}); export it again"
                raise InputFileError(msg) from error
        try:
            self._compiled: Any = self._core.compile_model(network, self._device, config)
        except RuntimeError as error:
            msg = f"OpenVINO cannot run {self.path} on {self._device}: {last_line(error)}"
            raise UnsupportedError(msg) from error
        self._last = self._request = self._compiled.create_infer_request()
        # The first look at a tensor sets up OpenVINO's tie to numpy, in which two threads at once wait for each other.
        _ = self._request.get_input_tensor(0).data
        # By name, OpenVINO looks through all of them each time.
        self._ports = {name: port for port in (*self._compiled.inputs, *self._compiled.outputs) for name in port.names}
        self._has_mask = any(_MASK in output.get_names() for output in self._compiled.outputs)

    def _choose_config(self, network: Any) -> dict[str, str]:
        facts = read_facts(network)
        if warning := arm_warning(facts, self._device, path=self.path):
            logger.warning("%s", warning)
        config = compile_config(inference_precision=self._inference_precision, options=self.options)
        return {**config, **arm_config(facts, self._device)}

    def _read(self) -> Any:
        try:
            return self._core.read_model(self.path)
        except RuntimeError as error:
            msg = f"{self.path} is not a model that OpenVINO can read ({last_line(error)}); export it again"
            raise InputFileError(msg) from error

    def _run(self, clips: Clips) -> Outputs:
        try:
            # Handing the clip over by name keeps some bytes for ever with each run (seen with OpenVINO 2026.4).
            tensor = self._request.get_tensor("clip")
            tensor.shape = clips.shape
            tensor.data[:] = clips
            self._request.start_async()
            self._request.wait()
            mask = _copy_output(self._request, self._ports[_MASK]) if self._has_mask else None
            return Outputs(logits=_copy_output(self._request, self._ports["logits"]), mask=mask)
        except RuntimeError as error:
            msg = f"{self.path} does not take or give what its {META_FILE} says ({last_line(error)}); export it again"
            raise InputFileError(msg) from error

    def _start(self, spec: StepSpec, batch: int) -> StepState:
        def make(state: StateSpec) -> HostBuffer:
            return make_buffer(self._openvino, state, batch=batch, element_type=self._state_type)

        return RingState(spec, owner=self.network_key, batch=batch, make=make)

    def _step(self, frames: Clips, state: StepState) -> Outputs:
        assert isinstance(state, RingState)
        try:
            self._last = request = state.bound(self._bind)
            request.get_tensor(self._ports[STEP_INPUT]).data[:] = frames_first(frames, self.info.spec)
            request.start_async()
            request.wait()
            mask = _copy_output(request, self._ports[_MASK])[:, :, np.newaxis] if self._has_mask else None
            return Outputs(logits=_copy_output(request, self._ports["logits"]), mask=mask)
        except RuntimeError as error:
            msg = f"{self.path} does not take or give what its {META_FILE} says ({last_line(error)}); export it again"
            raise InputFileError(msg) from error

    def _profile(self, predict: Callable[[], object], runs: int) -> Sequence[LayerTime]:
        seconds: dict[tuple[str, str, str], float] = defaultdict(float)
        for _ in range(runs):
            predict()
            for layer in self._last.get_profiling_info():
                # What was folded or fused away is listed too, and did not run.
                if layer.status == layer.Status.EXECUTED:
                    seconds[layer.node_name, layer.node_type, layer.exec_type] += layer.real_time.total_seconds()
        return [
            LayerTime(name=name, kind=kind, kernel=kernel, ms=1000 * total / runs)
            for (name, kind, kernel), total in seconds.items()
        ]

    def _bind(self, state: RingState) -> Any:
        """A request whose tensors are the state's as they stand; all of a state read the same frames."""
        request = self._compiled.create_infer_request()
        for name, tensor in (*state.inputs(), *state.outputs()):
            request.set_tensor(self._ports[name], tensor)
        first = next(iter(state.bindings.values()), None)
        if first is not None:
            request.set_tensor(self._ports[STEP_INPUT], first.get_tensor(self._ports[STEP_INPUT]))
        return request

    def _fork(self) -> None:
        self._last = self._request = self._compiled.create_infer_request()

    def _close(self) -> None:
        del self._last, self._request, self._ports, self._compiled, self._core


def _copy_output(request: Any, port: Any) -> NDArray[np.float32]:
    # The tensor is the request's own memory, which the next clip overwrites.
    return np.array(request.get_tensor(port).data, dtype=np.float32)
