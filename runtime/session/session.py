"""Sessions: one way to run a network, whatever runs it.

The three public methods, ``open``, ``infer`` and ``close``, hold every check. A backend writes ``_open``, ``_run`` and
``_close``, says of itself what reports want in ``describe``, and no more. A session belongs to one thread at a time:
engines mix up the outputs of two threads. For another thread there is ``fork``: the same network in memory, with what
one run needs of its own, which a backend whose runtime may not be shared as it is makes in ``_fork``.

    with open_session("model_openvino_int8") as session:
        outputs = session.infer(clips)          # float32 [N, 3, T, H, W] → outputs.logits float32 [N, K]

A network that steps remembers what it saw, in a state that its user holds:

    with open_session("causal_openvino_fp16") as session:
        state = session.start()
        outputs = session.step(frames, state)   # float32 [N, 3, hop, H, W] → outputs.logits float32 [N, K]

Its ``infer`` takes whole clips all the same: each is stepped through from a fresh start, as the clip form sees it.
"""

from __future__ import annotations

import abc
import copy
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from s2tf_edge.errors import InputFileError, UnsupportedError, UsageError, VerificationError
from s2tf_edge.runtime.session.step_state import StepState
from s2tf_edge.runtime.session.values import (
    Clips,
    LayerTime,
    ModelInfo,
    Outputs,
    SessionOptions,
    concatenate,
    split_steps,
)
from s2tf_edge.step_spec import StepSpec

__all__ = ["Session"]


class Session(abc.ABC):
    """A network that is ready to run; a context manager."""

    backend: ClassVar[str]
    """Name of the runtime, for reports."""

    def __init__(self, path: Path, info: ModelInfo, options: SessionOptions) -> None:
        self.path = path
        self.info = info
        self.options = options
        self._is_open = False
        self._key = object()
        self._clip_state: StepState | None = None

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

    def start(self, batch: int | None = None) -> StepState:
        """The state of streams that have not begun.

        Args:
            batch: how many step side by side, where the network takes any number; as many as it takes by default.

        Raises:
            UsageError: the session is not open, its network sees whole clips, or takes another number of streams.
        """
        spec = self._check_steps()
        fixed = self.info.batch
        if batch is not None and fixed not in {None, batch}:
            msg = f"{self.info.name} steps {fixed} streams side by side, got batch={batch}; export it with that batch"
            raise UsageError(msg)
        return self._start(spec, batch or fixed or 1)

    def step(self, frames: Clips, state: StepState) -> Outputs:
        """Goes on by the next frames of every stream.

        Args:
            frames: as ``Clips`` says, with ``info.step.hop`` frames in place of T, of ``state.batch`` streams.
            state: of this session; it is what the step after this one takes.

        Returns:
            What the network says now; it is worth something once ``state.is_warm()``.

        Raises:
            UsageError: the session is not open, its network sees whole clips, the state is of another one, or shape or
                dtype are not what the network takes.
            VerificationError: a logit is not finite, as where float16 overflows.
        """
        spec = self._check_steps()
        if state.owner is not self.network_key:
            msg = f"the state is not of {self.info.name}; take what start() of its session gives"
            raise UsageError(msg)
        self._check_shape(frames, frames_wanted=spec.hop, batch=state.batch)
        outputs = self._step(frames, state)
        state.count(spec.hop)
        self._check_logits(outputs.logits)
        return outputs

    def profile(self, predict: Callable[[], object], *, runs: int) -> tuple[LayerTime, ...]:
        """How long each layer takes, the longest first; once a session.

        Args:
            predict: makes one prediction with this session.
            runs: how often, one or more.

        Raises:
            UsageError: the session is not open, or its options do not ask for a profile.
            UnsupportedError: the runtime does not tell.
        """
        self._check_open()
        if not self.options.profile:
            msg = f"{self.info.name} was opened without a profile; open it with SessionOptions(profile=True)"
            raise UsageError(msg)
        return tuple(sorted(self._profile(predict, runs), key=lambda layer: (-layer.ms, layer.name)))

    @property
    def network_key(self) -> object:
        """Stands for the network in memory: forks have it in common, and states are of it."""
        return self._key

    def fork(self) -> Session:
        """Another open session over the same network in memory, for another thread; close it before this one.

        Raises:
            UsageError: this session is not open.
        """
        self._check_open()
        fork = copy.copy(self)
        fork._clip_state = None
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
            self._clip_state = None
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

    def _start(self, spec: StepSpec, batch: int) -> StepState:
        """The state of ``batch`` streams, of a backend whose networks may step."""
        raise NotImplementedError

    def _step(self, frames: Clips, state: StepState) -> Outputs:
        """Runs one step, of such a backend."""
        raise NotImplementedError

    def _profile(self, predict: Callable[[], object], runs: int) -> Sequence[LayerTime]:
        """Mean times of all layers, of a backend whose runtime tells them."""
        del predict, runs
        msg = f"{self.backend} does not tell how long layers take"
        raise UnsupportedError(msg)

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
        self._check_shape(clips, frames_wanted=self.info.spec.frames)

    def _check_steps(self) -> StepSpec:
        self._check_open()
        if self.info.step is None:
            msg = (
                f"{self.info.name} sees whole clips and cannot step; give it to infer(), or export a network with "
                "causal=true"
            )
            raise UsageError(msg)
        return self.info.step

    def _check_shape(self, clips: Clips, *, frames_wanted: int, batch: int | None = None) -> None:
        spec = dataclasses.replace(self.info.spec, frames=frames_wanted)
        expected = spec.input_shape()[1:]
        is_batch = len(clips) == batch if batch else len(clips) > 0
        if clips.ndim != 5 or clips.shape[1:] != expected or not is_batch or clips.dtype.name != spec.dtype:
            wanted = ", ".join(str(side) for side in (batch or "N", *expected))
            got = f"{clips.dtype.name} [{', '.join(str(side) for side in clips.shape)}]"
            msg = f"{self.info.name} takes {spec.dtype} [{wanted}] ({spec.layout}), got {got}"
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
        run = self._run if self._takes_clips else self._run_by_steps
        missing = batch - len(clips)
        if not missing:
            return run(clips)
        padded = np.concatenate([clips, np.repeat(clips[-1:], missing, axis=0)])
        outputs = run(padded)
        mask = None if outputs.mask is None else outputs.mask[:-missing]
        return Outputs(logits=outputs.logits[:-missing], mask=mask)

    @property
    def _takes_clips(self) -> bool:
        """Whether ``_run`` is there to take whole clips; else they are stepped through."""
        return self.info.step is None

    def _run_by_steps(self, clips: Clips) -> Outputs:
        spec = self._check_steps()
        if self._clip_state is None or self._clip_state.batch != len(clips):
            self._clip_state = self._start(spec, len(clips))
        self._clip_state.reset()
        for frames in split_steps(clips, self.info):
            outputs = self._step(frames, self._clip_state)
            self._clip_state.count(spec.hop)
        return outputs
