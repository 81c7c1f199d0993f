"""Pictures as JPEGs, and only when asked for."""

from __future__ import annotations

import asyncio
import io
from types import SimpleNamespace

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from s2tf_edge.runtime.web.pictures import Jpeg, Pictures, to_jpeg


def _decoded(data: bytes) -> NDArray[np.uint8]:
    with av.open(io.BytesIO(data), "r", format="mjpeg") as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24").astype(np.uint8)


def test_colors_survive() -> None:
    image = np.zeros((97, 131, 3), np.uint8)
    image[:48] = (250, 20, 10)
    image[48:] = (255, 255, 255)
    decoded = _decoded(to_jpeg(image))
    assert decoded.shape == image.shape
    assert decoded[10, 10].tolist() == pytest.approx([250, 20, 10], abs=6)
    assert decoded[90, 10].tolist() == pytest.approx([255, 255, 255], abs=4)


@pytest.mark.parametrize(
    ("height", "width", "shape"),
    [(1080, 1920, (360, 640)), (1920, 1080, (640, 360)), (120, 160, (120, 160)), (481, 641, (480, 640))],
)
def test_a_picture_is_small(make: SimpleNamespace, height: int, width: int, shape: tuple[int, int]) -> None:
    pictures = Pictures()
    pictures.write(make.picture(height=height, width=width))
    jpeg = asyncio.run(pictures.newest(0))
    assert jpeg is not None
    assert _decoded(jpeg.data).shape[:2] == shape


def test_one_encoding_serves_all_and_what_was_not_asked_for_is_not_encoded(make: SimpleNamespace) -> None:
    pictures = Pictures()
    for level in range(100):
        pictures.write(make.picture(level=level))

    async def ask() -> list[Jpeg | None]:
        return await asyncio.gather(*(pictures.newest(0) for _ in range(20)))

    first, *others = asyncio.run(ask())
    assert first is not None
    assert first.number == 100
    assert all(other is first for other in others)


def test_of_any_number_of_files_that_have_ended_the_last_pictures_are_kept(make: SimpleNamespace) -> None:
    pictures = Pictures()
    for source in range(20):
        pictures.write(make.picture(source=source))
        assert asyncio.run(pictures.newest(source)) is not None
        states = ["ended"] * source + ["playing"] + ["waiting"] * (19 - source)
        pictures.write(make.status(*(make.source_status(state=state) for state in states)))
    kept = [source for source in range(20) if asyncio.run(pictures.newest(source)) is not None]
    assert kept == [*range(11, 20)]
    assert [*pictures._encoded] == kept


def test_another_picture_is_waited_for(make: SimpleNamespace) -> None:
    pictures = Pictures()
    pictures.write(make.picture())

    async def ask() -> tuple[Jpeg | None, Jpeg | None, Jpeg | None]:
        first = await pictures.after(0, 0, timeout_seconds=60)
        none = await pictures.after(0, 1, timeout_seconds=0.05)
        waits = asyncio.create_task(pictures.after(0, 1, timeout_seconds=60))
        await asyncio.sleep(0.05)
        pictures.write(make.picture(level=200))
        return first, none, await waits

    first, none, second = asyncio.run(ask())
    assert first is not None
    assert none is None
    assert second is not None
    assert (first.number, second.number) == (1, 2)
    assert _decoded(second.data).mean() == pytest.approx(200, abs=3)


def test_a_picture_that_cannot_be_shown_is_empty(make: SimpleNamespace) -> None:
    pictures = Pictures()
    assert asyncio.run(pictures.newest(0)) is None
    pictures.write(make.picture(height=16, width=1600))
    jpeg = asyncio.run(pictures.newest(0))
    assert jpeg is not None
    assert jpeg.data == b""
