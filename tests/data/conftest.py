"""Small videos, written by the tests themselves."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import av
import numpy as np
import pytest
from numpy.typing import NDArray

LEVELS_PER_FRAME = 4
"""Frame i of a written video is of gray level 4 i, so that a decoded frame tells which one it is."""


class MakeVideo(Protocol):
    """Writes frames 0, 1, … as one video."""

    def __call__(
        self,
        name: str = "video.mp4",
        *,
        frames: int = 30,
        fps: int = 30,
        size: tuple[int, int] = (48, 64),
        pts: Sequence[int] | None = None,
        options: dict[str, str] | None = None,
        bframes: int = 0,
        rotation_degrees: int = 0,
        mirrored: bool = False,
        image: NDArray[np.uint8] | None = None,
    ) -> Path: ...


@pytest.fixture
def make_video(tmp_path: Path) -> MakeVideo:
    """A writer of H.264 videos into the test's own folder, lossless without ``bframes``; ``pts`` are in frames."""

    def make(
        name: str = "video.mp4",
        *,
        frames: int = 30,
        fps: int = 30,
        size: tuple[int, int] = (48, 64),
        pts: Sequence[int] | None = None,
        options: dict[str, str] | None = None,
        bframes: int = 0,
        rotation_degrees: int = 0,
        mirrored: bool = False,
        image: NDArray[np.uint8] | None = None,
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), mode="w") as container:
            # Where it is lossless, x264 writes no B-frames.
            quality = {"qp": "6", "bf": str(bframes), "x264-params": "b-adapt=0"} if bframes else {"qp": "0"}
            stream = container.add_stream("libx264", rate=fps, options=quality | (options or {}))
            stream.height, stream.width = size
            stream.pix_fmt = "yuv420p"
            if rotation_degrees or mirrored:
                stream.set_display_rotation(rotation_degrees, hflip=mirrored)
            for index in range(frames):
                gray = np.full((*size, 3), LEVELS_PER_FRAME * index, np.uint8)
                picture = av.VideoFrame.from_ndarray(gray if image is None else image, format="rgb24")
                picture.pts, picture.time_base = (index if pts is None else pts[index]), Fraction(1, fps)
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
        return path

    return make


@pytest.fixture(scope="session")
def shared_clips() -> Path:
    """Real and odd files of users, where they lie beside the checkout."""
    folder = Path(__file__).parents[2] / "../shared/clips"
    if not folder.is_dir():
        pytest.skip("no ../shared/clips beside the checkout")
    return folder
