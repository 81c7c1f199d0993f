"""From a file to the weights in it: what holds them, what stands before their names, and whether they are weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from s2tf_edge.errors import InputFileError
from s2tf_edge.extras import require
from s2tf_edge.file_kinds import FileKind
from s2tf_edge.models.checkpoints.containers import find_weights
from s2tf_edge.models.checkpoints.foreign_files import check_published
from s2tf_edge.models.checkpoints.prefixes import bare_names, split_averaged
from s2tf_edge.models.model_file import read_tensors
from s2tf_edge.words import first_few, one_line

__all__ = ["Weights", "read_weights"]

_QUANTIZED_KEYS: Final = re.compile(
    r"(^|[._])(_packed_params|zero_points?|weight_scale|SCB|quant_map|quant_state|absmax|qweight|qzeros)(\.|$)"
    r"|fake_quant|activation_post_process"
)
_WHOLE_NUMBERS: Final = (torch.int8, torch.uint8, torch.int16, torch.int32, torch.bool)
_REWRITTEN: Final = (
    (
        re.compile(r"parametrizations\.|\.weight_[gv]$"),
        "weights behind a parametrization, such as weight norm",
        "take it off before saving: torch.nn.utils.parametrize.remove_parametrizations, or remove_weight_norm",
    ),
    (
        re.compile(r"\.weight_(orig|mask)$"),
        "weights with a mask of pruning beside them",
        "make it permanent before saving: torch.nn.utils.prune.remove(module, 'weight')",
    ),
    (
        re.compile(r"lora_[AB]|lora_(up|down)|\.lora\."),
        "adapters (LoRA), which change a network's weights and are none",
        "merge them into the network and save that: model.merge_and_unload().state_dict()",
    ),
)
"""Names that weights have which are put together at run time, and what to do about them."""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A checkpoint's weights by published name, in float32."""

    state: Mapping[str, Tensor]
    notes: tuple[str, ...]
    """What a user should know: what was left out or changed."""


def read_weights(path: str | Path, *, format: str = "auto", ema: bool = False) -> Weights:
    """The weights of a checkpoint.

    Args:
        path: a file that ``torch.save`` or safetensors wrote.
        format: the format to look for behind the prefixes of names, or ``auto``.
        ema: take the averaged weights instead of the last ones.

    Raises:
        InputFileError: the file is unreadable, of another kind, or holds no weights, or none that are finite floats.
    """
    path = Path(path)
    content = _read(path)
    found = find_weights(path, content)
    raw, averaged = split_averaged(found.raw, found.averaged)
    state, notes = _chosen(path, raw, averaged, ema=ema)
    _check_kind(path, state)
    state, left_out = bare_names(state, format=format)
    state, casts = _floats(path, state)
    _check_finite(path, state)
    return Weights(state=state, notes=(*notes, *left_out, *casts))


def _read(path: Path) -> Any:
    if check_published(path).kind is not FileKind.SAFETENSORS:
        return read_tensors(path)
    safetensors = require("safetensors.torch", extra="train", purpose="reading .safetensors files")
    try:
        return safetensors.load_file(path)
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror or error}"
        raise InputFileError(msg) from error
    except Exception as error:
        # Its header is anybody's: what is wrong with it comes as any of several errors.
        msg = (
            f"{path} is a .safetensors file that is damaged, or cut short at {path.stat().st_size} bytes "
            f"({one_line(error)}); copy or download it again"
        )
        raise InputFileError(msg) from error


def _chosen(
    path: Path, raw: Mapping[str, Tensor], averaged: Mapping[str, Tensor], *, ema: bool
) -> tuple[Mapping[str, Tensor], list[str]]:
    if ema and not averaged:
        msg = f"{path} holds no averaged weights (EMA); leave out `ema=True` to import those that it has"
        raise InputFileError(msg)
    if ema:
        return averaged, ["averaged weights (EMA) taken"]
    if not raw:
        return averaged, ["it holds averaged weights (EMA) alone, which are taken"]
    return raw, [
        "it holds averaged weights (EMA) too, which were not taken; to take them give `ema=True`"
    ] if averaged else []


def _check_kind(path: Path, state: Mapping[str, Tensor]) -> None:
    """Refuses integers in place of weights, and weights that are put together at run time."""
    whole = [key for key, value in state.items() if _is_whole_numbers(value) or _QUANTIZED_KEYS.search(key)]
    if whole:
        msg = (
            f"{path} holds quantized weights ({_with_type(whole[0], state)}), from which no network can be trained or "
            "quantized anew; import the float checkpoint it was made from, and quantize that: "
            "s2tf-export model.pt --target openvino --precision int8 --calib DATA"
        )
        raise InputFileError(msg)
    for pattern, what, advice in _REWRITTEN:
        keys = [key for key in state if pattern.search(key)]
        if keys:
            msg = f"{path} holds {what} ({first_few(keys, 2)}); {advice}"
            raise InputFileError(msg)
    empty = [key for key, value in state.items() if value.is_meta or (value.numel() == 0 and key.endswith("weight"))]
    if empty:
        msg = (
            f"{path} holds names without values ({first_few(empty, 2)}), as a part of a sharded checkpoint does; "
            "gather the parts into one file first, with DeepSpeed: python zero_to_fp32.py FOLDER weights.pth"
        )
        raise InputFileError(msg)


def _is_whole_numbers(value: Tensor) -> bool:
    return value.is_quantized or (value.ndim > 1 and value.dtype in _WHOLE_NUMBERS) or "float8" in str(value.dtype)


def _with_type(key: str, state: Mapping[str, Tensor]) -> str:
    return f"{key}: {str(state[key].dtype).removeprefix('torch.')}"


def _floats(path: Path, state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    complex_keys = [key for key, value in state.items() if value.is_complex()]
    if complex_keys:
        msg = f"{path} holds complex numbers ({first_few(complex_keys, 2)}), which no network here has"
        raise InputFileError(msg)
    dense = {key: value.to_dense() if value.layout != torch.strided else value for key, value in state.items()}
    others = {str(value.dtype).removeprefix("torch.") for value in dense.values() if value.is_floating_point()}
    others -= {"float32"}
    floats = {key: value.float() if value.is_floating_point() else value for key, value in dense.items()}
    return floats, [f"weights in {', '.join(sorted(others))} became float32"] if others else []


def _check_finite(path: Path, state: Mapping[str, Tensor]) -> None:
    bad = [key for key, value in state.items() if value.is_floating_point() and not bool(value.isfinite().all())]
    if bad:
        msg = (
            f"{path} holds weights that are NaN or infinite ({first_few(bad, 3)}), as a training run that diverged "
            "leaves them; give an earlier checkpoint"
        )
        raise InputFileError(msg)
