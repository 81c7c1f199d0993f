"""The routes of the page."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final

import numpy as np
from starlette.applications import Starlette
from starlette.convertors import IntegerConvertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from s2tf_edge.runtime.streaming.records import Prediction, Record
from s2tf_edge.runtime.web.address import Address
from s2tf_edge.runtime.web.crowd import Crowd
from s2tf_edge.runtime.web.guard import Guard
from s2tf_edge.runtime.web.health import Health
from s2tf_edge.runtime.web.history import History, missed
from s2tf_edge.runtime.web.metrics import CONTENT_TYPE, Metrics
from s2tf_edge.runtime.web.pictures import Jpeg, Pictures

__all__ = ["Page"]

_FILES: Final = {
    "": ("page.html", "text/html"),
    "page.css": ("page.css", "text/css"),
    "page.js": ("page.js", "text/javascript"),
    "charts.js": ("charts.js", "text/javascript"),
    "icon.svg": ("icon.svg", "image/svg+xml"),
}
_TICK_SECONDS: Final = 0.05
"""How often a client's connection looks for news: the stream's thread never has to wake it."""
_KEEP_ALIVE_SECONDS: Final = 10.0
_RETRY_MS: Final = 1000
_PICTURE_WAIT_SECONDS: Final = 0.5


class _PositionConvertor(IntegerConvertor):
    """A source's position: Python refuses to read numbers of thousands of digits, which would be an error here."""

    regex = "[0-9]{1,9}"


register_url_convertor("position", _PositionConvertor())


class Page:
    """What is shown of one stream: takes its records on one thread, answers requests on another."""

    def __init__(self) -> None:
        self.closing = threading.Event()
        """Set to end what streams to clients, once they have all there is."""
        self._missed = 0
        self._history = History()
        self._pictures = Pictures()
        self._health = Health()
        self._metrics = Metrics(missed=lambda: self._missed)
        self._masks: dict[int, Prediction] = {}

    def write(self, record: Record) -> None:
        """Takes a record; nothing here waits for a client."""
        self._pictures.write(record)
        self._health.write(record)
        self._metrics.write(record)
        if isinstance(record, Prediction) and record.mask is not None:
            self._masks[record.source] = record
        self._history.write(record)

    def close(self) -> None:
        """Ends what works for clients."""
        self._pictures.close()

    def app(self, *, address: Address, token: str | None) -> ASGIApp:
        """The application, behind its guard."""
        routes = [Route(f"/{path}", _file(*file)) for path, file in _FILES.items()]
        routes += [
            Route("/events", self._events),
            Route("/picture/{source:position}.jpg", self._jpeg),
            Route("/picture/{source:position}.mjpeg", self._mjpeg),
            Route("/saliency/{source:position}", self._saliency),
            Route("/metrics", self._metrics_text),
            Route("/healthz", self._healthz),
        ]
        # The crowd is of those who are let in.
        return Guard(Crowd(Starlette(routes=routes)), address=address, token=token, closing=self.closing)

    async def _events(self, request: Request) -> Response:
        position = self._history.position(request.headers.get("last-event-id"))
        return _stream(request, self._event_lines(position), "text/event-stream")

    async def _event_lines(self, position: int) -> AsyncIterator[str]:
        yield f"retry: {_RETRY_MS}\n\n"
        sent_at = time.monotonic()
        while True:
            last_look = self.closing.is_set()
            entries = self._history.after(position)
            if entries:
                self._missed += missed(entries, position=position)
                position, sent_at = entries[-1].number, time.monotonic()
                yield "".join(f"id: {self._history.run}-{item.number}\ndata: {item.text}\n\n" for item in entries)
            elif last_look:
                return
            elif time.monotonic() - sent_at > _KEEP_ALIVE_SECONDS:
                sent_at = time.monotonic()
                yield ": nothing new\n\n"
            else:
                await asyncio.sleep(_TICK_SECONDS)

    async def _jpeg(self, request: Request) -> Response:
        """The newest picture; with ``?after=NUMBER`` waits a moment for another than that, and may have none."""
        source, after = request.path_params["source"], request.query_params.get("after", "")
        if re.fullmatch("[0-9]{1,15}", after):
            jpeg = await self._pictures.after(source, int(after), timeout_seconds=_PICTURE_WAIT_SECONDS)
        else:
            jpeg = await self._pictures.newest(source)
        if jpeg is not None and jpeg.data:
            return Response(jpeg.data, media_type="image/jpeg", headers={"picture-number": str(jpeg.number)})
        return Response(status_code=204) if after else _answer_nothing(f"source {source} has no picture")

    async def _mjpeg(self, request: Request) -> Response:
        source = request.path_params["source"]
        if await self._pictures.newest(source) is None:
            return _answer_nothing(f"source {source} has no picture")
        return _stream(request, self._parts(source), "multipart/x-mixed-replace; boundary=picture")

    async def _parts(self, source: int) -> AsyncIterator[bytes]:
        number = 0
        while not self.closing.is_set():
            jpeg = await self._pictures.after(source, number, timeout_seconds=_PICTURE_WAIT_SECONDS)
            if jpeg is not None:
                number = jpeg.number
                yield _part(jpeg) if jpeg.data else b""

    async def _saliency(self, request: Request) -> Response:
        """The newest mask of a source, over the center crop that its network saw of the picture or of the box in it."""
        prediction = self._masks.get(request.path_params["source"])
        if prediction is None or prediction.mask is None:
            return _answer_nothing("there is no mask; networks with saliency give one where it is asked for")
        rows = (255 * np.nan_to_num(prediction.mask).clip(0, 1)).round().astype(int).tolist()
        return JSONResponse({"t_end": prediction.t_end, "box": prediction.box, "rows": rows})

    async def _metrics_text(self, _request: Request) -> Response:
        return Response(self._metrics.text(), headers={"content-type": CONTENT_TYPE})

    async def _healthz(self, _request: Request) -> Response:
        verdict = self._health.verdict()
        return JSONResponse(verdict.to_dict(), 200 if verdict.is_well else 503)


def _file(name: str, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    content = Path(__file__).with_name(name).read_bytes()

    async def respond(_request: Request) -> Response:
        return Response(content, media_type=media_type)

    return respond


def _stream(request: Request, parts: AsyncIterator[str] | AsyncIterator[bytes], media_type: str) -> Response:
    """What goes on for as long as the client listens, which one that asks for the headers alone does not."""
    if request.method == "HEAD":
        return Response(media_type=media_type)
    return StreamingResponse(parts, media_type=media_type)


def _part(jpeg: Jpeg) -> bytes:
    head = f"--picture\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg.data)}\r\n\r\n"
    return head.encode() + jpeg.data + b"\r\n"


def _answer_nothing(reason: str) -> Response:
    return PlainTextResponse(f"{reason}\n", 404)
