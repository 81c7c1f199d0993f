"""The contract of whatever takes the records of a stream: lines, files, a view, a page."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Protocol

from s2tf_edge.runtime.streaming.records import Record

__all__ = ["Sink"]


class Sink(Hashable, Protocol):
    """Takes all records of a stream in order, in the thread that makes them: while ``write`` runs, no label comes.

    What is slow, as encoding or a network, belongs into a thread of the sink's own behind a queue that cannot grow.
    Pictures and Statuses come only where ``StreamOptions`` asks for them. An Event comes when its action ends.

    What ``write`` raises ends the sink, and the stream where no other is left. So a sink that can do without its other
    end, such as a page that nobody looks at, keeps its troubles to itself; one whose user has seen enough sets the
    ``stop`` it was made with.
    """

    def write(self, record: Record) -> None:
        """Takes the next record.

        Raises:
            BrokenPipeError: nobody reads stdout any more, and the stream ends in order; or a pipe, which is its
                ``filename``. From a socket it must not come out.
            S2TFError: what was asked for cannot be had any more, as on a full disk; it says what is kept.
        """

    def close(self) -> None:
        """Ends it, however the stream ended; what was written stays."""
