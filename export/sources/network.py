"""What can be exported: a ``model.pt``, or an ONNX file with a description of its clips; behind one face.

A network gives its graph in float32, a session that runs it as it came, to compare with, and its layers' outputs, to
find where an artifact leaves it.
"""

from __future__ import annotations

import abc
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.extras import require
from s2tf_edge.file_kinds import NETWORK, FileKind, check_kind
from s2tf_edge.runtime.artifact import ArtifactMeta, check_files, read_meta
from s2tf_edge.runtime.session import Clips, Session, SessionOptions
from s2tf_edge.spec import ClipSpec

if TYPE_CHECKING:
    import onnx_ir as ir

    from s2tf_edge.export.graph.layer_maps import LayerMaps
    from s2tf_edge.export.sources.plain_onnx import PlainOnnx
    from s2tf_edge.models.s2tf import VideoNetwork

__all__ = ["OnnxNetwork", "SourceNetwork", "TorchNetwork", "open_network"]


class SourceNetwork(abc.ABC):
    """A network to export.

    Attributes:
        path: the file that it came in.
        given: what the user named: the file, or the artifact folder that holds it.
        name: the network's name.
        labels: one name a class.
        spec: the clips it takes: float32 NCTHW.
        has_mask: whether it finds a saliency mask.
    """

    path: Path
    given: Path
    name: str
    labels: tuple[str, ...]
    spec: ClipSpec
    has_mask: bool

    @abc.abstractmethod
    def graph(self, *, batch: int | None, mask: bool) -> ir.Model:
        """The network in float32 with input ``clip`` and outputs ``logits`` and, where asked for, ``mask``.

        Args:
            batch: clips that it takes at once; None for any number.
            mask: whether to put out the saliency mask.

        Raises:
            UnsupportedError: an operator has no ONNX form.
            UsageError: there is no mask, or the graph cannot take so many clips.
        """

    @abc.abstractmethod
    def session(self) -> Session:
        """A session, not yet open, that runs the network as it came, in float32 on the CPU."""

    @abc.abstractmethod
    def layer_maps(self, clip: Clips) -> LayerMaps:
        """Outputs of all convolutions for one clip, by the names that they have in ``graph``, in their order."""


class TorchNetwork(SourceNetwork):
    """A network of a ``model.pt``, traced by PyTorch."""

    def __init__(self, path: Path, network: VideoNetwork) -> None:
        self.path = self.given = path
        self.network = network
        self.name = network.name
        self.labels = tuple(network.labels)
        self.spec = network.spec
        self.has_mask = network.saliency is not None

    def graph(self, *, batch: int | None, mask: bool) -> ir.Model:
        """Traced by PyTorch; see ``to_onnx``."""
        from s2tf_edge.export.sources.torch_to_onnx import to_onnx

        return to_onnx(self.network, batch=batch, mask=mask)

    def session(self) -> Session:
        """PyTorch, in the training form, so that rewriting for inference is verified too."""
        from s2tf_edge.runtime.backends.torch_session import TorchSession

        # A GPU would compute in TF32, whose error is larger than what fp32 is allowed.
        return TorchSession.from_network(self.network, path=self.path, options=SessionOptions(device="CPU"))

    def layer_maps(self, clip: Clips) -> LayerMaps:
        """Of the inference form, whose batch norms are folded as in the graph."""
        from s2tf_edge.export.sources.torch_layers import torch_maps

        return torch_maps(self.network.to_inference(), clip)


