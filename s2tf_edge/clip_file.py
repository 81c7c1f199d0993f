"""The JSON file that says what a plain ``.onnx`` takes and names: ``s2tf-export net.onnx --meta net.json``.

    {"frames": 32, "stride": 2, "fps": 25, "resize_short_side": 256, "crop": 224,
     "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "labels": ["abseiling", …]}

``frames``, ``crop``, ``mean``, ``std`` and ``labels`` must be there; the others default as in ``ClipSpec``.
``labels`` may also name a file of class names, beside this one. ``input`` and ``output`` name the network's tensors,
where it has several. Keys of other names are notes and are left alone, unless they look like one of these misspelt.
"""

from __future__ import annotations

import difflib
import json
import logging
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.file_kinds import CLIP_FILE, check_kind
from s2tf_edge.label_file import read_labels
from s2tf_edge.spec import ClipSpec

__all__ = ["ClipFile", "read_clip_file"]

logger = logging.getLogger(__name__)

_MAX_BYTES: Final = 16 * 2**20
_REQUIRED: Final = ("frames", "crop", "mean", "std", "labels")
_OPTIONAL: Final = ("stride", "fps", "resize_short_side", "input", "output")
_SPEC_KEYS: Final = ("frames", "stride", "fps", "resize_short_side", "mean", "std")
_ALIKE: Final = 0.75
"""Likeness (0 to 1) from which a key counts as misspelt: ``frame`` is 0.91 like ``frames``, ``std`` 0.67 ``stride``."""


@dataclass(frozen=True, kw_only=True)
class ClipFile:
    """What a clip file says of a network."""

    name: str = "its description"
    """What messages call it: the path of the file that was read."""
    spec: ClipSpec
    """Layout NCTHW, float32."""
    labels: tuple[str, ...]
    """Names of classes in the order of the logits."""
    input: str | None = None
    """Name of the tensor that takes the clip; None where the network has one input."""
    output: str | None = None
    """Name of the tensor that holds the logits; None where the network has one that can be them."""


def read_clip_file(path: str | Path) -> ClipFile:
    """Reads a clip file.

    Raises:
        InputFileError: the file is missing, unreadable, larger than 16 MiB or not one JSON object; a key is missing,
            misspelt or of the wrong type; a value is out of its range; class names are empty or not each once.
    """
    path = check_kind(path, CLIP_FILE).path
    values = _read_object(path)
    try:
        _check_keys(values)
        for key in values:
            _check_type(key, values[key])
        return ClipFile(
            name=str(path),
            spec=_spec(values),
            labels=_labels(values["labels"], folder=path.parent),
            input=values.get("input"),
            output=values.get("output"),
        )
    except (ValueError, UsageError) as error:
        msg = f"{path} does not describe a clip: {error}"
        raise InputFileError(msg) from error


def _read_object(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(_read_text(path), parse_constant=_refuse_constant)
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror}"
        raise InputFileError(msg) from error
    except (ValueError, RecursionError) as error:
        msg = f"{path} is not valid JSON in UTF-8 ({error}); give a file that describes the network's clips"
        raise InputFileError(msg) from error
    if not isinstance(values, dict):
        msg = f"{path} must hold one JSON object with {', '.join(_REQUIRED)}; got {_shown(values)}"
        raise InputFileError(msg)
    return values


def _read_text(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        msg = f"it is larger than {_MAX_BYTES} bytes"
        raise ValueError(msg)
    return data.decode("utf-8-sig")


def _refuse_constant(name: str) -> None:
    msg = f"{name} is no JSON number"
    raise ValueError(msg)


def _check_keys(values: Mapping[str, Any]) -> None:
    missing = [key for key in _REQUIRED if key not in values]
    known = (*_REQUIRED, *_OPTIONAL)
    notes = [key for key in values if key not in known]
    misspelt = {key: alike[0] for key in notes if (alike := difflib.get_close_matches(key.lower(), known, 1, _ALIKE))}
    if missing or misspelt:
        parts = [f"it lacks {', '.join(missing)}"] if missing else []
        parts += [f"{key!r} looks like {meant!r} misspelt" for key, meant in misspelt.items()]
        msg = f"{'; '.join(parts)}; required are {', '.join(_REQUIRED)}, allowed {', '.join(_OPTIONAL)}"
        raise ValueError(msg)
    if notes:
        logger.debug("keys taken as notes: %s", ", ".join(notes))


def _check_type(key: str, value: Any) -> None:
    fits, words = _TYPES.get(key, (None, ""))
    if fits is not None and not fits(value):
        msg = f"{key} must be {words}, got {_shown(value)}"
        raise ValueError(msg)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is_whole(value) or (isinstance(value, float) and math.isfinite(value))


def _are_numbers(values: Any) -> bool:
    return isinstance(values, list) and len(values) == 3 and all(map(_is_number, values))


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


_TYPES: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    "fps": (_is_number, "a number"),
    "resize_short_side": (_is_whole, "a whole number"),
    "mean": (_are_numbers, "a list of three numbers"),
    "std": (_are_numbers, "a list of three numbers"),
    "input": (_is_name, "the name of a tensor"),
    "output": (_is_name, "the name of a tensor"),
}
"""What ``ClipSpec`` does not check itself: numbers that are none, such as true, would pass there."""


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _spec(values: Mapping[str, Any]) -> ClipSpec:
    fields = {key: values[key] for key in _SPEC_KEYS if key in values}
    try:
        return ClipSpec(size=values["crop"], **fields)
    except OverflowError as error:
        msg = f"a number is too large ({error})"
        raise ValueError(msg) from error
    except UsageError as error:
        # A message begins with the field's name, which here is the key's.
        raise ValueError(re.sub(r"^size\b", "crop", str(error))) from error


def _labels(value: Any, *, folder: Path) -> tuple[str, ...]:
    if isinstance(value, str):
        return read_labels(folder / value)
    if not isinstance(value, list) or not all(isinstance(name, str) and name.strip() for name in value):
        msg = f"labels must be a list of names, or the name of a file of them, got {_shown(value)}"
        raise ValueError(msg)
    if not value or len(set(value)) != len(value):
        msg = f"labels must name one class or more, each once; got {len(value)} names, {len(set(value))} different"
        raise ValueError(msg)
    return tuple(value)
