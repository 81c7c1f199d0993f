"""A plain ``.onnx`` from elsewhere as what is exported: checked against its clip file before anything is built.

The graph must take clips as the clip file says, and give logits [N, K]; further outputs are dropped. The file itself,
untouched, run by ONNX Runtime, is what artifacts are compared with.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import onnx_ir as ir

from s2tf_edge.clip_file import ClipFile
from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.export.graph.describe import describe
from s2tf_edge.export.sources.canonical_input import make_canonical
from s2tf_edge.export.sources.clip_inputs import ClipInputs, read_inputs
from s2tf_edge.export.sources.logits_output import find_logits, flatten_logits
from s2tf_edge.export.sources.plain_graph import (
    ShapeError,
    infer_output,
    keep_output,
    load_graph,
    name_nodes,
    rename,
    with_batch,
)
from s2tf_edge.export.sources.values import find_value, show_dims
from s2tf_edge.runtime.backends.ort_session import OrtSession
from s2tf_edge.runtime.session import Clips, ModelInfo, Outputs, Session, SessionOptions
from s2tf_edge.spec import ClipSpec

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
        model = load_graph(self.path)
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
        own = "its own number of clips" if self.batch is None else f"{self.batch} clip{'s' if self.batch > 1 else ''}"
        asked = "any number" if batch is None else str(batch)
        return (
            f"{self.path} is fixed to {own} at once and cannot take {asked} ({error}); "
            "export it from its framework with a batch axis of any size, or ask for the number that it has"
        )

    def session(self, options: SessionOptions | None = None) -> Session:
        """Runs the file as it is in ONNX Runtime: what artifacts are compared with.

        Enter it, or call ``open()``, before use.
        """
        info = ModelInfo(
            name=self.name,
            network=self.name,
            target=OrtSession.backend,
            precision="fp32",
            spec=self.spec,
            labels=self.labels,
            batch=self.batch,
        )
        return _PlainSession(self.path, info, options or SessionOptions(), source=self)


class _PlainSession(OrtSession):
    """Feeds clips as the file takes them, and gives logits [N, K], whatever further axes or rows the file gives."""

    def __init__(self, path: Path, info: ModelInfo, options: SessionOptions, *, source: PlainOnnx) -> None:
        super().__init__(path, info, options, names=("", source.output))
        self._inputs, self._rows = source.inputs, source.rows

    def _feed(self, clips: Clips) -> dict[str, Any]:
        return self._inputs.feed(clips, {each.name: _NUMPY[each.type] for each in self._engine.get_inputs()})

    def _run(self, clips: Clips) -> Outputs:
        logits = super()._run(clips).logits
        rows = logits.reshape(len(clips), self._rows, -1)
        return Outputs(logits=rows.mean(axis=1))


_NUMPY: Final = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}
"""Numpy's names of what ONNX Runtime says that an input takes."""


def read_plain_onnx(path: str | Path, clip_file: ClipFile) -> PlainOnnx:
    """Checks an ONNX file against its clip file.

    Warns of outputs that will be dropped, and of probabilities in place of logits.

    Args:
        path: an ONNX file; weights in files of their own lie beside it.
        clip_file: what it takes and names.

    Raises:
        InputFileError: the file is not a whole ONNX model; it does not take clips as the clip file describes them; no
            output, or more than one, can be logits of as many classes as there are labels.
    """
    path = Path(path)
    model = load_graph(path)
    inputs = read_inputs(model, path, clip_file)
    logits = find_logits(model, path, clip_file, rows=inputs.rows)
    return PlainOnnx(
        path=path,
        spec=clip_file.spec,
        labels=clip_file.labels,
        inputs=inputs,
        output=str(logits.name),
        rows=_count_rows(model, logits, path, clip_file, inputs) if inputs.rows else 1,
    )


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
