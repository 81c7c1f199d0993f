"""The first convolution of a network in a form that integer kernels run well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from s2tf_edge.export.passes.graph_edits import GraphEditor, layer_of

__all__ = ["FoldStrides"]

_MAX_CHANNELS: Final = 4
_MIN_KERNEL: Final = 5
"""Below it, moving the pixels costs more than the convolution gains."""


class FoldStrides(ir.passes.InPlacePass):
    """A wide convolution that halves few channels, as one of stride 1 over blocks of 2×2 pixels: the same sums.

        x [N, 3, T, H, W]               kernel 7×7, stride 2     3 values of each position to multiply at once
        x [N, 12, T, H / 2, W / 2]      kernel 4×4, stride 1     12

    Integer kernels multiply 4 to 64 channels at once, and fill up with zeros what is missing: with three channels, the
    stem took a quarter of the time of an integer S2TF Non-local I3D on a processor with matrix tiles.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Folds convolutions whose shapes and weights are known, and leaves the rest."""
        editor = GraphEditor(model.graph)
        found = [stem for node in model.graph if node.op_type == "Conv" and (stem := _strided_stem(node)) is not None]
        for stem in found:
            _fold(stem, editor)
        return ir.passes.PassResult(model, bool(found))


@dataclass(frozen=True, kw_only=True)
class _Stem:
    """A convolution that takes two pixels a step."""

    node: ir.Node
    x: ir.Value
    weight: NDArray[np.float32]
    """[channels out, channels in, T, H, W]."""
    sides: tuple[int, int, int, int]
    """Channels, frames, height and width of ``x``."""
    stride: int
    """In time."""
    pads: tuple[int, ...]
    """Of time, height and width: at their beginnings, then at their ends."""


def _strided_stem(node: ir.Node) -> _Stem | None:
    """What is to be folded; None of any other convolution."""
    x, weight = node.inputs[:2]
    tensor = None if weight is None else ir.convenience.get_const_tensor(weight)
    shape = () if x is None or x.shape is None else x.shape[1:]
    sides = tuple(side for side in shape if isinstance(side, int))
    if x is None or tensor is None or len(sides) != 4 or not _is_plain(node):
        return None
    strides = list(node.attributes.get_ints("strides", [1, 1, 1]))
    is_wide = min(tensor.numpy().shape[3:]) >= _MIN_KERNEL
    if sides[0] > _MAX_CHANNELS or sides[2] % 2 or sides[3] % 2 or strides[1:] != [2, 2] or not is_wide:
        return None
    pads = tuple(node.attributes.get_ints("pads", [0] * 6))
    return _Stem(node=node, x=x, weight=tensor.numpy(), sides=sides, stride=strides[0], pads=pads)


def _is_plain(node: ir.Node) -> bool:
    attributes = node.attributes
    return (
        attributes.get_int("group", 1) == 1
        and set(attributes.get_ints("dilations", [1])) == {1}
        and attributes.get_string("auto_pad", "NOTSET") == "NOTSET"
    )


def _fold(stem: _Stem, editor: GraphEditor) -> None:
    node, weight = stem.node, stem.weight
    for axis in (4, 3):
        weight = _fold_taps(weight, axis, front=stem.pads[axis - 2] % 2)
    outs, channels, frames, rows, _, columns, _ = weight.shape
    # Channels of a block as SpaceToDepth orders them: row and column in the block, then its own channel.
    blocks = weight.transpose(0, 4, 6, 1, 2, 3, 5).reshape(outs, 4 * channels, frames, rows, columns)
    layer = layer_of(node)
    node.replace_input_with(0, _pixel_blocks(stem, editor, layer))
    node.replace_input_with(1, editor.constant(ir.tensor(blocks), name=f"{layer}/blocks"))
    node.attributes["strides"] = ir.AttrInt64s("strides", [stem.stride, 1, 1])
    node.attributes["kernel_shape"] = ir.AttrInt64s("kernel_shape", blocks.shape[2:])
    node.attributes["pads"] = ir.AttrInt64s("pads", _block_pads(stem, blocks.shape[3:]))


def _fold_taps(weight: NDArray[np.float32], axis: int, *, front: int) -> NDArray[np.float32]:
    """Splits an axis of taps into pairs, the first of which begins ``front`` taps before it.

    taps       a b c d e f g        front = 1
    pairs    (0 a)(b c)(d e)(f g)
    """
    back = (weight.shape[axis] + front) % 2
    width = [(front, back) if each == axis else (0, 0) for each in range(weight.ndim)]
    padded = np.pad(weight, width)
    return padded.reshape(*padded.shape[:axis], -1, 2, *padded.shape[axis + 1 :])


def _block_pads(stem: _Stem, kernel: tuple[int, ...]) -> list[int]:
    """Paddings in blocks, for as many results as before."""
    begins, ends = list(stem.pads[:3]), list(stem.pads[3:])
    for axis in (1, 2):
        begin, end, side = stem.pads[axis], stem.pads[axis + 3], stem.sides[axis + 1]
        results = (side + begin + end - stem.weight.shape[axis + 2]) // 2 + 1
        begins[axis] = (begin + begin % 2) // 2
        ends[axis] = results - 1 + kernel[axis - 1] - begins[axis] - side // 2
    return [*begins, *ends]


def _pixel_blocks(stem: _Stem, editor: GraphEditor, layer: str) -> ir.Value:
    """[N, 4 · channels, T, H / 2, W / 2]. ONNX folds images, so frames stand among the channels meanwhile."""
    channels, frames, height, width = stem.sides
    batch = stem.x.shape[0] if stem.x.shape else None
    images = _reshape(stem, editor, stem.x, (channels * frames, height, width), layer)
    folded = editor.insert(stem.node, "SpaceToDepth", [images], layer=layer, attributes={"blocksize": 2})
    folded.type = stem.x.type
    folded.shape = ir.Shape([batch, 4 * channels * frames, height // 2, width // 2])
    return _reshape(stem, editor, folded, (4 * channels, frames, height // 2, width // 2), layer)


def _reshape(stem: _Stem, editor: GraphEditor, x: ir.Value, sides: tuple[int, ...], layer: str) -> ir.Value:
    """``x`` with other sides behind the batch."""
    batch = stem.x.shape[0] if stem.x.shape else None
    shape = editor.constant(ir.tensor(np.array([0, *sides], np.int64)), name=f"{layer}/shape")
    return editor.insert(stem.node, "Reshape", [x, shape], layer=layer, dtype=x.dtype, shape=ir.Shape([batch, *sides]))
