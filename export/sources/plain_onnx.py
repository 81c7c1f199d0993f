"""A plain ``.onnx`` from elsewhere as what is exported: checked against its clip file before anything is built.

The graph must take clips as the clip file says, and give logits [N, K]; further outputs are dropped. The file itself,
untouched, run by ONNX Runtime, is what artifacts are compared with; where it is in training mode, in half precision or
breaks a rule, what was made of that.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from s2tf_edge.clip_file import ClipFile
from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.export.graph.describe import describe
from s2tf_edge.export.sources.clips.canonical_input import make_canonical
from s2tf_edge.export.sources.clips.clip_inputs import ClipInputs, read_inputs
from s2tf_edge.export.sources.clips.logits_output import find_logits, flatten_logits
from s2tf_edge.export.sources.clips.values import find_value, show_dims
from s2tf_edge.export.sources.graphs.graph_modes import check_modes
from s2tf_edge.export.sources.graphs.graph_session import GraphSession, PlainSession
from s2tf_edge.export.sources.graphs.lifting import OPSET, check_lifted
from s2tf_edge.export.sources.graphs.node_names import name_nodes
from s2tf_edge.export.sources.graphs.plain_graph import (
    LoadedGraph,
    ShapeError,
    infer_output,
    keep_output,
    load_graph,
    rename,
    with_batch,
)
from s2tf_edge.runtime.backends.ort_session import OrtSession
from s2tf_edge.runtime.session import ModelInfo, Session, SessionOptions
from s2tf_edge.spec import ClipSpec
from s2tf_edge.words import counted

__all__ = ["PlainOnnx", "read_plain_onnx"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PlainOnnx:
    """A checked ONNX file."""

    path: Path
    spec: ClipSpec
    labels: tuple[str, ...]
    inputs: ClipInputs
    """The tensors that take the clip."""
    output: str
    """Name of the tensor that holds the logits."""
    rows: int = 1
    """Rows of logits that one clip gives."""
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

    @property
    def batch(self) -> int | None:
        """Clips that the file takes at once; None for any number."""
        return self.inputs.batch

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
        for name in self.inputs.forms:
            self._find(model.graph.inputs, name)
        clip = make_canonical(model, self.inputs.forms, frames=self.spec.frames, size=self.spec.size)
        output = self._find(model.graph.outputs, self.output)
        logits = flatten_logits(model, output, rows=self.rows, classes=self.num_classes)
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
        value = find_value(values, name)
        if value is None:
            msg = f"{self.path} has changed since it was checked: {name} is gone; start again"
            raise InputFileError(msg)
        return value

    def _fixed_batch(self, batch: int | None, error: ShapeError) -> str:
        own = "its own number of clips" if self.batch is None else counted(self.batch, "clip")
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
        if not self.changes:
            return self._plain_session("fp32", options)
        model = load_graph(self.path, eval_mode=self.eval_mode).model
        return GraphSession(
            model,
            self.path,
            self._info("fp32"),
            options or SessionOptions(),
            feed=self.inputs.feed,
            output=self.output,
            rows=self.rows,
        )

    def half_session(self, options: SessionOptions | None = None) -> Session | None:
        """Runs the file as it came, where that is in half precision and nothing else sets the network apart."""
        if not self.is_half or len(self.changes) > 1:
            return None
        return self._plain_session("fp16", options)

    def _plain_session(self, precision: str, options: SessionOptions | None) -> Session:
        return PlainSession(
            self.path,
            self._info(precision),
            options or SessionOptions(),
            feed=self.inputs.feed,
            output=self.output,
            rows=self.rows,
        )

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
        InputFileError: the file is not a whole ONNX model; it does not take clips as the clip file describes them; no
            output, or more than one, can be logits of as many classes as there are labels; the logits come of random
            numbers, or of norms or dropouts in training mode that are not to be switched; or the opset is too old.
    """
    path = Path(path)
    loaded = load_graph(path, eval_mode=eval_mode)
    model = loaded.model
    inputs = read_inputs(model, path, clip_file, types=loaded.input_types)
    logits = find_logits(model, path, clip_file, rows=inputs.rows)
    check_modes(loaded, logits, path, eval_mode=eval_mode)
    check_lifted(model.opset_imports.get("", OPSET), loaded.stays_because, path)
    return PlainOnnx(
        path=path,
        spec=clip_file.spec,
        labels=clip_file.labels,
        inputs=inputs,
        output=str(logits.name),
        rows=_count_rows(model, logits, path, clip_file, inputs) if inputs.rows else 1,
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


def _count_rows(model: ir.Model, logits: ir.Value, path: Path, clip_file: ClipFile, inputs: ClipInputs) -> int:
    """How many rows of logits one clip gives, where there may be several; changes ``model``."""
    spec, clips = clip_file.spec, inputs.batch or 1
    keep_output(model, logits)
    make_canonical(model, inputs.forms, frames=spec.frames, size=spec.size)
    try:
        dims = infer_output(model, (clips, *spec.input_shape()[1:]))
    except ShapeError as error:
        msg = f"{path} contradicts {clip_file.name} ({error}); correct the one or the other"
        raise InputFileError(msg) from error
    classes = len(clip_file.labels)
    if None in dims:
        return 1
    rows, rest = divmod(math.prod(side or 1 for side in dims), clips * classes)
    if rest or rows not in {1, *inputs.rows}:
        allowed = " or ".join(map(str, sorted({1, *inputs.rows})))
        msg = (
            f"{path} gives {logits.name} {show_dims(dims)} for a batch of {clips}, which is not {allowed} times the "
            f"{classes} labels of {clip_file.name}; export it with one row of logits a clip"
        )
        raise InputFileError(msg)
    if rows > 1:
        logger.info("%s gives %d rows of logits a clip; their mean is taken", path, rows)
    return rows
