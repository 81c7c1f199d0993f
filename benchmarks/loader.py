"""Clips a second of the training loader, beside a loop that decodes whole videos.

    python benchmarks/loader.py --repeats 5

Makes H.264 videos of 320×240 at 25 frames a second (x264's defaults: a key frame every ten seconds), and reads training
clips from each: by the loader's own data set, without a cache and with one, and by the plain loop of tutorials, which
decodes all frames to RGB, takes those of the clip and resizes them. All run in one process, turn by turn. A second is
one of the processor's, so that what else the machine does counts little; figures are medians with the range over the
repeats, and the ratio is that of the medians.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import torch
from torch.nn import functional

from s2tf_edge.data.cached_video import CachedVideo, cached
from s2tf_edge.data.files import LabeledFile
from s2tf_edge.data.frame_store import FrameStore
from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.data.synthetic import write_video
from s2tf_edge.spec import ClipSpec
from s2tf_edge.training.augmentation import Augmentation
from s2tf_edge.training.dataset import ClipDataset
from s2tf_edge.training.settings.augmentation import AugmentationSettings

SPEC = ClipSpec(frames=16, size=112, resize_short_side=128, stride=2)
FPS = 25
VIDEOS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, nargs="+", default=[6, 20, 60], help="lengths of the videos")
    parser.add_argument("--clips", type=int, default=4, help="clips in a measurement")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{VIDEOS} videos of each length, {arguments.clips} clips a measurement, n = {arguments.repeats}")
    print("| video | plain loop, clips/s | loader | ratio | loader with a cache | ratio |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for seconds in arguments.seconds:
            videos = make_videos(Path(folder) / str(seconds), seconds)
            print(compare(videos, arguments.clips, arguments.repeats, FrameStore(Path(folder) / "cache")), flush=True)


def make_videos(folder: Path, seconds: int) -> LabeledVideos:
    folder.mkdir()
    for index in range(VIDEOS):
        write_video(folder / f"{index}.mp4", clips=[("moving left", float(seconds))], fps=FPS, seed=index)
    files = [LabeledFile(path=path, label=0) for path in sorted(folder.iterdir())]
    return LabeledVideos(name=f"{seconds} s", labels=("moving left",), videos=files)


def compare(videos: LabeledVideos, clips: int, repeats: int, store: FrameStore) -> str:
    """A row of the table."""
    ways = {
        "plain": lambda epoch: read_plainly(videos, epoch, clips),
        "loader": reader(videos, clips),
        "cache": reader(cached(videos, store, CachedVideo), clips),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for epoch in range(repeats + 1):
        for name, read in ways.items():
            start = time.process_time()
            read(epoch)
            rates[name].append(clips / (time.process_time() - start))
    # The first time files are looked through, and the cache is filled.
    medians = {name: statistics.median(values[1:]) for name, values in rates.items()}
    shown = {
        name: f"{medians[name]:.1f} ({min(values[1:]):.1f}–{max(values[1:]):.1f})" for name, values in rates.items()
    }
    ratios = {name: f"{medians[name] / medians['plain']:.1f}×" for name in ("loader", "cache")}
    return " | ".join(
        [f"| {videos.name}", shown["plain"], shown["loader"], ratios["loader"], shown["cache"], f"{ratios['cache']} |"]
    )


def reader(videos: LabeledVideos, clips: int) -> Callable[[int], None]:
    augmentation = Augmentation(settings=AugmentationSettings(), flips=True)
    dataset = ClipDataset(videos, SPEC, repeats=-(-clips // len(videos)), augmentation=augmentation)

    def read(epoch: int) -> None:
        for index in range(clips):
            dataset[epoch * len(dataset) + index]

    return read


def read_plainly(videos: LabeledVideos, epoch: int, clips: int) -> None:
    """Decodes everything; a crop, a flip and a normalization follow, as the loader has them."""
    rng = np.random.default_rng(epoch)
    for index in range(clips):
        with av.open(videos.videos[index % len(videos)].name) as container:
            frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
        span = (SPEC.frames - 1) * SPEC.stride
        first = int(rng.integers(len(frames) - span))
        side = int(min(frames.shape[1:3]) * rng.uniform(0.7, 1))
        clip = torch.from_numpy(frames[first : first + span + 1 : SPEC.stride, :side, :side].copy())
        pictures = clip.permute(0, 3, 1, 2).float()
        resized = functional.interpolate(pictures, size=(SPEC.size, SPEC.size), mode="bilinear")
        (resized.permute(1, 0, 2, 3) / 255 - 0.45) / 0.225


if __name__ == "__main__":
    main()
