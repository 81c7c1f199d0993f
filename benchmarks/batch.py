"""What an archive costs beyond its parts, what a second worker brings, and what the driver of many videos holds.

    python benchmarks/batch.py --rounds 5 --out docs/archives.md

    batch        s2tf-batch, all its processes
    decode       a bare PyAV loop that decodes every frame, and scales those that clips are made of
    network      the same session, as many clips, one after another
    overhead     (batch / (decode + network)) - 1

The three take turns, a process each, with one thread for the network. Seconds are those of the processor, of each
process and of those it started, so that other programs on the machine count for little; and they are of the difference
between many videos and few, so that starting up counts for nothing. The curve is by the clock, as it must be.

The driver is measured on a list that names one video so often, with a crew that answers at once: recognizing would take
days, and what the driver holds does not depend on who does it.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from folds import check_page, write_between
from s2tf_edge.runtime import SessionOptions, open_session
from s2tf_edge.runtime.archives.crew import Finished, Outcome
from s2tf_edge.runtime.archives.entries import Task
from s2tf_edge.runtime.archives.recognize_archive import ArchiveOptions, recognize_archive
from s2tf_edge.runtime.archives.tally import ArchiveTally
from s2tf_edge.runtime.hardware import hardware_facts
from stream import decode, make_video

BEGIN, END = "<!-- benchmarks/batch.py: begin -->", "<!-- benchmarks/batch.py: end -->"
AGAIN = ["-c", "import sys; sys.path.insert(0, sys.argv.pop(1)); from batch import main; main()"]
LISTED = (1_000, 10_000, 100_000)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Seconds of the processor, of one turn."""

    batch: float
    decode: float
    network: float

    @property
    def ratio(self) -> float:
        return self.batch / (self.decode + self.network)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "artifact",
        type=Path,
        nargs="?",
        help="made by s2tf-export; by default X3D-S with random weights, in float32 for OpenVINO",
    )
    parser.add_argument("--seconds", type=int, default=20, help="length of each video")
    parser.add_argument("--few", type=int, default=2, help="videos of the short run")
    parser.add_argument("--many", type=int, default=8, help="and of the long one")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help=f"a page whose part between {BEGIN} and {END} the tables become")
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.alone:
        ALONE[arguments.alone](arguments.artifact, arguments.out, arguments.count)
        return
    if arguments.out:
        check_page(parser, arguments.out, BEGIN, END)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        arguments.artifact = arguments.artifact or build(folder)
        videos = [folder / f"videos/{number}.mp4" for number in range(arguments.many)]
        videos[0].parent.mkdir()
        make_video(videos[0], seconds=arguments.seconds)
        for video in videos[1:]:
            shutil.copy(videos[0], video)
        few = folder / "few.txt"
        few.write_text("".join(f"{video}\n" for video in videos[: arguments.few]), encoding="utf-8")
        rounds, curve = [], []
        for number in range(arguments.rounds):
            rounds.append(one_round(arguments, folder, few))
            print(number, rounds[-1], f"{rounds[-1].ratio:.3f}", flush=True)
            curve.append([speed(arguments.artifact, videos[0].parent, folder / "out", workers=n) for n in (1, 2)])
            print(number, curve[-1], flush=True)
        memory = [peak_mb(arguments.artifact, folder, count) for count in LISTED]
        print(memory)
        lines = report(arguments, rounds, curve, memory)
    print("\n".join(lines))
    if arguments.out:
        write_between(arguments.out, BEGIN, END, lines)


def build(folder: Path) -> Path:
    """An artifact whose weights are random, which costs what others do."""
    import torch

    from s2tf_edge.export import ExportOptions, export
    from s2tf_edge.models import create_model, save_model

    torch.manual_seed(0)
    save_model(folder / "x3d_s.pt", create_model("x3d_s", num_classes=400))
    out = folder / "x3d_s_openvino_fp32"
    export(folder / "x3d_s.pt", ExportOptions(target="openvino", precision="fp32", out=out))
    return out


def one_round(arguments: argparse.Namespace, folder: Path, few: Path) -> Parts:
    """Each of the three on few videos and on many, side by side."""
    out, videos = folder / "out", folder / "videos"
    fresh(out)
    words = [str(arguments.artifact), "--out", str(out), "--workers", "1", "--quiet", "--json"]
    windows, seconds = [], []
    for source in (few, videos):
        fresh(out)
        took, said = processor_seconds(["-m", "s2tf_edge.cli.batch", words[0], str(source), *words[1:]])
        windows.append(json.loads(said)["windows"])
        seconds.append(took)
    bare = [(arguments.few, windows[0]), (arguments.many, windows[1])]
    decoding = [alone("decode", arguments.artifact, videos / "0.mp4", count)[0] for count, _ in bare]
    network = [alone("network", arguments.artifact, videos / "0.mp4", count)[0] for _, count in bare]
    return Parts(batch=seconds[1] - seconds[0], decode=decoding[1] - decoding[0], network=network[1] - network[0])


