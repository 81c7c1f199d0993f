"""An ONNX file from elsewhere, read with care: untrusted input, of any age and size.

ONNX's checker has seen every operator and tensor before anything else is done with it, and weights in files of their
own must lie in the same folder. Whatever a library makes of a file ends as an ``InputFileError`` that names it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError, EncodeError  # type: ignore[import-untyped]
from onnx_ir.passes.common import LiftConstantsToInitializersPass, RemoveInitializersFromInputsPass

from s2tf_edge.calibration.onnx_files import IR_VERSION, SINGLE_FILE_BYTES, SMALL_BYTES, through_onnx
from s2tf_edge.errors import InputFileError
from s2tf_edge.export.sources.graphs.node_names import has_shared_names, name_nodes
from s2tf_edge.words import one_line

__all__ = ["GraphFile", "ShapeError", "files_of_graph", "graph_errors", "infer_shapes", "read_graph_file"]

_MAX_MESSAGE: Final = 2**31 - 1
"""Bytes of the largest protobuf message."""
_INITIALIZERS_APART: Final = 4
"""IR version from which initializers need not be inputs."""
_NODES_ERRORS: Final = (
    *(DecodeError, EncodeError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError),
    *(ir.serde.SerdeError, ir.passes.PassError, ValueError, TypeError, KeyError, IndexError, RuntimeError),
)
"""What ONNX, protobuf and onnx-ir make of a damaged or contradictory graph."""


class ShapeError(ValueError):
    """A graph whose shapes contradict each other."""


class GraphFile:
    """What was read.

    Attributes:
        model: the graph, weights neither inputs nor constant nodes.
        runs_as_it_is: whether a runtime takes the file as it came; else it broke a rule that nothing hangs on, such as
            weights that its IR version wants as inputs, or names of nodes that are there twice.
    """

    def __init__(self, model: ir.Model, *, runs_as_it_is: bool) -> None:
        self.model = model
        self.runs_as_it_is = runs_as_it_is


def read_graph_file(path: Path) -> GraphFile:
    """Reads and checks an ONNX file.

    Weights outside the file are read into memory, but where they and the file are more than 2 GiB: then they stay where
    they are, and are looked at there.

    Raises:
        InputFileError: the file is missing, damaged or no valid ONNX, or is itself larger than 2 GiB; weights are cut
            off or lie outside its folder.
    """
    with graph_errors(path):
        proto = _read(path)
        mended = _check(proto, path)
        model = ir.from_proto(mended or proto)
        # Of a path without a folder too.
        ir.external_data.set_base_dir(model.graph, path.absolute().parent)
        RemoveInitializersFromInputsPass()(model)
        # Older exporters write weights as constant nodes, where they hide from all that looks for weights.
        LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
        _take_in_weights(model)
        model.ir_version = max(IR_VERSION, model.ir_version)
        is_ambiguous = has_shared_names(model)
        if is_ambiguous:
            name_nodes(model)
    return GraphFile(model, runs_as_it_is=mended is None and not is_ambiguous)


def files_of_graph(path: Path) -> list[Path]:
    """The file of a graph, and those beside it that have weights of its; of what cannot be read, the file alone.

    They stand for its content, as for a digest: whether the graph is valid is not looked at.
    """
    try:
        proto = onnx.load(path, format="protobuf", load_external_data=False)
    except (OSError, ValueError, DecodeError):
        return [path]
    outside = filter(onnx.external_data_helper.uses_external_data, proto.graph.initializer)
    names = {onnx.external_data_helper.ExternalDataInfo(tensor).location for tensor in outside}
    return [path, *(beside for name in sorted(names) if (beside := path.parent / name).is_file())]


@contextmanager
def graph_errors(path: Path) -> Iterator[None]:
    """Turns what libraries make of a file's content into an error that names the file."""
    try:
        yield
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror or error}"
        raise InputFileError(msg) from error
    except ShapeError as error:
        msg = f"{path} has shapes that contradict each other: {error}; export it again"
        raise InputFileError(msg) from error
    except _NODES_ERRORS as error:
        cause = error.__cause__ if isinstance(error, ir.serde.SerdeError) else None
        msg = f"{path} is not a valid ONNX model, or it is damaged: {one_line(cause or error)}; copy or export it again"
        raise InputFileError(msg) from error


def _read(path: Path) -> onnx.ModelProto:
    size = path.stat().st_size
    if size > _MAX_MESSAGE and path.is_file():
        msg = (
            f"{path} is one file of {size} bytes, but ONNX ends at {_MAX_MESSAGE} bytes a file; export it again with "
            "its weights in a file of their own (external data)"
        )
        raise InputFileError(msg)
    proto = onnx.load(path, format="protobuf", load_external_data=False)
    if proto.graph.sparse_initializer:
        msg = "its weights are sparse tensors, which are not read here"
        raise ValueError(msg)
    return proto


def _check(proto: onnx.ModelProto, path: Path) -> onnx.ModelProto | None:
    """Passes the file, or a copy in which a rule is kept that nothing hangs on; gives the copy.

    Raises:
        onnx.checker.ValidationError: neither is valid.
    """
    try:
        # By its path: then it also checks where weights in other files lie, in this folder and not behind a link.
        onnx.checker.check_model(path)
    except onnx.checker.ValidationError:
        if any(map(onnx.external_data_helper.uses_external_data, proto.graph.initializer)):
            raise
        mended = _mend(proto)
        onnx.checker.check_model(mended)
        return mended
    return None


def _mend(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of an IR version that lets weights be none of the inputs, and with shapes for all outputs."""
    mended = onnx.ModelProto()
    mended.CopyFrom(proto)
    mended.ir_version = max(_INITIALIZERS_APART, proto.ir_version)
    if any(not output.type.tensor_type.HasField("shape") for output in mended.graph.output):
        mended = onnx.shape_inference.infer_shapes(mended)
    return mended


def _take_in_weights(model: ir.Model) -> None:
    """Reads weights that lie outside into memory: all of them, or those that may be shapes."""
    outside: list[tuple[ir.Value, ir.ExternalTensor]] = []
    for value in (each for graph in model.graphs() for each in graph.initializers.values()):
        if isinstance(value.const_value, ir.ExternalTensor):
            _check_extent(value.const_value)
            outside.append((value, value.const_value))
    limit = SINGLE_FILE_BYTES if sum(tensor.nbytes for _, tensor in outside) <= SINGLE_FILE_BYTES else SMALL_BYTES
    for value, tensor in outside:
        if tensor.nbytes <= limit:
            value.const_value = ir.tensor(tensor.numpy().copy(), name=tensor.name)


def _check_extent(tensor: ir.ExternalTensor) -> None:
    """Whether the file holds all of the tensor: nothing else looks before the values are asked for."""
    size = Path(tensor.path).stat().st_size
    length = tensor.nbytes if tensor.length is None else tensor.length
    end = (tensor.offset or 0) + length
    if length != tensor.nbytes or end > size:
        msg = (
            f"weight {tensor.name} of {tensor.nbytes} bytes is said to lie at bytes {end - length} to {end} of "
            f"{Path(tensor.path).name}, which has {size}"
        )
        raise ValueError(msg)


def infer_shapes(model: ir.Model) -> ir.Model:
    """A new graph with all shapes that follow from those of its inputs.

    Raises:
        ShapeError: shapes contradict each other.
    """
    try:
        return through_onnx(model, _infer)
    except onnx.shape_inference.InferenceError as error:
        raise ShapeError(one_line(error)) from error


def _infer(proto: onnx.ModelProto) -> onnx.ModelProto:
    return onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True, data_prop=True)
