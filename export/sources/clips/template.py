"""The clip file of a graph from elsewhere, filled in by its shapes.

What is guessed stands there like what is known, so that the file can be used as it is and mended afterwards; ``notes``
say which is which.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import onnx_ir as ir

from s2tf_edge.clip_file import spec_keys
from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.export.sources.clips.canonical_input import make_canonical
from s2tf_edge.export.sources.clips.class_names import class_names
from s2tf_edge.export.sources.clips.clip_inputs import DTYPE_NAMES
from s2tf_edge.export.sources.clips.layout_guess import Dims, LayoutGuess, guess_layouts
from s2tf_edge.export.sources.clips.logits_output import FLOATS
from s2tf_edge.export.sources.clips.values import dims_of, find_value, name_type, names_of, show_dims
from s2tf_edge.export.sources.graphs.plain_graph import ShapeError, infer_output, keep_output
from s2tf_edge.input_form import TensorForm, spread_frames
from s2tf_edge.spec import ClipSpec

__all__ = ["fill_template"]

logger = logging.getLogger(__name__)

_FRAMES: Final = 16
_PICTURES: Final = 8
_SIZE: Final = 224
"""Guesses where a graph takes any number: of frames, of pictures that it takes as a batch, and of pixels."""
_PROBE: Final = 2400
"""Pictures that tell how many make a clip, by the rows of logits that they give: a multiple of the usual numbers."""
_ABOUT: Final = "what is a guess here the graph does not tell: write what the network was trained with"
_OPEN: Final = "a guess: the graph takes any number"


def fill_template(model: ir.Model, path: Path, *, types: Mapping[str, ir.DataType | None]) -> dict[str, Any]:
    """The keys of a clip file for a graph, and ``notes`` of what is guessed.

    Args:
        model: as read, with shapes.
        path: its file, for messages.
        types: of the inputs in the file as it came, by name.

    Raises:
        InputFileError: an input has no shape or type that a clip could have, or no output can be logits.
    """
    guesses = {str(value.name): _guesses(value, types[str(value.name)], path) for value in model.graph.inputs}
    if not guesses:
        msg = f"{path} takes no input; a network here takes one clip"
        raise InputFileError(msg)
    dtype = DTYPE_NAMES[next(iter(types.values())) or ir.DataType.FLOAT]
    return _Template(model, guesses, _choose_output(model, path), dtype=dtype).fill()


def _guesses(value: ir.Value, dtype: ir.DataType | None, path: Path) -> list[LayoutGuess]:
    found, what = guess_layouts(dims_of(value)), f"input {value.name} of {path} is {name_type(dtype)}"
    if not found or dtype not in DTYPE_NAMES:
        msg = (
            f"{what} {show_dims(dims_of(value))}, which is no clip of square pictures in three channels; a network "
            f"here takes {', '.join(DTYPE_NAMES.values())}, such as [N, 3, T, H, W] or [N, T, H, W, 3]"
        )
        raise InputFileError(msg)
    return found


def _choose_output(model: ir.Model, path: Path) -> ir.Value:
    """An output that is called logits, or else the first that can be."""
    outputs = [value for value in model.graph.outputs if value.dtype in FLOATS]
    named = find_value(outputs, "logits")
    if not outputs:
        msg = f"{path} gives {names_of(model.graph.outputs)}, none of which is float32 logits; export the logits"
        raise InputFileError(msg)
    return named or outputs[0]


class _Template:
    """One clip file in the making.

    Args:
        model: the graph.
        guesses: by input, the layouts that its shape fits, the likeliest first.
        output: what is taken for the logits.
        dtype: of the inputs in the file as it came.
    """

    def __init__(
        self, model: ir.Model, guesses: Mapping[str, list[LayoutGuess]], output: ir.Value, *, dtype: str
    ) -> None:
        self._model, self._output, self._dtype = model, str(output.name), dtype
        self._guesses = guesses
        self._inputs = {name: found[0] for name, found in guesses.items()}
        self._main = max(self._inputs.values(), key=lambda guess: guess.frames or 0)
        self._size = self._main.size or _SIZE
        self._notes: dict[str, str] = {}

    def fill(self) -> dict[str, Any]:
        """All keys in the order in which they are read best."""
        frames = self._count_frames()
        dims = self._infer(frames) or dims_of(self._logits(self._model))
        values = self._clip_keys(frames)
        values |= {"dtype": self._dtype}
        values |= self._pathways(frames)
        if len(self._model.graph.outputs) > 1:
            values["output"] = self._output
            self._notes["output"] = f"one of {names_of(self._model.graph.outputs)}"
        values["labels"] = self._labels(dims)
        return {**values, "notes": self._notes} if self._notes else values

    def _logits(self, model: ir.Model) -> ir.Value:
        return next(value for value in model.graph.outputs if value.name == self._output)

    def _clip_keys(self, frames: int) -> dict[str, Any]:
        spec = ClipSpec(frames=frames, size=self._size)
        own = _own_spec(self._model, spec)
        values = spec_keys(own or spec)
        if self._dtype == "uint8":
            values = {key: value for key, value in values.items() if key not in {"mean", "std"}}
        self._note_layout()
        if own is None:
            self._note_spec()
            values |= self._main.keys()
        return values

    def _note_spec(self) -> None:
        self._notes = {"about": _ABOUT, **self._notes}
        if self._main.frames is None:
            self._notes.setdefault("frames", _OPEN)
        if self._main.size is None:
            self._notes["crop"] = _OPEN
        for key in ("stride", "fps", "resize_short_side"):
            self._notes[key] = "a guess"
        if self._dtype != "uint8":
            self._notes["mean"] = self._notes["std"] = (
                "a guess: of pixels from 0 to 1, in the network's order of channels"
            )
        self._notes["channels"] = "a guess: BGR where it was trained on OpenCV's pictures"

    def _note_layout(self) -> None:
        others = [str(guess.layout) for found in self._guesses.values() for guess in found[1:]]
        if not self._main.is_sure:
            self._notes["layout"] = "a guess, as the graph does not say which axis has the three channels"
        elif "TC" in self._main.layout.axes:
            self._notes["layout"] = "a guess: N(CT)HW where all frames of one channel come before those of the next"
        elif others:
            self._notes["layout"] = f"the shape fits {', '.join(others)} as well"
        if "V" in self._main.layout.letters:
            self._notes["views"] = "the clip is given to each view; one view is as good and takes less time"

    def _pathways(self, frames: int) -> dict[str, Any]:
        if len(self._inputs) == 1:
            return {}
        self._notes["inputs"] = (
            "frames are spread from first to last, as by SlowFast and PyTorchVideo; "
            '"every": 4 instead takes each 4th, as MMAction2 does'
        )
        own = self._main.keys()
        return {
            "inputs": {
                name: {
                    "frames": guess.frames or frames,
                    **({} if guess.keys() == own else {"layout": "NCTHW"} | guess.keys()),
                }
                for name, guess in self._inputs.items()
            }
        }

    def _labels(self, dims: Dims) -> list[str]:
        count = _count_classes(dims)
        if count is None:
            self._notes["labels"] = "the graph does not tell how many; write their names in the order of the logits"
        names = class_names(self._model.metadata_props, count=count)
        if names is not None:
            self._notes.pop("labels", None)
            return list(names)
        self._notes.setdefault(
            "labels", f"placeholders: write the {count} names in the order of the logits, or the name of a file of them"
        )
        return [f"class {index}" for index in range(count or 1)]

    def _count_frames(self) -> int:
        """Frames of a clip; where pictures come as one batch, by the rows of logits that they give."""
        if not self._main.layout.axes[0].startswith("NT"):
            return self._main.frames or _FRAMES
        pictures = self._main.frames or _PROBE
        rows = (self._infer(pictures) or (None,))[0]
        if rows is None or not 1 < rows < pictures or pictures % rows:
            return self._main.frames or _PICTURES
        self._notes["frames"] = "as many as make one row of logits"
        return pictures // rows

    def _infer(self, frames: int) -> Dims | None:
        """The shape of the logits of one clip; None where the graph cannot take so many frames."""
        model = self._model.clone()
        keep_output(model, self._logits(model))
        forms = {name: _form(guess, frames) for name, guess in self._inputs.items()}
        try:
            make_canonical(model, forms, frames=frames, size=self._size)
            return infer_output(model, (1, 3, frames, self._size, self._size))
        except ShapeError as error:
            logger.debug("a clip of %d frames does not fit: %s", frames, error)
            return None


def _form(guess: LayoutGuess, frames: int) -> TensorForm:
    count = guess.frames or frames
    taken = spread_frames(count, frames=frames) if count < frames else None
    return TensorForm(layout=guess.layout, views=guess.views or 1, frames=taken)


def _count_classes(dims: Dims) -> int | None:
    """The length of the last axis that is longer than one, but the first."""
    if len(dims) < 2:
        return dims[0] if dims else None
    sides = [side for side in dims[1:] if side != 1]
    return sides[-1] if sides else 1


def _own_spec(model: ir.Model, spec: ClipSpec) -> ClipSpec | None:
    """What the toolkit's own graphs say of their clips; None where it is nothing, or not what the shapes say."""
    try:
        own = ClipSpec.from_dict(json.loads(model.metadata_props.get("clip", "")))
    except (ValueError, TypeError, RecursionError, InputFileError, UsageError):
        return None
    return own if (own.frames, own.size) == (spec.frames, spec.size) else None
