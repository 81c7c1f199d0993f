"""Inputs of a graph from elsewhere, held against what its clip file says that they take."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from s2tf_edge.clip_file import DTYPES, ClipFile
from s2tf_edge.errors import InputFileError
from s2tf_edge.export.sources.clips.layout_guess import Dims, guess_layouts
from s2tf_edge.export.sources.clips.values import dims_of, name_type, names_of, show_dims
from s2tf_edge.input_form import TensorForm
from s2tf_edge.runtime.session import Clips

__all__ = ["DTYPE_NAMES", "ClipInputs", "read_inputs"]

_WORDS: Final = {"N": "clips", "V": "views", "C": "channels", "T": "frames", "H": "height", "W": "width"}
DTYPE_NAMES: Final = {ir.DataType.FLOAT: "float32", ir.DataType.FLOAT16: "float16", ir.DataType.UINT8: "uint8"}
"""By how a graph has it, how a clip file says it: in the order of ``DTYPES``."""


@dataclass(frozen=True, kw_only=True)
class ClipInputs:
    """What a graph's inputs take, all of it known."""

    forms: Mapping[str, TensorForm]
    """By the names of the inputs, in their order."""
    batch: int | None
    """Clips that the graph takes at once; None for any number."""
    rows: frozenset[int]
    """How many rows of logits one clip may give, beside one: a network may give one for each view or picture."""

    def feed(self, clips: Clips, dtypes: Mapping[str, str]) -> dict[str, NDArray[Any]]:
        """Clips, float32 [N, 3, T, H, W] in RGB, as the inputs take them.

        Args:
            clips: as all of the toolkit has them.
            dtypes: numpy's name of the type that each input takes.
        """
        floats = clips.astype(np.float32, copy=False)
        return {name: form.feed(floats, dtypes[name]) for name, form in self.forms.items()}


def read_inputs(
    model: ir.Model, path: Path, clip_file: ClipFile, *, types: Mapping[str, ir.DataType | None]
) -> ClipInputs:
    """Finds what each input of a graph takes.

    Args:
        model: with shapes.
        path: its file, for messages.
        clip_file: what it is said to take.
        types: of the inputs in the file as it came, by name.

    Raises:
        InputFileError: an input is not described, or is of another type or shape than the clip file says; the message
            says which layout its shape would fit.
    """
    forms = _described(model.graph.inputs, path, clip_file)
    sides = {"frames": clip_file.spec.frames, "size": clip_file.spec.size}
    found: dict[str, TensorForm] = {}
    batches: dict[str, int | None] = {}
    rows: set[int] = set()
    for value in model.graph.inputs:
        name = str(value.name)
        _check_dtype(name, types[name], path, clip_file)
        form = _with_known_views(forms[name], dims_of(value))
        lengths = form.sides(**sides)
        if not form.layout.fits(dims_of(value), lengths):
            raise InputFileError(_misfit(value, form, path, clip_file))
        found[name], batches[name] = form, form.layout.clips(dims_of(value), lengths)
        rows |= _rows(form, lengths)
    return ClipInputs(forms=found, batch=_common_batch(batches, path), rows=frozenset(rows - {1}))


def _rows(form: TensorForm, sides: Mapping[str, int]) -> set[int]:
    """Rows where each view has its own, each picture of a batch of pictures, or both."""
    views = sides["V"] if "V" in form.layout.letters else 1
    frames = sides["T"] if any(axis.startswith("N") and "T" in axis for axis in form.layout.axes) else 1
    return {views, frames, views * frames}


def _described(inputs: Sequence[ir.Value], path: Path, clip_file: ClipFile) -> Mapping[str, TensorForm]:
    pathways, names = clip_file.form.pathways, [str(value.name) for value in inputs]
    if pathways:
        if set(pathways) != set(names):
            said, has = ", ".join(pathways), names_of(inputs)
            msg = f"{clip_file.name} describes the inputs {said}, but {path} has {has}; describe each of these once"
            raise InputFileError(msg)
        return pathways
    if len(inputs) != 1:
        raise InputFileError(_several(inputs, path, clip_file))
    if clip_file.input not in {None, names[0]}:
        msg = f"{clip_file.name} names the input {clip_file.input!r}, but {path} has {names[0]}; correct it"
        raise InputFileError(msg)
    return {names[0]: clip_file.form.tensor}


