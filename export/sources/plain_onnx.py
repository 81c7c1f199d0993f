"""A plain ``.onnx`` from elsewhere as what is exported: checked against its clip file before anything is built.

The graph must take one float32 clip [N, 3, T, H, W] and give float32 logits [N, K]; further outputs are dropped. The
file itself, untouched, run by ONNX Runtime, is what artifacts are compared with; where it is in training mode, in half
precision or breaks a rule, what was made of that.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import onnx_ir as ir

from s2tf_edge.clip_file import ClipFile
from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.export.graph.describe import describe
from s2tf_edge.export.sources.graph_modes import check_modes
from s2tf_edge.export.sources.graph_session import GraphSession, PlainSession
from s2tf_edge.export.sources.lifting import OPSET, check_lifted
from s2tf_edge.export.sources.plain_graph import (
    LoadedGraph,
    ShapeError,
    keep_output,
    load_graph,
    name_nodes,
    rename,
    with_batch,
)
from s2tf_edge.runtime.backends.ort_session import OrtSession
from s2tf_edge.runtime.session import ModelInfo, Session, SessionOptions
from s2tf_edge.spec import ClipSpec

__all__ = ["PlainOnnx", "read_plain_onnx"]

logger = logging.getLogger(__name__)

_Dims = tuple[int | None, ...]
_PASSING: Final = {"Dropout", "Flatten", "GlobalAveragePool", "Identity", "ReduceMean", "Reshape", "Squeeze"}
"""Operators that leave probabilities probabilities."""


@dataclass(frozen=True, kw_only=True)
class PlainOnnx:
    """A checked ONNX file."""

    path: Path
    spec: ClipSpec
    labels: tuple[str, ...]
    input: str
    """Name of the tensor that takes the clip."""
    output: str
    """Name of the tensor that holds the logits."""
    batch: int | None
    """Clips that the file takes at once; None for any number."""
    eval_mode: bool = False
    """Whether its norms and dropouts are switched to inference."""
    changes: tuple[str, ...] = ()
    """What sets the network apart from the file as it came; empty where that itself is the network."""
    is_half: bool = False
    """Whether the file computes in half precision."""

    @property
    def name(self) -> str:
        """The file's stem, which stands for the network's name."""
        return self.path.stem

    @property
    def num_classes(self) -> int:
        """Length of the logits."""
        return len(self.labels)

    def graph(self, *, batch: int | None = 1) -> ir.Model:
        """Reads the file again and brings it to the form of all exported graphs.

        Args:
            batch: clips that the graph is to take; None for any number.

        Returns:
            A new model with input ``clip`` float32 [batch, 3, T, H, W] and output ``logits`` float32 [batch, K]. Nodes
            keep their names where they have one of their own; functions and metadata are kept.

        Raises:
            InputFileError: the file has changed since it was checked.
            UsageError: the graph is fixed to another number of clips.
        """
        model = load_graph(self.path, eval_mode=self.eval_mode).model
        clip = self._find(model.graph.inputs, self.input)
        logits = _flatten(model, self._find(model.graph.outputs, self.output))
        keep_output(model, logits)
        rename(model, clip, "clip")
        rename(model, logits, "logits")
        logits.shape = ir.Shape([None, self.num_classes])
        try:
            model = with_batch(model, sides=self.spec.input_shape()[1:], batch=batch)
        except ShapeError as error:
            raise UsageError(self._fixed_batch(batch, error)) from error
        name_nodes(model)
        model.metadata_props.update(describe(self.name, self.labels, self.spec))
        return model

    def _find(self, values: Iterable[ir.Value], name: str) -> ir.Value:
        value = _find_named(values, name)
        if value is None:
            msg = f"{self.path} has changed since it was checked: {name} is gone; start again"
            raise InputFileError(msg)
        return value

    def _fixed_batch(self, batch: int | None, error: ShapeError) -> str:
        own = "its own number of clips" if self.batch is None else f"{self.batch} clip{'s' if self.batch > 1 else ''}"
        asked = "any number" if batch is None else str(batch)
        return (
            f"{self.path} is fixed to {own} at once and cannot take {asked} ({error}); "
            "export it from its framework with a batch axis of any size, or ask for the number that it has"
        )

    def session(self, options: SessionOptions | None = None) -> Session:
        """Runs the network in ONNX Runtime: what artifacts are compared with.

        That is the file as it is, or in its place the graph that ``changes`` made of it. Enter it, or call ``open()``,
        before use.
        """
        options, names = options or SessionOptions(), (self.input, self.output)
        if not self.changes:
            return PlainSession(self.path, self._info("fp32"), options, names=names)
        model = load_graph(self.path, eval_mode=self.eval_mode).model
        return GraphSession(model, self.path, self._info("fp32"), options, names=names)

    def half_session(self, options: SessionOptions | None = None) -> Session | None:
        """Runs the file as it came, where that is in half precision and nothing else sets the network apart."""
        if not self.is_half or len(self.changes) > 1:
            return None
        return PlainSession(self.path, self._info("fp16"), options or SessionOptions(), names=(self.input, self.output))

    def _info(self, precision: str) -> ModelInfo:
        return ModelInfo(
            name=self.name,
            network=self.name,
            target=OrtSession.backend,
            precision=precision,
            spec=self.spec,
            labels=self.labels,
            batch=self.batch,
        )


def read_plain_onnx(path: str | Path, clip_file: ClipFile, *, eval_mode: bool = False) -> PlainOnnx:
    """Checks an ONNX file against its clip file.

    Warns of outputs that will be dropped, and of probabilities in place of logits.

    Args:
        path: an ONNX file; weights in files of their own lie beside it.
        clip_file: what it takes and names.
        eval_mode: whether to switch norms and dropouts that are in training mode to inference.

    Raises:
        InputFileError: the file is not a whole ONNX model; it does not take one float32 clip as the clip file describes
            it; no output, or more than one, can be logits of as many classes as there are labels; the logits come of
            random numbers, or of norms or dropouts in training mode that are not to be switched; or the opset is too
            old.
    """
    path = Path(path)
    loaded = load_graph(path, eval_mode=eval_mode)
    model = loaded.model
    clip = _clip_input(model, path, clip_file)
    logits = _logits_output(model, path, clip_file)
    check_modes(loaded, logits, path, eval_mode=eval_mode)
    check_lifted(model.opset_imports.get("", OPSET), loaded.stays_because, path)
    dropped = [str(output.name) for output in model.graph.outputs if output is not logits]
    if dropped:
        logger.warning("%s: output %s is taken as logits; dropped: %s", path, logits.name, ", ".join(dropped))
    if _ends_in_softmax(logits):
        logger.warning("%s ends in a Softmax; scores will be softened twice: export the logits before it", path)
    return PlainOnnx(
        path=path,
        spec=clip_file.spec,
        labels=clip_file.labels,
        input=str(clip.name),
        output=str(logits.name),
        batch=_dims(clip)[0],
        eval_mode=eval_mode,
        changes=_changes(loaded, eval_mode=eval_mode),
        is_half=loaded.is_widened,
    )


def _changes(loaded: LoadedGraph, *, eval_mode: bool) -> tuple[str, ...]:
    words = (
        ("switched to inference", eval_mode and bool(loaded.training)),
        ("float32 in place of half precision", loaded.is_widened),
        ("a rule of ONNX kept that the file breaks", not loaded.runs_as_it_is),
    )
    return tuple(text for text, holds in words if holds)


def _clip_input(model: ir.Model, path: Path, clip_file: ClipFile) -> ir.Value:
    inputs = model.graph.inputs
    wanted = clip_file.spec.input_shape()
    if len(inputs) != 1:
        msg = f"{path} takes {len(inputs)} inputs ({_names(inputs)}); a network here takes one clip {_shape(wanted)}"
        raise InputFileError(msg)
    clip = _find_named(inputs, clip_file.input or str(inputs[0].name))
    if clip is None:
        msg = f"{clip_file.name} names the input {clip_file.input!r}, but {path} has {_names(inputs)}; correct it"
        raise InputFileError(msg)
    if clip.dtype != ir.DataType.FLOAT:
        msg = (
            f"input {clip.name} of {path} is {_dtype(clip)}, but must be float32; export the network in float32: "
            "`precision` sets what an artifact computes in"
        )
        raise InputFileError(msg)
    _check_clip_shape(clip, path, clip_file)
    return clip


def _check_clip_shape(clip: ir.Value, path: Path, clip_file: ClipFile) -> None:
    wanted, got = clip_file.spec.input_shape(), _dims(clip)
    if len(got) == len(wanted) and all(b in (None, a) for a, b in zip(wanted[1:], got[1:], strict=True)):
        return
    msg = (
        f"input {clip.name} of {path} is {_shape(got)}, but with the frames ({clip_file.spec.frames}) and crop "
        f"({clip_file.spec.size}) of {clip_file.name} it should be {_shape((None, *wanted[1:]))} (clips, channels, "
        "frames, height, width); correct the one or the other"
    )
    raise InputFileError(msg)


def _logits_output(model: ir.Model, path: Path, clip_file: ClipFile) -> ir.Value:
    outputs, classes = model.graph.outputs, len(clip_file.labels)
    described = ", ".join(f"{each.name} {_dtype(each)} {_shape(_dims(each))}" for each in outputs)
    if clip_file.output is not None:
        outputs = [each for each in outputs if each.name == clip_file.output]
        if not outputs:
            msg = f"{clip_file.name} names the output {clip_file.output!r}, but {path} has: {described}; correct it"
            raise InputFileError(msg)
    found = [each for each in outputs if _can_be_logits(each, classes)]
    if len(found) == 1:
        return found[0]
    problem = "no output" if not found else "more than one output"
    advice = f'name one as "output" in {clip_file.name}' if found else "export the logits, or give as many labels"
    msg = (
        f"{path} has {problem} that can be the float32 logits [N, {classes}] of the {classes} labels of "
        f"{clip_file.name}; it has: {described}; {advice}"
    )
    raise InputFileError(msg)


def _can_be_logits(value: ir.Value, classes: int) -> bool:
    """[N, K] in float32, or with further axes of length 1; a K that the graph does not tell is found when it runs."""
    dims = _dims(value)
    if value.dtype != ir.DataType.FLOAT or len(dims) < 2:
        return False
    sides = [side for side in dims[1:] if side != 1]
    return sides in ([classes], [None]) or (classes == 1 and not sides)


def _flatten(model: ir.Model, logits: ir.Value) -> ir.Value:
    """``logits`` with all axes but the first made one, where it has more than two."""
    if len(_dims(logits)) == 2:
        return logits
    node = ir.node("Flatten", [logits], attributes={"axis": 1})
    model.graph.append(node)
    (flat,) = node.outputs
    flat.dtype = ir.DataType.FLOAT
    return flat


def _ends_in_softmax(value: ir.Value) -> bool:
    node = value.producer()
    while node is not None and node.op_type in _PASSING and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    return node is not None and node.op_type == "Softmax"


def _find_named(values: Iterable[ir.Value], name: str) -> ir.Value | None:
    return next((value for value in values if value.name == name), None)


def _names(values: Iterable[ir.Value]) -> str:
    return ", ".join(str(value.name) for value in values) or "none"


def _dims(value: ir.Value) -> _Dims:
    """Lengths of the axes, None where the graph does not fix one; empty where it tells nothing."""
    return () if value.shape is None else tuple(side if isinstance(side, int) else None for side in value.shape)


def _shape(dims: _Dims) -> str:
    return f"[{', '.join('N' if not axis and side is None else str(side or '?') for axis, side in enumerate(dims))}]"


def _dtype(value: ir.Value) -> str:
    return "of no known type" if value.dtype is None else ir.DataType(value.dtype).name.lower()
