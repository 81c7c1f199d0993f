"""What a stream costs beyond its parts: one process, taking turns, medians.

    python benchmarks/stream.py model_openvino_fp16 --rounds 5 --out docs/stream.md

    stream       s2tf_edge.runtime.recognize over a made 720p H.264 file, every window
    decode       a bare PyAV loop that decodes every frame, and scales those that clips are made of once for each zone
    network      OpenVINO's own benchmark_app, on the same model and threads, for as many clips
    ratio        stream / (decode + network)
    zones        parts of the picture that are recognized in place of all of it, each with as many clips; one decoding

Where decoding and the network share the cores, the sum is what a perfect pipeline needs. The page keeps what it has
outside of its two lines of comment.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import av

from folds import check_page, write_between
from s2tf_edge.clips import SampleClock
from s2tf_edge.preprocess import INTERPOLATION, scaled_size
from s2tf_edge.runtime import Prediction, SessionOptions, StreamOptions, Summary, open_session, recognize
from s2tf_edge.runtime.hardware import hardware_facts
from s2tf_edge.runtime.session import Session
from s2tf_edge.runtime.streaming.regions import Region
from s2tf_edge.spec import ClipSpec

BEGIN, END = "<!-- benchmarks/stream.py: begin -->", "<!-- benchmarks/stream.py: end -->"
VIDEO = "testsrc2=size=1280x720:rate=30:duration={seconds},noise=alls=10:allf=t,format=yuv420p"
COPIES = """Copies of a window of {frames} × {size}²: each frame is scaled straight from the decoder's picture, then
copied to the ring twice; the window leaves the ring as one copy ({window_mb:.1f} MB), and is normalized into memory
that is used again ({input_mb:.1f} MB), or with `--input u8` given to the network as it is."""


@dataclass(frozen=True, kw_only=True)
class Round:
    """Seconds of one turn."""

    stream: float
    decode: float
    network: float
    windows: int
    summary: Summary

    @property
    def ratio(self) -> float:
        return self.stream / (self.decode + self.network)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifacts", nargs="+", type=Path, help="OpenVINO artifacts made by s2tf-export")
    parser.add_argument("--seconds", type=int, default=40, help="length of the video")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--zones", type=int, nargs="+", default=[0], help="0: all of the picture; 4: its quarters")
    parser.add_argument("--hop", type=int, help="as s2tf-stream's; a quarter of a clip by default")
    parser.add_argument("--threads", type=int, default=0, help="0: one a core")
    parser.add_argument("--hint", default="throughput", choices=["latency", "throughput"])
    parser.add_argument("--out", type=Path, help=f"a page whose part between {BEGIN} and {END} the tables become")
    arguments = parser.parse_args()
    if arguments.out:
        check_page(parser, arguments.out, BEGIN, END)
    with tempfile.TemporaryDirectory() as folder:
        video = make_video(Path(folder) / "720p.mp4", seconds=arguments.seconds)
        parts = [measure(artifact, video, arguments) for artifact in arguments.artifacts]
    text = "\n".join([*head(arguments), *parts]).rstrip()
    print(text)
    if arguments.out:
        write_between(arguments.out, BEGIN, END, [text])


def make_video(path: Path, *, seconds: int) -> Path:
    """720p H.264 as cameras record it: moving shapes and noise, 30 frames a second."""
    with av.open(VIDEO.format(seconds=seconds), format="lavfi") as source, av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=30, options={"preset": "veryfast", "crf": "26"})
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        for frame in source.decode(video=0):
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    return path


def measure(artifact: Path, video: Path, arguments: argparse.Namespace) -> str:
    """All rounds of one artifact, as a table."""
    options = SessionOptions(threads=arguments.threads, hint=arguments.hint, requests=0)
    with open_session(artifact, options) as session:
        # The first is for caches.
        turns = range(arguments.rounds + 1)
        rounds = [[one_round(session, artifact, video, arguments, zones=n) for n in arguments.zones] for _ in turns]
        return "\n".join(
            table(session, list(each), zones=n)
            for n, each in zip(arguments.zones, zip(*rounds[1:], strict=True), strict=True)
        )


def one_round(session: Session, artifact: Path, video: Path, arguments: argparse.Namespace, *, zones: int) -> Round:
    # Side by side in rows, as shelves or tills are.
    side = max(1, math.ceil(math.sqrt(zones)))
    regions = tuple(
        Region(f"zone {index}", (index % side / side, index // side / side, 1 / side, 1 / side))
        for index in range(zones)
    )
    options = StreamOptions(policy="every", hop=arguments.hop, regions=regions)
    began = time.perf_counter()
    records = list(recognize(video, session, options=options))
    stream = time.perf_counter() - began
    windows = sum(isinstance(record, Prediction) for record in records)
    summary = next(record for record in records if isinstance(record, Summary))
    began = time.perf_counter()
    decode(video, session.info.spec, scalings=max(1, zones))
    decoding = time.perf_counter() - began
    rate = benchmark_app(artifact / "model.xml", clips=windows, folder=video.parent, arguments=arguments)
    return Round(stream=stream, decode=decoding, network=windows / rate, windows=windows, summary=summary)


def decode(video: Path, spec: ClipSpec, *, scalings: int) -> None:
    """The least that has to be done to the file: frames that no clip takes are not scaled, others once a zone."""
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        reformatter = av.video.reformatter.VideoReformatter()
        clock: SampleClock | None = None
        for frame in container.decode(stream):
            seconds = frame.time or 0.0
            clock = clock or SampleClock(spec, start_seconds=seconds)
            if clock.take(seconds):
                height, width = scaled_size(frame.height, frame.width, short_side=spec.resize_short_side)
                for _ in range(scalings):
                    reformatter.reformat(frame, width, height, format="rgb24", interpolation=INTERPOLATION)


def benchmark_app(model: Path, *, clips: int, folder: Path, arguments: argparse.Namespace) -> float:
    """Clips a second."""
    program = Path(sys.executable).with_name("benchmark_app")
    command = [str(program), "-m", str(model), "-d", "CPU", "-niter", str(clips), "-hint", arguments.hint]
    if arguments.threads:
        # The program's own flag for threads excludes -hint.
        config = folder / "threads.json"
        config.write_text(json.dumps({"CPU": {"INFERENCE_NUM_THREADS": arguments.threads}}))
        command += ["-load_config", str(config)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = re.search(r"Throughput:\s+([\d.]+) FPS", said)
    if found is None:
        raise RuntimeError(said)
    return float(found[1])


def head(arguments: argparse.Namespace) -> list[str]:
    facts = ", ".join(f"{key} {value}" for key, value in hardware_facts().items())
    return [
        f"A 720p H.264 video of {arguments.seconds} s, every window; seconds, medians of {arguments.rounds} rounds in",
        "which the three take turns. Written by `benchmarks/stream.py`, where the columns are explained.",
        "",
        f"`{facts}, hint {arguments.hint}, threads {arguments.threads or 'one a core'}`",
        "",
    ]


def table(session: Session, rounds: list[Round], *, zones: int) -> str:
    info, spec = session.info, session.info.spec
    medians = [statistics.median(getattr(each, name) for each in rounds) for name in ("stream", "decode", "network")]
    ratios = sorted(each.ratio for each in rounds)
    spread = f"{statistics.median(ratios):.3f} | {ratios[0]:.3f} … {ratios[-1]:.3f}"
    last = rounds[-1].summary
    lines = [
        f"## `{info.network}`, {info.precision}, {rounds[0].windows} windows of {last.frames_in} frames"
        + (f", {zones} zones" if zones else ""),
        "",
        "| stream | decode | network | ratio | from … to |",
        "|---|---|---|---|---|",
        f"| {medians[0]:.2f} | {medians[1]:.2f} | {medians[2]:.2f} | {spread} |",
        "",
        "| stage | p50 ms | p95 ms | p99 ms | n |",
        "|---|---|---|---|---|",
        *(
            f"| {stage} | {each['p50']:.2f} | {each['p95']:.2f} | {each['p99']:.2f} | {each['n']:.0f} |"
            for stage, each in last.stages_ms.items()
        ),
        "",
        COPIES.format(
            frames=spec.frames,
            size=spec.size,
            window_mb=3e-6 * spec.frames * spec.size**2,
            input_mb=12e-6 * spec.frames * spec.size**2,
        ),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
