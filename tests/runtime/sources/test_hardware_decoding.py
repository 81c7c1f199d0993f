"""Devices that decode; machines for tests have none, so that the processor must take over."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from av.codec.hwaccel import hwdevices_available
from numpy.typing import NDArray

from s2tf_edge.errors import UsageError
from s2tf_edge.runtime.session import Session
from s2tf_edge.runtime.sources import hardware_decoding
from s2tf_edge.runtime.sources.decoder import Decoder
from s2tf_edge.runtime.sources.hardware_decoding import check_hwaccel, open_hwaccel
from s2tf_edge.runtime.sources.parsing import parse_source
from s2tf_edge.runtime.sources.timing import StageTimes
from s2tf_edge.runtime.streaming.recognize import recognize
from s2tf_edge.runtime.streaming.records import Summary
from s2tf_edge.runtime.streaming.stream_options import StreamOptions


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    yield
    for function in (hardware_decoding._works, hardware_decoding._log_choice):
        function.cache_clear()


def test_an_unknown_device_is_refused_before_anything_is_read(
    make_video: Callable[..., Path], brightness: Session
) -> None:
    options = StreamOptions(hwaccel="turbo")
    with pytest.raises(UsageError, match=r"hwaccel must be auto or one of \w+.*, got 'turbo'"):
        list(recognize(make_video("a.mp4", [0]), brightness, options=options))


def test_known_devices_are_taken() -> None:
    for name in (None, "auto", *hwdevices_available()):
        check_hwaccel(name)


def test_without_a_name_the_processor_decodes() -> None:
    assert open_hwaccel(None) is None


@pytest.mark.parametrize(("is_over", "lines"), [(False, 1), (True, 0)])
def test_what_was_found_is_not_logged_once_the_run_is_over(
    caplog: pytest.LogCaptureFixture, is_over: bool, lines: int
) -> None:
    caplog.set_level(logging.INFO, logger="s2tf_edge")
    stop = threading.Event()
    if is_over:
        stop.set()
    open_hwaccel("auto", stop=stop)
    assert len(caplog.messages) == lines


@pytest.mark.parametrize("name", ["auto", *hwdevices_available()])
def test_every_frame_comes_whatever_decodes(
    make_video: Callable[..., Path], brightness: Session, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    caplog.set_level(logging.INFO, logger="s2tf_edge")
    paths = [make_video(f"{index}.mp4", [200] * 20) for index in range(2)]
    summary = list(recognize(paths, brightness, options=StreamOptions(hwaccel=name)))[-1]
    assert isinstance(summary, Summary)
    assert summary.frames_in == 40
    told = [record.getMessage() for record in caplog.records if "decodes" in record.getMessage()]
    assert len(told) == 1
    assert (name in told[0]) or name == "auto"


@pytest.mark.needs_gpu
@pytest.mark.needs_nvdec
def test_nvidias_decoder_gives_the_pictures_that_the_processor_gives(make_video: Callable[..., Path]) -> None:
    path = make_video("a.mp4", [12 * index for index in range(20)], gop=7)
    assert open_hwaccel("cuda") is not None
    found: dict[str | None, list[tuple[float, NDArray[Any]]]] = {}
    for name in ("cuda", None):
        source = parse_source(str(path))[0]
        with Decoder(source, stop=threading.Event(), times=StageTimes(), hwaccel=name) as decoder:
            found[name] = [(each.pts_seconds, each.frame.to_ndarray(format="rgb24")) for each in decoder.frames()]
    assert [seconds for seconds, _ in found["cuda"]] == [seconds for seconds, _ in found[None]]
    for (_, got), (_, expected) in zip(found["cuda"], found[None], strict=True):
        np.testing.assert_allclose(got.astype(int), expected.astype(int), atol=2)
