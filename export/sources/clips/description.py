"""A clip file written for its user: what a file tells of its clips, as JSON that reads well."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from s2tf_edge.clip_file import spec_keys
from s2tf_edge.extras import require
from s2tf_edge.runtime.artifact import read_checked
from s2tf_edge.runtime.open import check_signed
from s2tf_edge.spec import ClipSpec
from s2tf_edge.words import json_text

__all__ = ["describe_clips", "write_description"]


def describe_clips(path: str | Path, *, signers: Path | None = None) -> dict[str, Any]:
    """What a clip file says of a network: for a plain ``.onnx`` a template, for others what they say themselves.

    Args:
        path: an ``.onnx``, a ``model.pt`` or an artifact folder.
        signers: OpenSSH's list of those who may have signed an artifact; None to take one from anybody.

    Returns:
        The keys of a clip file. Of a plain ``.onnx`` they are valid for it as they are, and ``notes`` say by key what
        is a guess, and why.

    Raises:
        InputFileError: the file cannot be read, takes nothing that could be a clip, or is not signed as asked for.
        MissingExtraError: a package that reading it needs is not installed.
    """
    path = Path(path)
    if path.is_dir():
        meta = read_checked(path, signers=signers)
        return _keys(meta.clip, meta.labels, input="clip", output="logits")
    if signers is not None:
        # A file is nothing that can be signed.
        check_signed(path, signers)
    if path.suffix.lower() == ".onnx":
        require("onnx_ir", extra="export", purpose="reading an ONNX file")
        from s2tf_edge.export.sources.clips.template import fill_template
        from s2tf_edge.export.sources.graphs.plain_graph import load_graph

        loaded = load_graph(path)
        return fill_template(loaded.model, path, types=loaded.input_types)
    require("torch", extra="export", purpose="reading a model.pt")
    from s2tf_edge.models.model_file import load_model

    network = load_model(path)
    return _keys(network.spec, network.labels)


def _keys(spec: ClipSpec, labels: Iterable[str], **names: str) -> dict[str, Any]:
    return {**spec_keys(spec), **names, "labels": list(labels)}


def write_description(values: Mapping[str, Any]) -> str:
    """The JSON text of a clip file, a key a line."""
    return _lines({key: _lines(value, " ") if isinstance(value, dict) else value for key, value in values.items()})


def _lines(values: Mapping[str, Any], indent: str = "") -> _Text:
    lines = [f"{indent} {_json(key)}: {_json(value)}" for key, value in values.items()]
    return _Text("{\n" + ",\n".join(lines) + f"\n{indent}}}")


class _Text(str):
    """What is JSON already."""

    __slots__ = ()


def _json(value: Any) -> str:
    return value if isinstance(value, _Text) else json_text(value)