def processor_seconds(words: Sequence[str]) -> tuple[float, str]:
    """What a process of Python and all that it starts take, and what it prints."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, *words], check=True, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def alone(what: str, artifact: Path, place: Path, count: int) -> tuple[float, str]:
    """Does one thing in a process of its own."""
    here = str(Path(__file__).parent)
    return processor_seconds([*AGAIN, here, str(artifact), "--alone", what, "--out", str(place), "--count", str(count)])


def decode_alone(artifact: Path, video: Path, count: int) -> None:
    spec = open_session(artifact).info.spec
    for _ in range(count):
        decode(video, spec, scalings=1)


def infer_alone(artifact: Path, _: Path, count: int) -> None:
    with open_session(artifact, SessionOptions(threads=1)) as session:
        spec = session.info.spec
        clip = np.random.default_rng(0).random(spec.input_shape(), np.float32).astype(spec.dtype)
        for _number in range(count):
            session.infer(clip)


class AnswersAtOnce:
    """A crew whose pieces are done as soon as they are given."""

    workers = 1

    def __init__(self) -> None:
        self._given: list[Task] = []

    @property
    def has_room(self) -> bool:
        return len(self._given) < self.workers

    def give(self, task: Task) -> None:
        self._given.append(task)

    def wait(self, _: float) -> Sequence[Outcome]:
        given, self._given = self._given, []
        return [Finished(task=task, tally=ArchiveTally(videos=len(task.piece.entries))) for task in given]

    def __enter__(self) -> AnswersAtOnce:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


def drive_alone(artifact: Path, listed: Path, _: int) -> None:
    """Goes through a list with a crew that answers at once, twice, and prints the peak of memory of each in MB."""
    for _turn in range(2):
        how = ArchiveOptions(format="jsonl")
        out = listed.with_suffix(".out")
        recognize_archive([str(listed)], artifact, out=out, how=how, make_crew=lambda order, *, pieces: AnswersAtOnce())
        # What getrusage says of a process that was just started is the peak of the one that started it.
        status = Path("/proc/self/status").read_text(encoding="ascii")
        print(int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6)


ALONE = {"decode": decode_alone, "network": infer_alone, "drive": drive_alone}


def peak_mb(artifact: Path, folder: Path, count: int) -> list[float]:
    """Peaks of memory of a driver in its first run and when it goes on, each in MB of 10^6 bytes."""
    listed = folder / f"{count}.txt"
    listed.write_text(f"{folder}/videos/0.mp4\n" * count, encoding="utf-8")
    return [float(line) for line in alone("drive", artifact, listed, count)[1].split()]


def speed(artifact: Path, videos: Path, out: Path, *, workers: int) -> float:
    """Hours of video an hour, by the clock, starting up included."""
    fresh(out)
    words = [str(artifact), str(videos), "--out", str(out), "--workers", str(workers), "--quiet", "--json"]
    _, said = processor_seconds(["-m", "s2tf_edge.cli.batch", *words])
    return float(json.loads(said)["run"]["hours_per_hour"])


def fresh(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def report(
    arguments: argparse.Namespace,
    rounds: Sequence[Parts],
    curve: Sequence[Sequence[float]],
    memory: Sequence[list[float]],
) -> list[str]:
    """The tables, as Markdown."""
    info = open_session(arguments.artifact).info
    facts = hardware_facts()
    more = arguments.many - arguments.few
    hours = more * arguments.seconds / 3600
    of = {name: [getattr(each, name) for each in rounds] for name in ("batch", "decode", "network")}
    cost = [each.batch / 3600 / hours for each in rounds]
    per_core = [1 / each for each in cost]
    return [
        (
            f"{facts['cpu']}, {facts['cores']} cores; `{info.network}`, "
            f"{info.target} {info.precision}, one thread; 720p H.264. n = {len(rounds)} rounds in which all take "
            "turns; the median, and from the lowest to the highest."
        ),
        "",
        f"| of {more} videos of {arguments.seconds} s | processor, s |",
        "|---|---|",
        *(f"| {name} | {spread(values, 2)} |" for name, values in of.items()),
        f"| batch over decode + network | {spread([each.ratio for each in rounds], 3)} |",
        f"| core hours an hour of video | {spread(cost, 3)} |",
        f"| hours of video an hour of one core | {spread(per_core, 1)} |",
        "",
        f"| workers | hours of video an hour, by the clock, {arguments.many} videos, starting up included |",
        "|---|---|",
        *(f"| {n} | {spread([each[n - 1] for each in curve], 1)} |" for n in (1, 2)),
        "",
        "| listed videos | memory of the driver at most, MB: first run | when it goes on |",
        "|---|---|---|",
        *(f"| {count:,} | {first:.0f} | {again:.0f} |" for count, (first, again) in zip(LISTED, memory, strict=True)),
    ]


def spread(values: Sequence[float], digits: int) -> str:
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


if __name__ == "__main__":
    main()
