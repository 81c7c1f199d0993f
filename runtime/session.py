"""Sessions: one way to run a network, whatever runs it.

The three public methods, ``open``, ``infer`` and ``close``, hold every check. A backend writes ``_open``, ``_run`` and
``_close``, says of itself what reports want in ``describe``, and no more. A session belongs to one thread at a time:
engines mix up the outputs of two threads. For another thread there is ``fork``: the same network in memory, with what
one run needs of its own, which a backend whose runtime may not be shared as it is makes in ``_fork``.

    with open_session("model_openvino_int8") as session:
        outputs = session.infer(clips)          # float32 [N, 3, T, H, W] → outputs.logits float32 [N, K]
"""

from __future__ import annotations

import abc
import copy
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from s2tf_edge.errors import InputFileError, UsageError, VerificationError
from s2tf_edge.spec import ClipSpec

__all__ = ["Clips", "ModelInfo", "Outputs", "Session", "SessionOptions", "concatenate"]

Clips = NDArray[np.float32] | NDArray[np.uint8]
"""Clips in the layout and dtype of the network's ``ClipSpec``: float32 [N, 3, T, H, W] or uint8 [N, T, H, W, 3]."""

HINTS = ("latency", "throughput")


@dataclass(frozen=True, kw_only=True)
class SessionOptions:
    """Where and how to run."""

    device: str = "auto"
    """Device as the runtime names it, such as CPU or GPU; auto lets the runtime choose."""
    threads: int = 0
    """CPU threads for one inference; 0 lets the runtime choose."""
    hint: str = "latency"
    """Optimize for latency or throughput."""
    requests: int = 1
    """Runs that are to go side by side, each in a fork of the session; 0 lets the runtime choose."""
    cache: Path | None = None
    """A folder in which OpenVINO keeps compiled networks for the next start; see ``s2tf_edge.runtime.cache``."""
    custom_ops: tuple[Path, ...] = ()
    """Shared libraries with kernels for ONNX Runtime to register: they run nodes in place of the bodies in the file."""

    def __post_init__(self) -> None:
        if self.threads < 0 or self.requests < 0:
            msg = f"threads and requests must be zero or more, got {self.threads} and {self.requests}"
            raise UsageError(msg)
        if self.hint not in HINTS:
            msg = f"hint must be one of {', '.join(HINTS)}, got {self.hint!r}"
            raise UsageError(msg)


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """What a session knows of its network before it is opened."""

    name: str
    """Name to show: the artifact folder's or file's stem."""
    network: str
    target: str
    """torch, onnx, openvino, trt or trt-rtx."""
    precision: str
    spec: ClipSpec
    labels: tuple[str, ...]
    batch: int | None = 1
    """Clips that one run takes; None for any number."""
    has_mask: bool = False
    """Whether outputs have the saliency mask."""

    def label(self, index: int) -> str:
        """The name of class ``index``."""
        return self.labels[index] if index < len(self.labels) else f"class {index}"


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What a network says about N clips."""

    logits: NDArray[np.float32]
    """Float32 [N, K], before softmax."""
    mask: NDArray[np.float32] | None = None
    """Float32 [N, 1, 1, H', W'], where the network was exported with its saliency mask."""


class Session(abc.ABC):
    """A network that is ready to run; a context manager."""

    backend: ClassVar[str]
    """Name of the runtime, for reports."""

    def __init__(self, path: Path, info: ModelInfo, options: SessionOptions) -> None:
        self.path = path
        self.info = info
        self.options = options
        self._is_open = False

    def open(self) -> None:
        """Loads and compiles the network.

        Raises:
            InputFileError: the model file is not one that the runtime can read.
            MissingExtraError: the runtime is not installed.
            UnsupportedError: the runtime refuses the network on this device.
        """
        if not self._is_open:
            self._open()
            self._is_open = True

    def infer(self, clips: Clips) -> Outputs:
        """Runs the network on N clips, in as many runs as its batch size asks for.

        Args:
            clips: as ``Clips`` says, N ≥ 1; copied where they are not C-contiguous.

        Raises:
            InputFileError: the network has another number of classes than it has labels.
            UsageError: the session is not open, or shape or dtype are not what the network takes.
            VerificationError: a logit is not finite, as where float16 overflows.
        """
        self._check(clips)
        clips = clips if clips.flags.c_contiguous else clips.copy()
        batch = self.info.batch or len(clips)
        parts = [self._run_padded(clips[i : i + batch], batch) for i in range(0, len(clips), batch)]
        outputs = parts[0] if len(parts) == 1 else concatenate(parts)
        self._check_logits(outputs.logits)
        return outputs

    def fork(self) -> Session:
        """Another open session over the same network in memory, for another thread; close it before this one.

        Raises:
            UsageError: this session is not open.
        """
        self._check_open()
        fork = copy.copy(self)
        fork._fork()
        return fork

    @property
    def requests(self) -> int:
        """How many runs side by side the open session was made for."""
        return max(1, self.options.requests)

    def close(self) -> None:
        """Frees the network; closing twice is allowed."""
        if self._is_open:
            self._is_open = False
            self._close()

    def describe(self) -> dict[str, Any]:
        """What the runtime says of itself, for reports: version, device, inference precision, threads."""
        return {"backend": self.backend}

    @abc.abstractmethod
    def _open(self) -> None: ...

    @abc.abstractmethod
    def _run(self, clips: Clips) -> Outputs: ...

    @abc.abstractmethod
    def _close(self) -> None: ...

    def _fork(self) -> None:  # noqa: B027  # most runtimes may be shared as they are
        """Replaces what two threads must not share; called on a copy of an open session."""

    def __enter__(self) -> Session:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_open(self) -> None:
        if not self._is_open:
            msg = f"session {self.info.name} is not open; use it in a with statement, or call open()"
            raise UsageError(msg)

    def _check(self, clips: Clips) -> None:
        self._check_open()
        spec = self.info.spec
        expected = spec.input_shape()[1:]
        if clips.ndim != 5 or clips.shape[1:] != expected or not len(clips) or clips.dtype.name != spec.dtype:
            wanted = ", ".join(str(side) for side in expected)
            got = f"{clips.dtype.name} [{', '.join(str(side) for side in clips.shape)}]"
            msg = f"{self.info.name} takes {spec.dtype} [N, {wanted}] ({spec.layout}), got {got}"
            raise UsageError(msg)

    def _check_logits(self, logits: NDArray[np.float32]) -> None:
        labels = len(self.info.labels)
        if labels and logits.shape[1:] != (labels,):
            shape = ", ".join(str(side) for side in logits.shape[1:])
            msg = f"{self.info.name} names {labels} classes, but its logits are [N, {shape}]; export it again"
            raise InputFileError(msg)
        if not np.isfinite(logits).all():
            msg = f"{self.info.name} computes logits that are not finite; export it in a higher precision"
            raise VerificationError(msg)

    def _run_padded(self, clips: Clips, batch: int) -> Outputs:
        missing = batch - len(clips)
        if not missing:
            return self._run(clips)
        padded = np.concatenate([clips, np.repeat(clips[-1:], missing, axis=0)])
        outputs = self._run(padded)
        mask = None if outputs.mask is None else outputs.mask[:-missing]
        return Outputs(logits=outputs.logits[:-missing], mask=mask)


def concatenate(parts: Sequence[Outputs]) -> Outputs:
    """The outputs of several runs as those of one."""
    masks = [part.mask for part in parts if part.mask is not None]
    return dataclasses.replace(
        parts[0],
        logits=np.concatenate([part.logits for part in parts]),
        mask=np.concatenate(masks) if masks else None,
    )
