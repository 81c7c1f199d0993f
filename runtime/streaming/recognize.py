"""Action recognition in files and live sources: the function behind ``s2tf-stream``.

    for record in recognize("clip.mp4", "model_openvino_fp16"):
        if isinstance(record, Prediction):
            print(record.t_end, record.label, record.score)

Threads read, one for the files and one for each live source; others run the network; the caller's makes records:

    Reader, Reading ─ PacketReader ─ Decoder ─ Windower ─┐             ┌─ InferencePool ─┐
    (files)                                    ClipRing  │             │                 │
    Reader, Reading ─ PacketReader ─ Decoder ─ Windower ─┼─ FairQueue ─┤   normalize,    ├─ RecordMaker ───── sinks
    (camera)                                   ClipRing  │             │   Session       │  Postprocessor
    Reader, Reading ─ PacketReader ─ Decoder ─ Windower ─┘             └─────────────────┘
    (camera)                                   ClipRing
                      cut when       decode    scale,      turns; live:  a fork a thread  smooth, events
                      far behind               sample      newest only

Readers put into the queue; the Coordinator takes from there, drops what is too old, and hands on from box to box.
Pictures of live sources pass the network by. Each box counts what it leaves out; the Ledger adds up, and makes Start,
Status and Summary. Sinks take records from the caller, as in ``s2tf_edge.cli.stream_outputs``.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from contextlib import ExitStack
from pathlib import Path

from s2tf_edge.errors import UsageError
from s2tf_edge.runtime.open import open_session
from s2tf_edge.runtime.session import Session
from s2tf_edge.runtime.sources.parsing import parse_source
from s2tf_edge.runtime.sources.source import Source
from s2tf_edge.runtime.streaming.coordinator import Coordinator
from s2tf_edge.runtime.streaming.records import Record
from s2tf_edge.runtime.streaming.stream_options import StreamOptions

__all__ = ["recognize"]


def recognize(
    sources: str | Path | Source | Sequence[str | Path | Source],
    session: Session | str | Path,
    *,
    options: StreamOptions | None = None,
    stop: threading.Event | None = None,
) -> Generator[Record, None, None]:
    """Recognizes actions in sources until they end.

    Files are read one after another, live sources together with them. A source that fails gives a Failure, and the
    others go on. Whoever does not take all records closes the generator before the session.

    Args:
        sources: see ``parse_source`` for what text may say.
        session: an open session, or what ``open_session`` takes.
        options: how; the defaults unless given.
        stop: set it, from a signal handler or another thread, to end early; the Summary still comes.

    Yields:
        A Start, then Predictions, Events, Gaps, Failures (and Pictures, if asked for) in order for each source, and a
        Summary last.

    Raises:
        UsageError: a source is of a kind that cannot be read, or there is none; or saliency is asked of a network that
            gives no mask; or none of the sources has room for a zone that was asked for.
        InputFileError: the artifact cannot be read; or no source could, and the first of them was a file.
        SourceError: no source could be read, and the first of them was live.
        MissingExtraError: the artifact's runtime is not installed.
        UnsupportedError: the runtime refuses the network on this device.
        VerificationError: the network computes logits that are not finite.
    """
    options = options or StreamOptions()
    parsed = _parse(sources)
    with ExitStack() as stack:
        if not isinstance(session, Session):
            session = stack.enter_context(open_session(session))
        if options.saliency and not session.info.has_mask:
            msg = f"{session.info.name} gives no saliency mask; export an SSF or S2TF network with `mask=True`"
            raise UsageError(msg)
        coordinator = Coordinator(parsed, session, options, stop or threading.Event())
        yield from coordinator.run()
    if not coordinator.has_read:
        raise coordinator.failures[min(coordinator.failures)]


def _parse(sources: str | Path | Source | Sequence[str | Path | Source]) -> list[Source]:
    several = [sources] if isinstance(sources, str | Path | Source) else sources
    parsed: list[Source] = []
    for source in several:
        parsed += [source] if isinstance(source, Source) else parse_source(str(source))
    if not parsed:
        msg = "there is no source to read; give one or more"
        raise UsageError(msg)
    return parsed
