"""How networks from elsewhere take a clip: order of axes and channels, views, pathways with frames of their own.

All of the toolkit speaks of one clip, float32 [N, 3, T, H, W] in RGB. A network from elsewhere may want the same
numbers arranged otherwise. ``InputForm`` says how, and arranges them in numpy: that is what feeds a file as it came.
The same in nodes of a graph, written apart from this so that each proves the other, is
``s2tf_edge.export.sources.clips.canonical_input``.

A layout names the axes in their order by the letters N (clips), V (views), C (channels), T (frames), H (rows) and W
(columns). Axes that are merged into one stand in parentheses, the outer one first:

    NCTHW      [N, 3, T, H, W]      PyTorch's 3D networks
    NTHWC      [N, T, H, W, 3]      TensorFlow's
    NTCHW      [N, T, 3, H, W]      networks of pictures in a row
    NVCTHW     [N, V, 3, T, H, W]   MMAction2's, with its axis of views
    (NT)CHW    [N × T, 3, H, W]     TSN and TSM: the frames of all clips as one batch of pictures
    N(TC)HW    [N, T × 3, H, W]     frames stacked into channels
    CTHW       [3, T, H, W]         one clip, without an axis for several
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["CHANNELS", "LAYOUT_WORDS", "AxisLayout", "InputForm", "TensorForm", "sampled_frames", "spread_frames"]

CHANNELS: Final = ("RGB", "BGR")
LAYOUT_WORDS: Final = (
    "NCTHW, NTHWC, NTCHW, or another order of N (clips), V (views), C (channels), T (frames), H (rows) and W "
    "(columns), merged axes in parentheses as in (NT)CHW"
)
"""What a layout may be, for error messages."""
_LAYOUT: Final = re.compile(r"(?:[NVCTHW]|\([NVCTHW]{2,}\))+")
_AXIS: Final = re.compile(r"\w|\(\w+\)")
_PIXEL: Final = 255.0


@dataclass(frozen=True)
class AxisLayout:
    """The axes of a tensor that takes clips.

    Attributes:
        axes: the letters of each axis, several where axes are merged, as in ``("NT", "C", "H", "W")``.

    Raises:
        ValueError: from ``parse``.
    """

    axes: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> AxisLayout:
        """Reads a layout such as ``NTHWC`` or ``(NT)CHW``.

        Raises:
            ValueError: it is none.
        """
        letters = re.sub(r"[()]", "", text)
        if not _LAYOUT.fullmatch(text) or len(set(letters)) != len(letters) or not set("CTHW") <= set(letters):
            msg = f"layout must be {LAYOUT_WORDS}; got {text!r}"
            raise ValueError(msg)
        axes = tuple(axis.strip("()") for axis in _AXIS.findall(text))
        if any("N" in axis[1:] for axis in axes):
            msg = f"layout {text!r} merges N behind another axis; N must be the outer one, as in (NT)CHW"
            raise ValueError(msg)
        return cls(axes)

    def __str__(self) -> str:
        return "".join(axis if len(axis) == 1 else f"({axis})" for axis in self.axes)

    @property
    def letters(self) -> str:
        """All letters in their order, without parentheses."""
        return "".join(self.axes)

    def with_views(self) -> AxisLayout:
        """The same with an axis of views behind that of clips, where it has none."""
        if "V" in self.letters:
            return self
        behind = next((index for index, axis in enumerate(self.axes, start=1) if axis == "N"), 0)
        return AxisLayout((*self.axes[:behind], "V", *self.axes[behind:]))

    def shape(self, sides: Mapping[str, int]) -> tuple[int | None, ...]:
        """Lengths of the axes, of those of the letters; None for one that counts clips, where ``sides`` has no N."""
        return tuple(
            math.prod(sides[letter] for letter in axis) if all(letter in sides for letter in axis) else None
            for axis in self.axes
        )

    def clips(self, dims: tuple[int | None, ...], sides: Mapping[str, int]) -> int | None:
        """How many clips a tensor of shape ``dims`` takes at once; None for any number."""
        for axis, side in zip(self.axes, dims, strict=True):
            if axis.startswith("N"):
                rest = math.prod(sides[letter] for letter in axis[1:])
                return None if side is None else side // rest
        return 1

    def fits(self, dims: tuple[int | None, ...], sides: Mapping[str, int]) -> bool:
        """Whether a tensor of shape ``dims``, None where any length will do, can take clips of ``sides`` so."""
        if len(dims) != len(self.axes):
            return False
        for axis, side in zip(self.axes, dims, strict=True):
            wanted = math.prod(sides[letter] for letter in axis if letter != "N")
            if side is not None and (side % wanted if axis.startswith("N") else side != wanted):
                return False
        return 0 not in dims


@dataclass(frozen=True, kw_only=True)
class TensorForm:
    """How one tensor takes a clip."""

    layout: AxisLayout = field(default_factory=lambda: AxisLayout.parse("NCTHW"))
    channels: str = "RGB"
    views: int | None = None
    """Copies of the clip along the axis V; None where there is none, or where the graph tells their number."""
    frames: tuple[int, ...] | None = None
    """Indices of the frames that it takes, from 0; None for all of them."""

    @property
    def is_plain(self) -> bool:
        """Whether it takes the clip as it is."""
        return str(self.layout) == "NCTHW" and self.channels == "RGB" and self.frames is None

    def sides(self, *, frames: int, size: int) -> dict[str, int]:
        """Lengths by the letters of the layout, but N, for clips of so many frames and a square of ``size``."""
        count = frames if self.frames is None else len(self.frames)
        return {"V": self.views or 1, "C": 3, "T": count, "H": size, "W": size}

    def feed(self, clips: NDArray[np.float32], dtype: str) -> NDArray[Any]:
        """Clips as this tensor takes them.

        Args:
            clips: float32 [N, 3, T, H, W], RGB. N is 1 where the layout has no N.
            dtype: that of the tensor. Of uint8, clips are pixels over 255, which are put back to whole numbers.
        """
        values: NDArray[Any] = clips if self.frames is None else clips[:, :, list(self.frames)]
        values = values if self.channels == "RGB" else values[:, ::-1]
        values = np.rint(values * _PIXEL) if dtype == "uint8" else values
        letters = "NCTHW"
        if "V" in self.layout.letters:
            letters, values = "NVCTHW", np.repeat(values[:, np.newaxis], self.views or 1, axis=1)
        if "N" not in self.layout.letters:
            letters, values = letters[1:], values[0]
        sides = dict(zip(letters, values.shape, strict=True))
        ordered = values.transpose([letters.index(letter) for letter in self.layout.letters])
        merged = ordered.reshape([math.prod(sides[letter] for letter in axis) for axis in self.layout.axes])
        return np.ascontiguousarray(merged.astype(dtype, copy=False))


@dataclass(frozen=True, kw_only=True)
class InputForm:
    """How a network takes a clip: through one tensor, or through several pathways."""

    tensor: TensorForm = field(default_factory=TensorForm)
    """The only input's."""
    pathways: Mapping[str, TensorForm] = field(default_factory=dict)
    """By the names of the inputs, where there are several; then ``tensor`` stands for none of them."""
    dtype: str | None = None
    """What the file says that the network takes: float32, float16 or uint8; None where the graph is to tell."""


def spread_frames(count: int, *, frames: int) -> tuple[int, ...]:
    """``count`` of ``frames`` frames, evenly from the first to the last.

    The rule of SlowFast and PyTorchVideo, ``torch.linspace(0, frames - 1, count).long()``, computed as PyTorch does:
    a step in float32, from both ends to the middle, each rounded once, so that each index is the same.
    """
    if count == 1:
        return (0,)
    # Products of a float32 and a small number are exact in Python's floats, as they are where a processor fuses them.
    step = float(np.float32(frames - 1) / np.float32(count - 1))
    head = (index * step for index in range(count // 2))
    tail = (frames - 1 - (count - 1 - index) * step for index in range(count // 2, count))
    return tuple(int(np.float32(place)) for place in (*head, *tail))


def sampled_frames(every: int, *, frames: int) -> tuple[int, ...]:
    """Each ``every``-th of ``frames`` frames from the first on: the rule of MMAction2 and GluonCV."""
    return tuple(range(0, frames, every))
