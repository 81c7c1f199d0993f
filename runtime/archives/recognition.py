"""One video of an archive: what a stream of it alone says, and what becomes of one that cannot be used."""

from __future__ import annotations

import logging
import stat
import time
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Final

from s2tf_edge.errors import (
    InputFileError,
    MissingExtraError,
    S2TFError,
    SourceError,
    UnsupportedError,
    VerificationError,
)
from s2tf_edge.file_kinds import VIDEOS, check_kind
from s2tf_edge.runtime.archives.entries import ListedEntry, is_url, readable_name
from s2tf_edge.runtime.archives.rows import VideoRows
from s2tf_edge.runtime.archives.stores import StoreFile, open_in_store
from s2tf_edge.runtime.session import Session
from s2tf_edge.runtime.sources.parsing import file_source
from s2tf_edge.runtime.sources.source import Source
from s2tf_edge.runtime.streaming.recognize import recognize
from s2tf_edge.runtime.streaming.stream_options import StreamOptions
from s2tf_edge.words import one_line

__all__ = ["recognize_entry"]

logger = logging.getLogger(__name__)

_WAITS_SECONDS: Final = (1.0, 4.0)
"""Before each further attempt to fetch the bytes of a video."""


class _UnusableError(Exception):
    """A video that is not even opened, or whose bytes stopped coming."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


def recognize_entry(entry: ListedEntry, session: Session, options: StreamOptions) -> VideoRows:
    """The rows of one video, whatever becomes of it.

    Raises:
        MissingExtraError: what opens it is not installed.
        UsageError: the options do not fit the network.
    """
    for seconds in (*_WAITS_SECONDS, None):
        rows = VideoRows(entry)
        try:
            _recognize(entry, rows, session, options)
        except _UnusableError as error:
            rows.give_up(error.kind, error.message)
            if error.kind == "store" and seconds is not None:
                logger.debug("%s: trying again", error.message)
                time.sleep(seconds)
                continue
        return rows
    return rows


def _recognize(entry: ListedEntry, rows: VideoRows, session: Session, options: StreamOptions) -> None:
    with ExitStack() as stack:
        source, file = _open(entry, stack)
        try:
            with closing(recognize(source, session, options=options)) as records:
                for record in records:
                    rows.add(record)
        except (InputFileError, SourceError) as error:
            # A source that could not be read at all has said so in a record before.
            if not rows.is_bad:
                rows.give_up("unreadable", str(error))
        except (UnsupportedError, VerificationError) as error:
            rows.give_up("network", str(error))
        except S2TFError:
            raise
        except Exception as error:
            logger.debug("traceback:", exc_info=error)
            rows.give_up("internal", f"{type(error).__name__}: {one_line(error)}"[:400])
        if file is not None and file.failure is not None:
            kind, message = "store", f"{entry.name} could not be fetched to its end ({file.failure})"
            raise _UnusableError(kind, message)


def _open(entry: ListedEntry, stack: ExitStack) -> tuple[Source, StoreFile | None]:
    """The video as a source, and its open file where a store has it; ``stack`` closes that."""
    try:
        if is_url(entry.address):
            file = stack.enter_context(closing(open_in_store(entry.address)))
            return _source_of_bytes(entry, file), file
        return _local_source(entry, stack), None
    except InputFileError as error:
        kind, message = "unreadable", str(error)
    except FileNotFoundError:
        kind, message = "missing", f"{entry.name} does not exist"
    except (OSError, ValueError) as error:
        kind = "store" if is_url(entry.address) else "unreadable"
        message = f"{entry.name} cannot be opened ({getattr(error, 'strerror', None) or error})"
    raise _UnusableError(kind, message)


def _local_source(entry: ListedEntry, stack: ExitStack) -> Source:
    path = Path(entry.address)
    # A FIFO would be waited for.
    if not stat.S_ISREG(path.stat().st_mode):
        msg = f"{entry.name} is {'a folder' if path.is_dir() else 'no file'}; name a video"
        raise InputFileError(msg)
    check_kind(path, VIDEOS)
    if readable_name(entry.address)[1] is not None:
        # FFmpeg is told names in UTF-8 alone.
        return _source_of_bytes(entry, stack.enter_context(path.open("rb")))
    try:
        return replace(file_source(path), name=entry.name)
    except MissingExtraError as error:
        raise InputFileError(str(error)) from error


def _source_of_bytes(entry: ListedEntry, file: BinaryIO | StoreFile) -> Source:
    name, _ = readable_name(entry.name)
    return Source(name=name, url=name, open=lambda: file)  # type: ignore[arg-type,return-value]  # what PyAV asks of it
