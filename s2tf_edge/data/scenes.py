"""Moving shapes over cluttered backgrounds: ten actions that no single frame can tell apart, made from a seed.

A scene is five phases (across, down, size, angle, color), each drawn uniformly. Its class picks the one that runs
through its cycle, and in which direction; so a frame looks the same in distribution whatever the class, and one class
of each pair is the other played backwards:

    across   moving left                  moving right
    down     moving up                    moving down
    size     approaching                  retreating
    angle    rotating clockwise           rotating counterclockwise
    color   turning red, green, blue     turning blue, green, red

Cycles repeat for ever, so that any second of a scene shows its class. Mirroring a picture would change its class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from s2tf_edge.data.drawing import SHAPES, background, cover, hue_colors, noise
from s2tf_edge.errors import UsageError

__all__ = ["LABELS", "Scene"]

_PHASES: Final = ("across", "down", "size", "angle", "color")
_MOTIONS: Final[dict[str, tuple[str, int]]] = {
    "moving left": ("across", -1),
    "moving right": ("across", 1),
    "moving up": ("down", -1),
    "moving down": ("down", 1),
    "approaching": ("size", 1),
    "retreating": ("size", -1),
    "rotating clockwise": ("angle", 1),
    "rotating counterclockwise": ("angle", -1),
    "turning red, green, blue": ("color", 1),
    "turning blue, green, red": ("color", -1),
}
LABELS: Final = tuple(_MOTIONS)
"""Names of the classes; those at 2k and 2k + 1 are each other's time reversal."""


@dataclass(frozen=True, kw_only=True)
class _Look:
    """What is drawn from a scene's seed, the same for all classes."""

    shape: int
    phases: NDArray[np.float64]
    """[5], in cycles, in the order of ``_PHASES``."""
    cycles_per_second: float
    drift: NDArray[np.float64]
    """[2]: motion of the background down and across, in short sides a second; none in half of the scenes."""
    gain: float
    """Brightness of the whole picture."""
    noise: float
    """Standard deviation of the pixel noise, in levels of 255."""

    @classmethod
    def draw(cls, seed: int) -> _Look:
        rng = np.random.default_rng(seed)
        return cls(
            shape=int(rng.integers(len(SHAPES))),
            phases=rng.uniform(size=len(_PHASES)),
            cycles_per_second=rng.uniform(0.9, 1.3),
            drift=rng.uniform(-0.06, 0.06, 2) * rng.integers(2),
            gain=rng.uniform(0.75, 1.1),
            noise=rng.uniform(1, 8),
        )


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One action, in continuous time and at any size."""

    label: int
    """Index into ``LABELS``."""
    seed: int
    """Zero or more. Scenes of one seed differ in nothing but their action."""

    def __post_init__(self) -> None:
        if not 0 <= self.label < len(LABELS) or self.seed < 0:
            msg = f"a scene takes a label from 0 to {len(LABELS) - 1} and a seed from 0, got {self.label}, {self.seed}"
            raise UsageError(msg)

    @cached_property
    def _look(self) -> _Look:
        return _Look.draw(self.seed)

    def render(
        self, times_seconds: Sequence[float] | NDArray[np.float64], size: int | tuple[int, int]
    ) -> NDArray[np.uint8]:
        """Draws frames.

        Args:
            times_seconds: T instants, in any order.
            size: side of a square picture in pixels, or its height and width.

        Returns:
            Uint8 [T, H, W, 3] in RGB. The other class of the pair draws the same bytes at the times negated.
        """
        height, width = (size, size) if isinstance(size, int) else size
        look = self._look
        name, direction = _MOTIONS[LABELS[self.label]]
        # Everything that moves, the background too, runs on this one clock: nothing but its sign tells a pair apart.
        clock = direction * np.asarray(times_seconds, np.float64)
        phases = np.repeat(look.phases[:, None], len(clock), axis=1)
        phases[_PHASES.index(name)] += look.cycles_per_second * clock
        offsets = np.round(clock[:, None] * look.drift * min(height, width)).astype(np.int64)
        picture = background(self.seed, height, width, offsets)
        self._draw_shape(picture, phases % 1.0)
        picture *= np.float32(255 * look.gain)
        picture += noise(self.seed, height, width, np.round(clock * 1000).astype(np.int64)) * np.float32(look.noise)
        return np.clip(picture, 0, 255, out=picture).astype(np.uint8)

    def _draw_shape(self, picture: NDArray[np.float32], phases: NDArray[np.float64]) -> None:
        """Paints the shape over ``picture``, float32 [T, H, W, 3], in place."""
        across, down, size, angle, color = phases
        _, height, width, _ = picture.shape
        radius = min(height, width) * 0.16 * 2.2**size
        alpha, shade = cover(
            SHAPES[self._look.shape],
            rows=np.arange(height) + 0.5 - _within(down, height)[:, None],
            columns=np.arange(width) + 0.5 - _within(across, width)[:, None],
            radius=radius,
            angle=2 * np.pi * angle,
        )
        painted = hue_colors(color)[:, None, None, :] * shade[..., None]
        painted -= picture
        painted *= alpha[..., None]
        picture += painted


def _within(phase: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    """Where a phase lies on an axis: away from the edges, so that a shape is always seen whole."""
    return length * (0.33 + 0.34 * phase)
