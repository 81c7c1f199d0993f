"""What can be exported: a ``model.pt``, or an ONNX file with a description of its clips; behind one face.

A network gives its graph in float32, a session that runs it as it came, to compare with, and its layers' outputs, to
find where an artifact leaves it.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
import shlex
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from s2tf_edge.errors import InputFileError, UnsupportedError, UsageError
from s2tf_edge.extras import require
from s2tf_edge.file_kinds import NETWORK, FileKind, check_kind
from s2tf_edge.runtime.artifact import ArtifactMeta, read_checked
from s2tf_edge.runtime.session import Clips, Session, SessionOptions
from s2tf_edge.spec import ClipSpec
from s2tf_edge.step_spec import StepSpec

if TYPE_CHECKING:
    import onnx_ir as ir

    from s2tf_edge.export.graph.layer_maps import GraphLayers
    from s2tf_edge.export.graph.quantized import Quantization
    from s2tf_edge.export.sources.plain_onnx import PlainOnnx
    from s2tf_edge.models.s2tf import VideoNetwork

__all__ = ["OnnxNetwork", "SourceNetwork", "StepNetwork", "TorchNetwork", "open_network"]


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
    quantization: Quantization | None = None
    """What of it is quantized already; None where nothing is."""
    step: StepSpec | None = None
    """How it steps; None where it sees whole clips."""
    stripped_from: SourceNetwork | None = None
    """The quantized network that it was made of; None of any other."""

    @property
    def clip_frames(self) -> int:
        """Frames of the clips that it was trained on."""
        return self.spec.frames

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

    @property
    def changes(self) -> tuple[str, ...]:
        """What sets the network apart from the file as it came, in words; empty where nothing does."""
        return ()

    def half_session(self) -> Session | None:
        """Runs the file as it came, where that is in half precision and ``session`` runs it in float32; else None."""
        return None

    @abc.abstractmethod
    def layers(self, clip: Clips) -> GraphLayers:
        """What its layers put out for one clip, by the names that they have in ``graph``."""


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

    def layers(self, clip: Clips) -> GraphLayers:
        """Of the inference form; convolutions as PyTorch itself computes them."""
        from s2tf_edge.export.sources.torch_layers import TorchLayers

        return TorchLayers(self.network.to_inference(), self.graph(batch=1, mask=False), clip)


class StepNetwork(TorchNetwork):
    """One step of a causal network of a ``model.pt``."""

    def __init__(self, path: Path, network: VideoNetwork, *, hop: int) -> None:
        from s2tf_edge.models.step import describe_step

        super().__init__(path, network)
        self.step = describe_step(network, hop=hop)
        # From a fresh start to the first prediction, in whole steps.
        self.spec = dataclasses.replace(network.spec, frames=self.step.warm_up)

    @property
    def clip_frames(self) -> int:
        """Of the network, and not of the whole steps that they take."""
        return self.network.spec.frames

    def graph(self, *, batch: int | None, mask: bool) -> ir.Model:
        """Traced by PyTorch; see ``step_to_onnx``."""
        from s2tf_edge.export.sources.torch_to_onnx import step_to_onnx

        assert self.step is not None
        return step_to_onnx(self.network, hop=self.step.hop, batch=batch or 1, mask=mask)

    def session(self) -> Session:
        """PyTorch, in the training form, step by step."""
        from s2tf_edge.runtime.backends.torch_session import TorchSession

        assert self.step is not None
        options = SessionOptions(device="CPU")
        return TorchSession.from_network(self.network, path=self.path, options=options, hop=self.step.hop)

    def layers(self, clip: Clips) -> GraphLayers:
        """Not of a network whose layers have a past.

        Raises:
            UnsupportedError: always.
        """
        msg = f"layers of {self.name} cannot be compared one by one, as each has a past"
        raise UnsupportedError(msg)


class OnnxNetwork(SourceNetwork):
    """A network of an ONNX file, which stands for itself."""

    has_mask = False

    def __init__(self, plain: PlainOnnx) -> None:
        self.plain = plain
        self.path = self.given = plain.path
        self.name = plain.name
        self.labels = plain.labels
        self.spec = plain.spec

    @functools.cached_property
    def quantization(self) -> Quantization | None:  # type: ignore[override]  # found when it is first asked for
        """What of the file is quantized already."""
        import onnx_ir as ir

        from s2tf_edge.export.graph.quantized import find_quantization

        return find_quantization(ir.load(self.path))

    def graph(self, *, batch: int | None, mask: bool) -> ir.Model:
        """The file's own graph in the form that a ``model.pt`` gives: constants and norms folded, its ends renamed."""
        if mask:
            msg = f"{self.path} has no saliency mask to put out; leave out `mask`"
            raise UsageError(msg)
        from s2tf_edge.export.sources.graphs.simplify import simplify

        model = simplify(self.plain.graph(batch=batch))
        model.metadata_props["network"] = self.name
        return model

    @property
    def changes(self) -> tuple[str, ...]:
        """What was made of the file before it became the network."""
        return self.plain.changes

    def session(self) -> Session:
        """ONNX Runtime on the file as it came, or on what ``changes`` made of it."""
        return self.plain.session(SessionOptions(device="CPU"))

    def half_session(self) -> Session | None:
        """ONNX Runtime on a file in half precision, as it came."""
        return self.plain.half_session(SessionOptions(device="CPU"))

    def layers(self, clip: Clips) -> GraphLayers:
        """Of the graph before it is lowered."""
        from s2tf_edge.export.graph.layer_maps import GraphLayers

        return GraphLayers(self.graph(batch=self.plain.batch or 1, mask=False), clip)


