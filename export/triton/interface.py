"""What a model of Triton takes and gives, out of an artifact's ``meta.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from s2tf_edge.errors import InputFileError, UnsupportedError, UsageError
from s2tf_edge.export.options import PROFILE
from s2tf_edge.export.targets.base import Target, TritonBackend
from s2tf_edge.export.targets.registry import TARGETS
from s2tf_edge.export.targets.tensorrt_options import EngineOptions
from s2tf_edge.extras import require
from s2tf_edge.runtime.artifact import META_FILE, ArtifactMeta
from s2tf_edge.runtime.open import artifact_info
from s2tf_edge.step_spec import StateSpec

__all__ = ["PLAN_FILE", "ModelTensor", "ServedModel", "StatePair", "check_served", "engine_options", "served_model"]

PLAN_FILE: Final = "model.plan"
"""What Triton calls an engine of TensorRT."""
_DTYPES: Final = ("float32", "uint8")
_LONGEST_SIDE: Final = 2**31 - 1
_ASKED: Final = ("workspace_gib", "version_compatible", "hardware_compatible")


@dataclass(frozen=True, kw_only=True)
class ModelTensor:
    """An input or output of a model's file."""

    name: str
    dtype: str
    """As numpy calls it."""
    shape: tuple[int | None, ...]
    """All axes; None for any number of clips."""


@dataclass(frozen=True, kw_only=True)
class StatePair:
    """What a step takes of its past, and what it gives for the next one; both of one shape and type."""

    past: str
    next: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """An artifact as the server sees it."""

    meta: ArtifactMeta
    backend: TritonBackend
    file: str
    """What the backend opens."""
    is_built: bool
    """Whether that file is written here, and not made on the server."""
    inputs: tuple[ModelTensor, ...]
    outputs: tuple[ModelTensor, ...]
    states: tuple[StatePair, ...] = field(default=())
    max_batch: int = 0
    """Most clips that the server may put together; 0 where requests are run as they come, with all axes."""

    @property
    def is_step(self) -> bool:
        """Whether a request is one step of a sequence."""
        return bool(self.states)


def check_served(target: Target, *, is_step: bool) -> TritonBackend:
    """What runs a target's artifacts in Triton.

    Raises:
        UnsupportedError: nothing does.
    """
    backend = target.triton
    if backend is None:
        msg = (
            f"Triton Inference Server has no backend for artifacts of {target.name}; export for `target='trt'`, which "
            "its TensorRT backend runs, or for onnx"
        )
        raise UnsupportedError(msg)
    if is_step and not backend.keeps_states:
        msg = (
            f"Triton's {backend.name} backend does not keep the states of a network that steps; export for "
            "`target='onnx'` or trt, whose backends do, or whole clips with `form='clip'`"
        )
        raise UnsupportedError(msg)
    return backend


def served_model(artifact: Path, meta: ArtifactMeta) -> ServedModel:
    """An artifact as Triton is to see it.

    Raises:
        InputFileError: the description of its inputs, outputs or engine is not as an export writes it.
        MissingExtraError: it is a step, and ONNX is not installed.
        UnsupportedError: Triton has nothing that runs it.
        UsageError: it holds several forms, and is none of them yet.
    """
    target = TARGETS.get(meta.target)
    if target is None:
        msg = f"{artifact} was built for target {meta.target!r}; Triton serves {', '.join(_served())} artifacts"
        raise InputFileError(msg)
    is_deferred = bool(meta.build.get("deferred"))
    if meta.candidates and is_deferred:
        msg = f"{artifact} holds several forms to build; `s2tf-tune {artifact}` chooses one on the server's GPU first"
        raise UsageError(msg)
    backend = check_served(target, is_step=meta.step is not None)
    inputs, outputs = _tensors(artifact, "inputs", meta.inputs), _tensors(artifact, "outputs", meta.outputs)
    batch = artifact_info(artifact, meta).batch
    return ServedModel(
        meta=meta,
        backend=backend,
        file=PLAN_FILE if target.is_engine else meta.model,
        # The graph of an engine that keeps single slices is another one than Triton's.
        is_built=not target.is_engine or not (is_deferred or meta.step),
        inputs=inputs,
        outputs=outputs,
        states=() if meta.step is None else tuple(_pair(state, batch or 1) for state in meta.step.states),
        max_batch=_most_clips(artifact, meta, target) if batch is None and backend.batches else 0,
    )


def engine_options(artifact: Path, meta: ArtifactMeta) -> EngineOptions:
    """What an engine was, or is to be, asked for; without what only this machine has, as its cache of timings.

    Raises:
        InputFileError: ``meta.json`` does not say it.
    """
    try:
        asked: Mapping[str, Any] = meta.build["engine"]["asked"]
        profile = tuple(asked["profile"]) if "profile" in asked else None
        return EngineOptions(profile=profile, **{name: asked[name] for name in _ASKED if name in asked})
    except (KeyError, TypeError, ValueError, UsageError) as error:
        msg = f"{artifact / META_FILE} does not say how its engine was asked for ({error}); export the model again"
        raise InputFileError(msg) from error


def _served() -> list[str]:
    return [target.name for target in TARGETS.values() if target.triton is not None]


def _most_clips(artifact: Path, meta: ArtifactMeta, target: Target) -> int:
    profile = engine_options(artifact, meta).profile if target.is_engine else None
    return (profile or PROFILE)[-1]


def _tensors(artifact: Path, what: str, described: Mapping[str, Any]) -> tuple[ModelTensor, ...]:
    try:
        tensors = tuple(
            ModelTensor(name=name, dtype=_dtype(values["dtype"]), shape=_shape(values["shape"]))
            for name, values in described.items()
        )
        if not tensors:
            msg = f"there are no {what}"
            raise ValueError(msg)
    except (KeyError, TypeError, ValueError) as error:
        why = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        msg = f"{artifact / META_FILE} does not describe its {what} as an export does ({why}); export again"
        raise InputFileError(msg) from error
    return tensors


def _dtype(dtype: Any) -> str:
    if dtype not in _DTYPES:
        msg = f"dtype must be {' or '.join(_DTYPES)}, got {dtype!r}"
        raise ValueError(msg)
    return str(dtype)


def _shape(shape: Any) -> tuple[int | None, ...]:
    first, *others = shape
    sides = others if first is None else [first, *others]
    if not all(type(side) is int and 0 < side <= _LONGEST_SIDE for side in sides):
        msg = f"a shape must have whole numbers from 1 to {_LONGEST_SIDE}, got {shape!r}"
        raise ValueError(msg)
    return tuple(shape)


def _pair(state: StateSpec, streams: int) -> StatePair:
    # Here, for who serves clips needs no ONNX.
    require("onnx_ir", extra="export", purpose="publishing a step for Triton")
    from s2tf_edge.export.passes.whole_states import next_name, past_name, whole_shape

    return StatePair(
        past=past_name(state), next=next_name(state), dtype=state.dtype, shape=whole_shape(state, streams=streams)
    )
