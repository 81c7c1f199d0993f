"""ONNX Runtime: runs ``model.onnx`` on CPUs, and on NVIDIA GPUs where its CUDA provider is installed."""

from __future__ import annotations

from typing import Any, ClassVar, Final

import numpy as np

from s2tf_edge.errors import InputFileError, UnsupportedError, UsageError
from s2tf_edge.extras import require
from s2tf_edge.runtime.session import Clips, Outputs, Session, SessionOptions

__all__ = ["OrtSession"]

_SUFFIX: Final = "ExecutionProvider"
_PREFERRED: Final = ("CUDA", "CPU")
"""Providers that ``auto`` chooses from, best first."""
_FATAL_ONLY: Final = 4


class OrtSession(Session):
    """Runs an ONNX graph with input ``clip`` and output ``logits``."""

    backend: ClassVar[str] = "onnxruntime"

    def describe(self) -> dict[str, Any]:
        """Backend, version, execution provider, inference precision and threads (0: one a core)."""
        facts = super().describe()
        if not self._is_open:
            return facts
        return facts | {
            "version": self._runtime.__version__,
            "device": self._engine.get_providers()[0].removesuffix(_SUFFIX),
            "inference_precision": "f32",
            "threads": self.options.threads,
        }

    def _open(self) -> None:
        self._runtime: Any = require("onnxruntime", extra="onnxruntime", purpose="running ONNX artifacts")
        self._runtime.disable_telemetry_events()
        provider = _provider(self.options.device, self._runtime.get_available_providers())
        errors = self._runtime.capi.onnxruntime_pybind11_state
        try:
            self._engine: Any = self._runtime.InferenceSession(
                self.path, _session_options(self._runtime, self.options), providers=[provider]
            )
        except errors.NotImplemented as error:
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
        ) as error:
            msg = f"{self.path} is not an ONNX model that ONNX Runtime can read ({error}); export it again"
            raise InputFileError(msg) from error

    def _run(self, clips: Clips) -> Outputs:
        (logits,) = self._engine.run(["logits"], {"clip": clips})
        return Outputs(logits=np.asarray(logits, dtype=np.float32))

    def _close(self) -> None:
        del self._engine


def _session_options(runtime: Any, options: SessionOptions) -> Any:
    values = runtime.SessionOptions()
    values.intra_op_num_threads = options.threads
    values.inter_op_num_threads = 1
    values.log_severity_level = _FATAL_ONLY
    # Threads that spin between two clips take the cores that decoding needs.
    values.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return values


def _provider(device: str, available: list[str]) -> str:
    names = [name.removesuffix(_SUFFIX) for name in available]
    wanted = _PREFERRED if device == "auto" else ("CUDA",) if device.upper() == "GPU" else (device.upper(),)
    for name in wanted:
        if name in names:
            return name + _SUFFIX
    msg = f"this ONNX Runtime has no device {device!r}; it has {', '.join(names)}"
    raise UsageError(msg)