def open_network(
    path: Path,
    *,
    meta: Path | None = None,
    float_targets: Collection[str] = frozenset(),
    eval_mode: bool = False,
    form: str | None = None,
    hop: int | None = None,
    signers: Path | None = None,
) -> SourceNetwork:
    """Reads what is to be exported.

    Args:
        path: a ``model.pt``, a plain ``.onnx``, or an artifact folder that keeps its float32 graph.
        meta: the description of the clips that a plain ``.onnx`` takes.
        float_targets: targets whose fp32 artifacts keep it.
        eval_mode: whether to switch a plain ``.onnx`` that is in training mode to inference.
        form: ``step`` or ``clip``; by default ``step`` for a causal network.
        hop: frames of a step; 1 by default.
        signers: OpenSSH's list of those who may have signed an artifact; None to take one from anybody.

    Raises:
        InputFileError: a file cannot be read or is of the wrong kind; or is not signed as asked for.
        MissingExtraError: a package that reading it needs is not installed.
        UsageError: ``meta`` is missing, or it or ``eval_mode`` is given for something that needs none; or the network
            cannot step, and that is asked for.
    """
    kind = check_kind(path, NETWORK).kind
    # By what is in it; a name alone tells of a file that is damaged or not there.
    if signers is not None and not path.is_dir():
        msg = f"{path} has no signature, as artifact folders may; leave out `require_signature`"
        raise InputFileError(msg)
    is_onnx = kind is FileKind.ONNX or (path.suffix.lower() == ".onnx" and kind is not FileKind.MODEL)
    if (is_onnx or path.is_dir()) and (form == "step" or hop is not None):
        asked = "form='step'" if form == "step" else f"hop={hop}"
        msg = f"`{asked}` needs a model.pt of a causal network, and {path} is a finished graph; leave it out"
        raise UsageError(msg)
    if is_onnx and not path.is_dir():
        return _open_onnx(path, meta, eval_mode=eval_mode)
    if eval_mode:
        msg = f"`eval_mode` is for a plain .onnx file; {path.name} is exported for inference anyway, so leave it out"
        raise UsageError(msg)
    if path.is_dir():
        return _open_artifact(path, meta, float_targets, signers)
    if meta is not None:
        msg = f"`meta` describes a plain .onnx file; {path.name} describes itself, so leave it out"
        raise UsageError(msg)
    require("torch", extra="export", purpose="exporting a model.pt")
    from s2tf_edge.models.model_file import load_model

    return _choose_form(path, load_model(path).eval(), form=form, hop=hop)


def _choose_form(path: Path, network: VideoNetwork, *, form: str | None, hop: int | None) -> TorchNetwork:
    if not network.is_causal and (form == "step" or hop is not None):
        asked = "form='step'" if form == "step" else f"hop={hop}"
        whole = f"{network.name} sees whole clips"
        msg = f"`{asked}` is for causal networks, and {whole}; an X3D that was trained with causal=true can step"
        raise UsageError(msg)
    if network.is_causal and form != "clip":
        return StepNetwork(path, network, hop=hop or 1)
    if hop is not None:
        msg = f"`hop={hop}` is for steps, and `form='clip'` asks for whole clips; leave one of them out"
        raise UsageError(msg)
    return TorchNetwork(path, network)


def _open_onnx(path: Path, meta: Path | None, *, eval_mode: bool) -> SourceNetwork:
    if meta is None:
        msg = (
            f"{path.name} does not say what clips it takes; give `meta=FILE.json` with frames, crop, mean, std, labels "
            "and, where they are not 1, 25 and the crop, stride, fps and resize_short_side; one to fill in is written "
            f"by: s2tf-export {shlex.quote(str(path))} --describe > {shlex.quote(str(path.with_suffix('.json')))}"
        )
        raise UsageError(msg)
    require("onnx_ir", extra="export", purpose="exporting an ONNX file")
    from s2tf_edge.clip_file import read_clip_file
    from s2tf_edge.export.sources.plain_onnx import read_plain_onnx

    return OnnxNetwork(read_plain_onnx(path, read_clip_file(meta), eval_mode=eval_mode))


def _open_artifact(
    folder: Path, meta_file: Path | None, float_targets: Collection[str], signers: Path | None
) -> SourceNetwork:
    meta = read_checked(folder, signers=signers)
    if meta_file is not None:
        msg = f"`meta` describes a plain .onnx file; {folder} describes itself, so leave it out"
        raise UsageError(msg)
    if meta.step is not None:
        origin = meta.source.get("file", "its model.pt")
        msg = f"{folder} is one step of {meta.network}; for another target, give the model it was made from ({origin})"
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
