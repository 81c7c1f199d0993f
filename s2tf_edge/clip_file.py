"""The JSON file that says what a plain ``.onnx`` takes and names: ``s2tf-export net.onnx --meta net.json``.

    {"frames": 32, "stride": 2, "fps": 25, "resize_short_side": 256, "crop": 224,
     "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "labels": ["abseiling", …]}

``frames``, ``crop``, ``mean``, ``std`` and ``labels`` must be there; the others default as in ``ClipSpec``.
``labels`` may also name a file of class names, beside this one. ``input`` and ``output`` name the network's tensors,
where it has several. ``layout``, ``views``, ``channels``, ``dtype`` and ``inputs`` say how the network takes a clip,
where that is not float32 [N, 3, T, H, W] in RGB (``s2tf_edge.input_form``). Keys of other names are notes and are left
alone, unless they look like one of these misspelt.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from s2tf_edge.clip_keys import (
    Kinds,
    are_numbers,
    check_keys,
    check_kinds,
    is_name,
    is_number,
    is_object,
    is_whole,
    show,
)
from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.file_kinds import CLIP_FILE, check_kind
from s2tf_edge.input_form import CHANNELS, AxisLayout, InputForm, TensorForm, sampled_frames, spread_frames
from s2tf_edge.label_file import read_labels
from s2tf_edge.spec import ClipSpec
from s2tf_edge.text_file import read_text

__all__ = ["DTYPES", "ClipFile", "read_clip_file", "spec_keys"]

DTYPES: Final = ("float32", "float16", "uint8")
"""Types in which a network may take a clip."""
_MAX_BYTES: Final = 16 * 2**20
_MAX_VIEWS: Final = 256
_REQUIRED: Final = ("frames", "crop", "mean", "std", "labels")
_FORM_KEYS: Final = ("layout", "views", "channels")
_OPTIONAL: Final = ("stride", "fps", "resize_short_side", "input", "output", *_FORM_KEYS, "dtype", "inputs")
_PATHWAY_KEYS: Final = ("frames", "every", *_FORM_KEYS)
_SPEC_KEYS: Final = ("frames", "stride", "fps", "resize_short_side", "mean", "std")
_RAW: Final[Mapping[str, list[float]]] = {"mean": [0, 0, 0], "std": [1, 1, 1]}
"""Of a network that takes pixels as they are."""


def _is_one_of(*words: str) -> tuple[Any, str]:
    return (lambda value: value in words), " or ".join(words)


_FORM_KINDS: Final[Kinds] = {
    "layout": (is_name, "text such as NTHWC"),
    "views": (lambda value: is_whole(value) and 1 <= value <= _MAX_VIEWS, f"a whole number from 1 to {_MAX_VIEWS}"),
    "channels": _is_one_of(*CHANNELS),
}
_KINDS: Final[Kinds] = {
    # What ClipSpec does not check itself: numbers that are none, such as true, would pass there.
    "fps": (is_number, "a number"),
    "resize_short_side": (is_whole, "a whole number"),
    "mean": (are_numbers, "a list of three numbers"),
    "std": (are_numbers, "a list of three numbers"),
    "input": (is_name, "the name of a tensor"),
    "output": (is_name, "the name of a tensor"),
    "dtype": _is_one_of(*DTYPES),
    "inputs": (is_object, 'an object such as {"slow": {"frames": 8}, "fast": {"frames": 32}}, by the names of inputs'),
    **_FORM_KINDS,
}
_PATHWAY_KINDS: Final[Kinds] = {
    "frames": (lambda value: is_whole(value) and value > 0, "a whole number from 1"),
    "every": (lambda value: is_whole(value) and value > 0, "a whole number from 1"),
    **_FORM_KINDS,
}


@dataclass(frozen=True, kw_only=True)
class ClipFile:
    """What a clip file says of a network."""

    name: str = "its description"
    """What messages call it: the path of the file that was read."""
    spec: ClipSpec
    """AxisLayout NCTHW, float32, RGB."""
    labels: tuple[str, ...]
    """Names of classes in the order of the logits."""
    input: str | None = None
    """Name of the tensor that takes the clip; None where the network has one input."""
    output: str | None = None
    """Name of the tensor that holds the logits; None where the network has one that can be them."""
    form: InputForm = field(default_factory=InputForm)
    """How the network takes the clip."""


def read_clip_file(path: str | Path) -> ClipFile:
    """Reads a clip file.

    Raises:
        InputFileError: the file is missing, unreadable, larger than 16 MiB or not one JSON object; a key is missing,
            misspelt or of the wrong type; a value is out of its range; keys contradict each other; class names are
            empty or not each once.
    """
    path = check_kind(path, CLIP_FILE).path
    values = _read_object(path)
    try:
        values = _with_raw_pixels(values)
        check_keys(values, required=_REQUIRED, optional=_OPTIONAL)
        check_kinds(values, _KINDS)
        spec = _spec(values)
        return ClipFile(
            name=str(path),
            spec=spec,
            labels=_labels(values["labels"], folder=path.parent),
            input=values.get("input"),
            output=values.get("output"),
            form=_form(values, frames=spec.frames),
        )
    except (ValueError, UsageError) as error:
        msg = f"{path} does not describe a clip: {error}"
        raise InputFileError(msg) from error


def spec_keys(spec: ClipSpec) -> dict[str, Any]:
    """What a clip file says of a spec; of raw pixels no mean and deviation, which are in the graph."""
    keys: dict[str, Any] = {"frames": spec.frames, "stride": spec.stride, "fps": spec.fps}
    keys |= {"resize_short_side": spec.resize_short_side, "crop": spec.size}
    normal = {"mean": list(spec.mean), "std": list(spec.std)} if spec.dtype != "uint8" else {}
    return {**keys, **normal, "layout": spec.layout, "channels": "RGB", "dtype": spec.dtype}


def _read_object(path: Path) -> dict[str, Any]:
    text = read_text(path, max_bytes=_MAX_BYTES, kind="valid JSON")
    try:
        values = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        msg = f"{path} is not valid JSON in UTF-8 ({error}); give a file that describes the network's clips"
        raise InputFileError(msg) from error
    if not isinstance(values, dict):
        msg = f"{path} must hold one JSON object with {', '.join(_REQUIRED)}; got {show(values)}"
        raise InputFileError(msg)
    return values


def _refuse_constant(name: str) -> None:
    msg = f"{name} is no JSON number"
    raise ValueError(msg)


def _with_raw_pixels(values: dict[str, Any]) -> dict[str, Any]:
    """With the mean and deviation that raw pixels have, where the network takes those."""
    if values.get("dtype") != "uint8":
        return values
    for key, raw in _RAW.items():
        if values.get(key, raw) != raw:
            msg = f"with dtype uint8 the network takes raw pixels and normalizes them itself; leave out {key}"
            raise ValueError(msg)
    return {**values, **_RAW}


def _spec(values: Mapping[str, Any]) -> ClipSpec:
    fields = {key: values[key] for key in _SPEC_KEYS if key in values}
    try:
        spec = ClipSpec(size=values["crop"], **fields)
    except OverflowError as error:
        msg = f"a number is too large ({error})"
        raise ValueError(msg) from error
    except UsageError as error:
        # A message begins with the field's name, which here is the key's.
        raise ValueError(re.sub(r"^size\b", "crop", str(error))) from error
    _check_scale(spec)
    if values.get("channels") != "BGR":
        return spec
    # The file has them in the order in which the network takes channels.
    reordered = {key: values[key][::-1] for key in ("mean", "std")}
    return ClipSpec(size=spec.size, **{**fields, **reordered})


def _check_scale(spec: ClipSpec) -> None:
    if max(spec.mean) <= 1:
        return
    right = {key: [round(value / 255, 4) for value in getattr(spec, key)] for key in ("mean", "std")}
    msg = (
        f"mean {list(spec.mean)} is that of pixels from 0 to 255, but mean and std here are of pixels from 0 to 1; "
        f'divide both by 255: "mean": {right["mean"]}, "std": {right["std"]}'
    )
    raise ValueError(msg)


def _form(values: Mapping[str, Any], *, frames: int) -> InputForm:
    tensor = _tensor_form(values, TensorForm())
    if "inputs" in values and "input" in values:
        msg = "input names the only tensor that takes the clip, and inputs several; leave one of them out"
        raise ValueError(msg)
    pathways = {name: _pathway(name, each, tensor, frames=frames) for name, each in values.get("inputs", {}).items()}
    return InputForm(tensor=tensor, pathways=pathways, dtype=values.get("dtype"))


def _tensor_form(values: Mapping[str, Any], base: TensorForm) -> TensorForm:
    """What ``values`` say of a tensor, and where they say nothing, what ``base`` does."""
    layout = AxisLayout.parse(values["layout"]) if "layout" in values else base.layout
    views = values.get("views", base.views)
    return TensorForm(
        layout=layout if views is None else layout.with_views(),
        channels=values.get("channels", base.channels),
        views=views,
    )


def _pathway(name: str, values: Mapping[str, Any], base: TensorForm, *, frames: int) -> TensorForm:
    try:
        check_keys(values, required=(), optional=_PATHWAY_KEYS)
        check_kinds(values, _PATHWAY_KINDS)
        form = _tensor_form(values, base)
        taken = _taken_frames(values, frames=frames)
        return TensorForm(layout=form.layout, channels=form.channels, views=form.views, frames=taken)
    except ValueError as error:
        msg = f"inputs, {name}: {error}"
        raise ValueError(msg) from error


def _taken_frames(values: Mapping[str, Any], *, frames: int) -> tuple[int, ...] | None:
    if "frames" in values and "every" in values:
        msg = "frames spreads so many over the clip, and every takes each so-manieth; leave one of them out"
        raise ValueError(msg)
    number = values.get("frames", values.get("every", 1))
    if number > frames:
        msg = (
            f"{show(values)} asks for more than the {frames} frames of the clip, which are those of the fastest pathway"
        )
        raise ValueError(msg)
    taken = spread_frames(number, frames=frames) if "frames" in values else sampled_frames(number, frames=frames)
    return None if len(taken) == frames else taken


def _label_file(path: Path) -> Path:
    """A file and no pipe or device, for which a clip file of somebody else would have a command wait for ever."""
    # Path.exists raises where a name is longer than a file's may be.
    if os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113
        msg = f"labels names {path.name!r}, which is no file"
        raise ValueError(msg)
    return path


def _labels(value: Any, *, folder: Path) -> tuple[str, ...]:
    if isinstance(value, str):
        return read_labels(_label_file(folder / value))
    if not isinstance(value, list) or not all(isinstance(name, str) and name.strip() for name in value):
        msg = f"labels must be a list of names, or the name of a file of them, got {show(value)}"
        raise ValueError(msg)
    if not value or len(set(value)) != len(value):
        msg = f"labels must name one class or more, each once; got {len(value)} names, {len(set(value))} different"
        raise ValueError(msg)
    return tuple(value)