def _several(inputs: Sequence[ir.Value], path: Path, clip_file: ClipFile) -> str:
    takes = f"{path} takes {len(inputs)} inputs ({names_of(inputs)})"
    if not inputs:
        return f"{takes}; a network here takes one clip"
    pathways = ", ".join(f'"{value.name}": {{"frames": …}}' for value in inputs)
    return (
        f"{takes}; a network here takes one clip, or a clip through several pathways: then say in {clip_file.name} how "
        f'many of its {clip_file.spec.frames} frames each takes: "inputs": {{{pathways}}}'
    )


def _check_dtype(name: str, dtype: ir.DataType | None, path: Path, clip_file: ClipFile) -> None:
    got, said = DTYPE_NAMES.get(dtype or ir.DataType.UNDEFINED), clip_file.form.dtype
    what = f"input {name} of {path}"
    if got is None:
        allowed = f"{', '.join(DTYPES[:-1])} or {DTYPES[-1]}"
        msg = f"{what} is {name_type(dtype)}, but must be {allowed}; export the network with an input of these"
        raise InputFileError(msg)
    # Between float32 and float16 nothing is to be told: either is cast to what the graph takes.
    if said is not None and "uint8" in {said, got} and said != got:
        msg = f'{what} is {got}, but {clip_file.name} says dtype {said}; write "dtype": "{got}"'
        raise InputFileError(msg)
    if said is None and got == "uint8":
        # Else mean and std would be taken for what is done before the graph.
        msg = (
            f'{what} is uint8, so it takes raw pixels; write "dtype": "uint8" in {clip_file.name}, without mean and std'
        )
        raise InputFileError(msg)


def _with_known_views(form: TensorForm, dims: Dims) -> TensorForm:
    """With the number of views that the graph has, where the clip file leaves it to that."""
    if form.views is not None or "V" not in form.layout.axes or len(dims) != len(form.layout.axes):
        return form
    return dataclasses.replace(form, views=dims[form.layout.axes.index("V")] or 1)


def _common_batch(batches: Mapping[str, int | None], path: Path) -> int | None:
    if len(set(batches.values())) > 1:
        each = ", ".join(f"{name} {batch or 'any number of'}" for name, batch in batches.items())
        msg = f"inputs of {path} take different numbers of clips at once ({each}); export it with one number for all"
        raise InputFileError(msg)
    return next(iter(batches.values()))


def _misfit(value: ir.Value, form: TensorForm, path: Path, clip_file: ClipFile) -> str:
    spec, dims = clip_file.spec, dims_of(value)
    sides = form.sides(frames=spec.frames, size=spec.size)
    axes = ", ".join(" × ".join(_WORDS[letter] for letter in axis) for axis in form.layout.axes)
    return (
        f"input {value.name} of {path} is {show_dims(dims)}, but with the frames ({sides['T']}) and crop ({spec.size}) "
        f"of {clip_file.name} it should be {show_dims(form.layout.shape(sides))} ({axes}); "
        f"{_advice(dims, form, sides)}"
    )


def _advice(dims: Dims, form: TensorForm, sides: Mapping[str, int]) -> str:
    """What to write, where some layout fits the shape; a layout that is right stays, and numbers are corrected."""
    guesses = guess_layouts(dims)
    if not guesses:
        return f"correct the one or the other{_oddity(dims, form)}"
    guess = next((each for each in guesses if each.layout == form.layout), guesses[0])
    keys: dict[str, object] = {} if guess.layout == form.layout else {"layout": "NCTHW", **guess.keys()}
    numbers = {"frames": (guess.frames, sides["T"]), "crop": (guess.size, sides["H"])}
    keys |= {key: got for key, (got, said) in numbers.items() if got not in {None, said}}
    keys |= {"views": guess.views} if "V" in guess.layout.letters and guess.views not in {None, form.views} else {}
    words = ", ".join(f'"{key}": {json.dumps(each)}' for key, each in keys.items())
    drops = " and leave out views" if form.views is not None and "V" not in guess.layout.letters else ""
    fitting = " or ".join(str(each.layout) for each in guesses)
    return f"that is the shape of layout {fitting}: write {words}{drops}, or export the network anew"


def _oddity(dims: Dims, form: TensorForm) -> str:
    sides = dict(zip(form.layout.axes, dims, strict=False))
    if len(dims) == len(form.layout.axes) and len({sides.get("H"), sides.get("W")} - {None}) > 1:
        return "; pictures are square here, of one height and width"
    if dims and not any(side is None or side % 3 == 0 for side in dims):
        return "; it has no axis of 3 channels, which is what clips have here"
    return ""
