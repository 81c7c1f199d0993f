"""What signals do to ``s2tf-stream``: they end it in order, or have it read its file again and begin anew.

handler (main thread)     reloader                                      main thread
SIGHUP ─→ a queue ──────→ reads the file, plans ─ broken: a warning     the stream goes on
                                                └ right: next, stop ──→ ends in order, takes next, begins anew
SIGTERM ─→ stop ──────────────────────────────────────────────────────→ ends in order
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from types import FrameType
from typing import TYPE_CHECKING

from s2tf_edge.cli.app import ending_signals
from s2tf_edge.cli.stream_plan import StreamPlan
from s2tf_edge.errors import S2TFError

if TYPE_CHECKING:
    from s2tf_edge.runtime.sinks.service_manager import NotifySocket

__all__ = ["StreamSignals"]

logger = logging.getLogger(__name__)


class StreamSignals:
    """Ctrl-C, SIGTERM and SIGHUP while streams run, one after another; a second Ctrl-C or SIGTERM ends at once.

    Args:
        plan: makes the plan that the file asks for now.
        notify: where the service manager listens, if there is one.
    """

    def __init__(self, plan: Callable[[], StreamPlan], *, notify: NotifySocket | None = None) -> None:
        self._plan = plan
        self._notify = notify
        self._stop = threading.Event()
        self._next: StreamPlan | None = None
        self._lock = threading.Lock()
        # Whoever is interrupted in putting into it may put into it again, which is so of no event.
        self._hangups: SimpleQueue[bool] = SimpleQueue()
        self._reloads = False
        self.was_signaled = False
        """Whether a signal has ended it; a stream that its user has seen enough of ends well."""

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Signals come here until it is left."""
        before = {number: signal.signal(number, self._handle) for number in ending_signals()}
        reloader = threading.Thread(target=self._reload_each, name="reload", daemon=True)
        reloader.start()
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            self._hangups.put(False)
            reloader.join()

    def begin(self, plan: StreamPlan) -> threading.Event:
        """What ends the stream of this plan; set already where a signal came before it."""
        self._reloads = plan.reloads
        self._stop = threading.Event()
        if self.was_signaled:
            self._stop.set()
        return self._stop

    def take_next(self) -> StreamPlan | None:
        """What to begin with after the stream that has ended; None for nothing."""
        with self._lock:
            plan, self._next = self._next, None
        return None if self.was_signaled else plan

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self._reloads and number not in {signal.SIGINT, signal.SIGTERM}:
            self._hangups.put(True)
            return
        # The kernel and the shell each tell that a terminal was closed: that is no hurry.
        if self.was_signaled and number in {signal.SIGINT, signal.SIGTERM}:
            raise KeyboardInterrupt
        self.was_signaled = True
        self._stop.set()

    def _reload_each(self) -> None:
        while self._hangups.get():
            if self._notify is not None:
                self._notify.tell_reloading()
            try:
                self._end_for(self._plan())
            except (S2TFError, OSError) as error:
                logger.warning("%s; the stream goes on as it was", error)
                if self._notify is not None:
                    self._notify.send("READY=1")

    def _end_for(self, plan: StreamPlan) -> None:
        # Under the lock, or it could be the stream of this very plan that is ended.
        with self._lock:
            self._next = plan
            self._stop.set()
