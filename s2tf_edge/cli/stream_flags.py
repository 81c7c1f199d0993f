"""The flags of ``s2tf-stream``, in the order of its help; their names are the keys of a ``--config`` file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from s2tf_edge.cli.app import Quiet, RequireSignature, Verbose, version_option
from s2tf_edge.cli.completions import named
from s2tf_edge.cli.log_lines import Log

__all__ = ["NAME", "StreamFlags"]

NAME: Final = "s2tf-stream"

_INPUT: Final = "Input"
_OUTPUT: Final = "Output"
_RECOGNITION: Final = "Recognition"

Artifact = Annotated[
    str | None,
    typer.Argument(
        help="An artifact folder or a model.pt; the last exported one if the first word is a source.",
        metavar="ARTIFACT",
        show_default=False,
    ),
]
Inputs = Annotated[
    list[str] | None,
    typer.Argument(help="What is read, as --source takes it.", metavar="SOURCE", show_default=False),
]
Sources = Annotated[
    list[str] | None,
    typer.Option(
        "--source",
        "-s",
        help="A video, a folder or glob of videos or of numbered pictures, a list.txt, a camera's number or "
        "/dev/videoN, rtsp://, http(s):// (also HLS), tcp://, udp://, - for stdin, or lavfi:EXPR; repeatable. "
        "#format=NAME behind it names a format that FFmpeg cannot guess.",
        rich_help_panel=_INPUT,
    ),
]
Cameras = Annotated[
    list[int] | None, typer.Option(help="This machine's N-th camera; repeatable.", rich_help_panel=_INPUT)
]
Names = Annotated[
    list[str] | None,
    typer.Option(
        "--name",
        help="What a source is called; repeatable, in the order of the sources: arguments, --source, --camera.",
        metavar="TEXT",
        rich_help_panel=_INPUT,
    ),
]
Regions = Annotated[
    list[str] | None,
    typer.Option(
        help="Recognize this zone of each picture as a source of its own, in whole pixels or in shares from 0 to 1; "
        "repeatable.",
        metavar="X,Y,W,H[:NAME]",
        rich_help_panel=_INPUT,
    ),
]
Start = Annotated[
    str | None,
    typer.Option(
        help="Where in each file to begin: seconds, MM:SS or HH:MM:SS.", metavar="TIME", rich_help_panel=_INPUT
    ),
]
End = Annotated[str | None, typer.Option(help="Where in each file to end.", metavar="TIME", rich_help_panel=_INPUT)]
Duration = Annotated[float | None, typer.Option(help="Seconds of each source to read.", rich_help_panel=_INPUT)]
FramesPerSecond = Annotated[
    float | None,
    typer.Option(
        help="Frames a second to ask of a camera, or to count any other source by, whatever its times.",
        rich_help_panel=_INPUT,
    ),
]
HardwareDecoding = Annotated[
    str | None,
    typer.Option(
        help="Decode with this hardware, such as cuda, qsv or vaapi; auto takes what there is.",
        rich_help_panel=_INPUT,
    ),
]
Reconnect = Annotated[
    bool, typer.Option(help="Whether a live source that is lost is opened again.", rich_help_panel=_INPUT)
]
MaxOutage = Annotated[
    float | None,
    typer.Option(
        help="Seconds that a source may stay lost before it is given up; for ever by default.",
        metavar="SECONDS",
        rich_help_panel=_INPUT,
    ),
]
Jsonl = Annotated[
    str | None,
    typer.Option(
        help="Write JSON lines to this file, a file a source into this FOLDER/, or to stdout (-).",
        metavar="FILE",
        rich_help_panel=_OUTPUT,
    ),
]
Append = Annotated[
    bool,
    typer.Option("--append", help="Add to the files of --jsonl, rather than write them anew.", rich_help_panel=_OUTPUT),
]
Save = Annotated[
    Path | None,
    typer.Option(help="Save the video with its labels: .mp4, .mov or .mkv (one source).", rich_help_panel=_OUTPUT),
]
Show = Annotated[
    bool,
    typer.Option("--show", help="Show the video with its labels in a window; q ends.", rich_help_panel=_OUTPUT),
]
Serve = Annotated[
    str | None,
    typer.Option(
        help="Serve a page with live pictures, labels and latencies; any host but this needs --token.",
        metavar="HOST:PORT",
        rich_help_panel=_OUTPUT,
    ),
]
Token = Annotated[
    str | None,
    typer.Option(help="What a browser must show to see the page.", envvar="S2TF_TOKEN", rich_help_panel=_OUTPUT),
]
OnEvent = Annotated[
    str | None,
    typer.Option(
        "--on-event",
        help="Run this command when an action begins and when it ends, with JSON on its stdin.",
        metavar="CMD",
        rich_help_panel=_OUTPUT,
    ),
]
Webhook = Annotated[
    str | None,
    typer.Option(
        help="Post JSON to this address when an action begins and when it ends; a token comes from S2TF_WEBHOOK_TOKEN.",
        metavar="URL",
        rich_help_panel=_OUTPUT,
    ),
]
Saliency = Annotated[
    bool,
    typer.Option(
        "--saliency",
        help="Draw the network's saliency mask as a heat map; for artifacts exported with --mask, and model.pt.",
        rich_help_panel=_OUTPUT,
    ),
]
TopK = Annotated[int, typer.Option(help="Best classes named in each prediction.", rich_help_panel=_RECOGNITION)]
Threshold = Annotated[
    float, typer.Option(help="Score from which on a label counts as an action.", rich_help_panel=_RECOGNITION)
]
Smooth = Annotated[
    str,
    typer.Option(
        help="ema:A (A is the newest window's weight), mean:K (K windows) or none.", rich_help_panel=_RECOGNITION
    ),
]
Hop = Annotated[
    int | None,
    typer.Option(
        help="Frames of a clip from one window's start to the next's; a quarter of a clip by default, or one step.",
        rich_help_panel=_RECOGNITION,
    ),
]
Policy = Annotated[
    str,
    typer.Option(
        help="every window, the latest, or auto: every for files, latest for live sources.",
        **named(("auto", "every", "latest")),
        rich_help_panel=_RECOGNITION,
    ),
]
MaxAge = Annotated[
    float | None,
    typer.Option(
        help="Drop windows that are older than this rather than run them.",
        metavar="SECONDS",
        rich_help_panel=_RECOGNITION,
    ),
]
Device = Annotated[str, typer.Option(help="Device as the runtime names it, such as CPU or GPU.")]
Threads = Annotated[int, typer.Option(help="CPU threads of the network; 0 lets the runtime choose.")]
SelfTest = Annotated[
    bool,
    typer.Option(
        "--selftest",
        help="Show that this machine keeps up: made sources at twice what it can run, for a minute or --duration "
        "seconds, 30 at least; ends with 6 if label age or memory grow.",
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        help="TOML file with any of these flags by their names, such as max_age; what is given here comes first.",
        metavar="FILE.toml",
    ),
]
ReloadOnHangup = Annotated[
    bool,
    typer.Option(
        "--reload-on-hangup",
        help="On SIGHUP read --config again and begin anew with it; else SIGHUP ends the stream.",
    ),
]


@dataclass(frozen=True, kw_only=True)
class StreamFlags:
    """What is asked of a stream, as its user says it."""

    artifact: Artifact = None
    inputs: Inputs = None
    source: Sources = None
    camera: Cameras = None
    name: Names = None
    roi: Regions = None
    start: Start = None
    end: End = None
    duration: Duration = None
    fps: FramesPerSecond = None
    hwaccel: HardwareDecoding = None
    reconnect: Reconnect = True
    max_outage: MaxOutage = None
    jsonl: Jsonl = None
    append: Append = False
    save: Save = None
    show: Show = False
    serve: Serve = None
    token: Token = None
    on_event: OnEvent = None
    webhook: Webhook = None
    saliency: Saliency = False
    topk: TopK = 5
    threshold: Threshold = 0.3
    smooth: Smooth = "ema:0.6"
    hop: Hop = None
    policy: Policy = "auto"
    max_age: MaxAge = None
    device: Device = "auto"
    threads: Threads = 0
    require_signature: RequireSignature = None
    selftest: SelfTest = False
    config: Config = None
    reload_on_hangup: ReloadOnHangup = False
    quiet: Quiet = False
    verbose: Verbose = False
    log: Log = None
    version: Annotated[bool, version_option(NAME)] = False
