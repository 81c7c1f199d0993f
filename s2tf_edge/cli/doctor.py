"""``s2tf-doctor``: what this machine has, what it lacks, and what can be exported and run here."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Final

import typer

from s2tf_edge.cli.app import Quiet, Verbose, print_json, progress_bar, run, say, version_option
from s2tf_edge.cli.diagnosis import RUNTIMES, Diagnosis, KnownRuntime, diagnose
from s2tf_edge.cli.probing import RuntimeState
from s2tf_edge.errors import MissingExtraError
from s2tf_edge.words import counted

__all__ = ["doctor", "main"]

_NAME = "s2tf-doctor"
_EXAMPLES = ("s2tf-doctor", "s2tf-doctor --json > machine.json")
_WIDTH: Final = 80
_FIRST: Final = 14
"""Columns of the words that lines begin with."""
_PIP_LINE: Final = re.compile(r"pip install (?:--\S+ )*\S+")
_REINSTALL: Final = "pip install --force-reinstall --no-deps"
_NO_BREAK: Final = "\xa0"
_DEVICE_EXTRA: Final = "device"


def doctor(
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Annotated[bool, version_option(_NAME)] = False,
) -> None:
    """Say what this machine [bold]has, lacks and can run[/bold].

    Runtimes are asked in processes of their own: one that is broken, or crashes, is told as that. Ends with 7 where
    nothing is there to run an artifact.
    """
    del quiet, verbose, version  # taken by the app
    with progress_bar("asking the runtimes"):
        found = diagnose()
    if json:
        print_json(found.to_dict())
    else:
        say("\n".join(_lines(found)))
    if not found.runs_artifacts:
        from s2tf_edge.extras import pip_line

        msg = f"nothing here runs an artifact; install what does with: {pip_line(_DEVICE_EXTRA)}"
        raise MissingExtraError(msg)


def main() -> None:
    """Entry point of the console script."""
    run(doctor, name=_NAME, examples=_EXAMPLES)


def _lines(found: Diagnosis) -> Iterator[str]:
    yield from _machine_lines(found.machine)
    yield from _runtime_lines(found)
    yield from _video_lines(found.states["video"])
    yield from _extra_lines(found.lacking)
    yield from _line("runs", ", ".join(found.runs) or "nothing")
    deferred = [f"{target} up to the engine (--defer-build)" for target in found.defers]
    yield from _line("exports to", ", ".join([*found.exports, *deferred]) or "nothing; see extra export")
    for note in found.notes:
        yield from _line("note", note)


def _line(first: str, text: str) -> list[str]:
    """``text`` behind ``first``, in as many lines as it takes; whoever copies a pip line has it on one."""
    whole = _PIP_LINE.sub(lambda line: line[0].replace(" ", _NO_BREAK), text)
    lines = textwrap.wrap(
        whole,
        _WIDTH,
        initial_indent=f"{first:{_FIRST}}",
        subsequent_indent=" " * _FIRST,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(_NO_BREAK, " ") for line in lines]


def _machine_lines(machine: Mapping[str, Any]) -> Iterator[str]:
    system = f"{machine['system']}, {machine['architecture']}, {machine['libc'] or 'unknown C library'}"
    yield from _line("s2tf-edge", f"{machine['s2tf-edge']}, Python {machine['python']}; {system}")
    cores = machine["cores"]
    count = counted(cores["there"], "core")
    if cores["usable"] < cores["there"]:
        count += f", {cores['usable']:g} for this process"
    yield from _line("processor", f"{machine['cpu']}, {count}")
    if machine["instructions"] is not None:
        there = [name for name, has in machine["instructions"].items() if has]
        absent = [name for name, has in machine["instructions"].items() if not has]
        without = f"; without {', '.join(absent)}" if absent else ""
        yield from _line("", (", ".join(there) or "none that help") + without)
    if machine["memory_gb"] is not None:
        yield from _line("memory", "{total} GB, {free} free".format_map(machine["memory_gb"]))


def _runtime_lines(found: Diagnosis) -> Iterator[str]:
    for name, known in RUNTIMES.items():
        yield from _line(known.title, _describe_runtime(known, found.states[name], gpu=found.states["cuda"]))
    gpu = found.states["cuda"]
    if gpu.is_installed or gpu.broken:
        yield from _line("NVIDIA GPU", gpu.broken or ", ".join(gpu.devices) or gpu.lacks or "none")


def _describe_runtime(known: KnownRuntime, state: RuntimeState, *, gpu: RuntimeState) -> str:
    from s2tf_edge.extras import pip_line

    if state.broken is not None:
        version = f"{state.version}, " if state.version else ""
        return f"{version}broken: {state.broken}; {_REINSTALL} {known.package}"
    if not state.is_installed:
        return f"missing; {'where there is an NVIDIA GPU: ' if known.needs_gpu else ''}{pip_line(known.extra)}"
    if known.needs_gpu and not gpu.is_installed:
        return f"{state.version}, but lacks cuda-python to reach a GPU; {pip_line(known.extra)}"
    if known.needs_gpu:
        return str(state.version) if gpu.devices else f"{state.version}, but no NVIDIA GPU to run on"
    return f"{state.version} on {', '.join(state.devices) or 'no device'}"


def _video_lines(state: RuntimeState) -> Iterator[str]:
    if not state.works:
        yield from _line("PyAV", f"broken: {state.broken or 'it is not installed'}; {_REINSTALL} av")
        return
    decoders = ", ".join(state.devices) or "no hardware that decodes"
    yield from _line("PyAV", f"{state.version} with FFmpeg {state.facts['ffmpeg']}; {decoders}")
    cameras = state.facts["cameras"]
    if cameras is not None:
        told = [f"{each['index']} ({each['name']})" if each["name"] else str(each["index"]) for each in cameras]
        yield from _line("cameras", ", ".join(told) or "none")


def _extra_lines(lacking: Mapping[str, Sequence[str]]) -> Iterator[str]:
    from s2tf_edge.extras import pip_line

    runtimes = {known.extra for name, known in RUNTIMES.items() if name != "torch"}
    others = {extra: packages for extra, packages in lacking.items() if extra not in runtimes}
    complete = [extra for extra, packages in others.items() if not packages]
    if complete:
        yield from _line("extras", f"{', '.join(complete)} complete")
    for extra, packages in others.items():
        if packages:
            yield from _line(f"extra {extra}", f"lacks {', '.join(packages)}; {pip_line(extra)}")
