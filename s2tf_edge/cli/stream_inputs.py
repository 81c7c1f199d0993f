"""What ``s2tf-stream`` runs and reads: which of its words is the artifact, which are sources, and their names."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from s2tf_edge.cli.stream_flags import StreamFlags
from s2tf_edge.errors import InputFileError, UsageError

if TYPE_CHECKING:
    from s2tf_edge.runtime.sources.source import Source

__all__ = ["name_inputs", "parse_sources", "split_words"]


def name_inputs(flags: StreamFlags) -> StreamFlags:
    """The flags without words: those are the artifact or sources, as ``split_words`` tells.

    Raises:
        InputFileError: the first word is neither.
        UsageError: another word is an artifact.
    """
    words = [] if flags.artifact is None else [flags.artifact, *(flags.inputs or [])]
    artifact, texts = split_words(words)
    return replace(
        flags,
        artifact=None if artifact is None else str(artifact),
        inputs=None,
        source=[*texts, *(flags.source or [])],
    )


def split_words(words: Sequence[str]) -> tuple[Path | None, list[str]]:
    """The artifact, if the first word is one, and the sources.

    Raises:
        InputFileError: the first word is neither.
        UsageError: another word is an artifact.
    """
    from s2tf_edge.file_kinds import RUNNABLE, VIDEOS, check_kind, find_kind
    from s2tf_edge.runtime.open import is_artifact
    from s2tf_edge.runtime.sources.parsing import names_source, parse_source

    if not words:
        return None, []
    is_first = is_artifact(words[0])
    if not is_first and not names_source(words[0]):
        msg = (
            f"{words[0]} does not exist; the first word is an artifact (a folder made by s2tf-export, or a model.pt) "
            "or a source, see --help for what that may be"
        )
        raise InputFileError(msg)
    if not is_first and Path(words[0]).is_dir():
        try:
            parse_source(words[0])
        except InputFileError as error:
            msg = f"{words[0]} is no artifact, which has a meta.json, and no source either: {error}"
            raise InputFileError(msg) from error
    sources = list(words[is_first:])
    for text in sources:
        if is_artifact(text):
            if not RUNNABLE.takes(find_kind(text).kind):
                check_kind(text, VIDEOS)
            right = f"s2tf-stream {shlex.quote(text)} SOURCE"
            msg = f"{text} is an artifact, which comes before the sources, and only one does: {right}"
            raise UsageError(msg)
    return (Path(words[0]) if is_first else None), sources


def parse_sources(texts: Sequence[str], cameras: Sequence[int], names: Sequence[str]) -> list[Source]:
    """What is read, in order: all that ``texts`` stand for, then the cameras.

    Args:
        texts: what ``parse_source`` takes.
        cameras: numbers of this machine's.
        names: what the first of them are called, one for each text and camera; several files of one text share it.

    Raises:
        InputFileError: a folder, glob or list names nothing to read.
        SourceError: there is no such camera.
        UsageError: there is nothing to read, or what is asked for cannot be read; or names are too many or no lines.
    """
    from s2tf_edge.runtime.sources.cameras import camera
    from s2tf_edge.runtime.sources.parsing import parse_source

    groups = [parse_source(text) for text in texts] + [[camera(index)] for index in cameras]
    if not groups:
        msg = "there is nothing to read; give a SOURCE, --source S or --camera N, see --help for what S may be"
        raise UsageError(msg)
    if len(names) > len(groups):
        msg = f"got {len(names)} names for {len(groups)} sources; give --name once for each source, in their order"
        raise UsageError(msg)
    for index, name in enumerate(names):
        groups[index] = _rename(groups[index], name.strip())
    return [source for group in groups for source in group]


def _rename(sources: Sequence[Source], name: str) -> list[Source]:
    if not name or not name.isprintable():
        msg = f"--name must be a line of text, got {name!r}"
        raise UsageError(msg)
    if len(sources) == 1:
        return [replace(sources[0], name=name)]
    return [replace(source, name=f"{name}/{Path(source.name).name}") for source in sources]
