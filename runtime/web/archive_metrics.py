"""How an archive stands, in Prometheus' text format: ``s2tf-batch --metrics``.

with closing(ArchiveMetrics("127.0.0.1:9108")) as metrics:
    recognize_archive(sources, artifact, out=out, watch=metrics.write)
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from s2tf_edge.runtime.archives.status import ArchiveStatus
from s2tf_edge.runtime.web.address import Address
from s2tf_edge.runtime.web.server import WebServer

if TYPE_CHECKING:
    from starlette.types import ASGIApp

__all__ = ["ArchiveMetrics"]


class ArchiveMetrics:
    """Answers ``/metrics`` with the newest status it was given.

    Args:
        address: as ``WebServer`` takes it.
        token: likewise.

    Raises:
        UsageError: the address or the token is not allowed, the port is taken, or others could look without a token.
        MissingExtraError: the extra ``web`` is not installed.
    """

    def __init__(self, address: str, *, token: str | None = None) -> None:
        self._server = WebServer(address, token=token)
        self._closing = threading.Event()
        self._status: ArchiveStatus | None = None
        self._server.start(self._app)

    @property
    def url(self) -> str:
        """What a server of Prometheus is to scrape."""
        return f"{self._server.url}metrics"

    def write(self, status: ArchiveStatus) -> None:
        """Takes a status."""
        self._status = status

    def close(self) -> None:
        """Ends."""
        self._closing.set()
        self._server.close()

    def collect(self) -> Iterator[Any]:
        """What the newest status says, as ``prometheus_client`` asks of a collector."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        status = self._status
        if status is None:
            return
        done = status.done
        videos = CounterMetricFamily("s2tf_batch_videos", "Videos that are done, in all runs.", labels=["status"])
        videos.add_metric(["ok"], done.videos - done.bad)
        videos.add_metric(["bad"], done.bad)
        errors = CounterMetricFamily("s2tf_batch_errors", "Bad videos, by kind.", labels=["kind"])
        for kind, count in sorted(done.errors.items()):
            errors.add_metric([kind], count)
        yield from (videos, errors)
        yield GaugeMetricFamily("s2tf_batch_listed_videos", "Videos on the list.", status.videos)
        yield CounterMetricFamily("s2tf_batch_video_seconds", "Seconds of video that were recognized.", done.seconds)
        yield CounterMetricFamily("s2tf_batch_windows", "Windows that were run.", done.windows)
        yield CounterMetricFamily("s2tf_batch_events", "Actions that were found.", done.events)
        yield GaugeMetricFamily("s2tf_batch_workers", "Workers at most, in this run.", status.workers)
        yield CounterMetricFamily("s2tf_batch_workers_lost", "Workers that were lost in this run.", status.deaths)
        yield GaugeMetricFamily(
            "s2tf_batch_speed_ratio", "Seconds of video a second of this run.", status.hours_per_hour
        )
        yield GaugeMetricFamily("s2tf_batch_run_seconds", "Since this run began.", status.seconds)

    def _app(self, address: Address, token: str | None) -> ASGIApp:
        from prometheus_client import generate_latest
        from starlette.applications import Starlette
        from starlette.requests import Request
        from starlette.responses import Response
        from starlette.routing import Route

        from s2tf_edge.runtime.web.crowd import Crowd
        from s2tf_edge.runtime.web.guard import Guard
        from s2tf_edge.runtime.web.metrics import CONTENT_TYPE

        async def metrics(_request: Request) -> Response:
            return Response(generate_latest(self), headers={"content-type": CONTENT_TYPE})

        app = Crowd(Starlette(routes=[Route("/metrics", metrics)]))
        return Guard(app, address=address, token=token, closing=self._closing)