class OnnxNetwork(SourceNetwork):
    """A network of an ONNX file, which stands for itself."""

    has_mask = False

    def __init__(self, plain: PlainOnnx) -> None:
        self.plain = plain
        self.path = self.given = plain.path
        self.name = plain.name
        self.labels = plain.labels
        self.spec = plain.spec

    def graph(self, *, batch: int | None, mask: bool) -> ir.Model:
        """The file's own graph in the form that a ``model.pt`` gives: norms folded, no dropout, its ends renamed."""
        if mask:
            msg = f"{self.path} has no saliency mask to put out; leave out `mask`"
            raise UsageError(msg)
        from s2tf_edge.export.passes.rewrites import DropIdentities, FoldNorms

        model = self.plain.graph(batch=batch)
        model.metadata_props["network"] = self.name
        # In this order: what is dropped may lie between a convolution and its norm.
        DropIdentities()(model)
        FoldNorms()(model)
        return model

    def session(self) -> Session:
        """ONNX Runtime on the file as it came."""
        return self.plain.session(SessionOptions(device="CPU"))

    def layer_maps(self, clip: Clips) -> LayerMaps:
        """Of the graph before it is lowered."""
        from s2tf_edge.export.graph.layer_maps import graph_maps

        return graph_maps(self.graph(batch=self.plain.batch or 1, mask=False), clip)


def open_network(
    path: Path, *, meta: Path | None = None, float_targets: Collection[str] = frozenset()
) -> SourceNetwork:
    """Reads what is to be exported.

    Args:
        path: a ``model.pt``, a plain ``.onnx``, or an artifact folder that keeps its float32 graph.
        meta: the description of the clips that a plain ``.onnx`` takes.
        float_targets: targets whose fp32 artifacts keep it.

    Raises:
        InputFileError: a file cannot be read or is of the wrong kind.
        MissingExtraError: a package that reading it needs is not installed.
        UsageError: ``meta`` is missing, or given for something that describes itself.
    """
    kind = check_kind(path, NETWORK).kind
    if path.is_dir():
        return _open_artifact(path, meta, float_targets)
    # By what is in it; a name alone tells of a file that is damaged or not there.
    if kind is FileKind.ONNX or (path.suffix.lower() == ".onnx" and kind is not FileKind.MODEL):
        return _open_onnx(path, meta)
    if meta is not None:
        msg = f"`meta` describes a plain .onnx file; {path.name} describes itself, so leave it out"
        raise UsageError(msg)
    require("torch", extra="export", purpose="exporting a model.pt")
    from s2tf_edge.models.model_file import load_model

    return TorchNetwork(path, load_model(path).eval())


def _open_onnx(path: Path, meta: Path | None) -> SourceNetwork:
    if meta is None:
        msg = (
            f"{path.name} does not say what clips it takes; give `meta=FILE.json` with frames, crop, mean, std, labels "
            "and, where they are not 1, 25 and the crop, stride, fps and resize_short_side"
        )
        raise UsageError(msg)
    require("onnx_ir", extra="export", purpose="exporting an ONNX file")
    from s2tf_edge.clip_file import read_clip_file
    from s2tf_edge.export.sources.plain_onnx import read_plain_onnx

    return OnnxNetwork(read_plain_onnx(path, read_clip_file(meta)))


def _open_artifact(folder: Path, meta_file: Path | None, float_targets: Collection[str]) -> SourceNetwork:
    meta = read_meta(folder)
    check_files(meta, folder)
    if meta_file is not None:
        msg = f"`meta` describes a plain .onnx file; {folder} describes itself, so leave it out"
        raise UsageError(msg)
    if meta.target not in float_targets or meta.precision.get("asked") != "fp32" or meta.clip.dtype != "float32":
        raise _no_float_graph(folder, meta)
    require("onnx_ir", extra="export", purpose="exporting an ONNX file")
    from s2tf_edge.clip_file import ClipFile
    from s2tf_edge.export.sources.plain_onnx import read_plain_onnx

    described = ClipFile(spec=meta.clip, labels=meta.labels, input="clip", output="logits")
    network = OnnxNetwork(read_plain_onnx(folder / meta.model, described))
    network.name, network.given = meta.network, folder
    return network


def _no_float_graph(folder: Path, meta: ArtifactMeta) -> InputFileError:
    origin = meta.source.get("file", "its model.pt")
    msg = (
        f"{folder} keeps no float32 graph to export for another target, as an onnx fp32 artifact does; "
        f"give the model it was made from ({origin})"
    )
    return InputFileError(msg)
