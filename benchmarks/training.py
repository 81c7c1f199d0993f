"""Trains networks on the same folds of a data set with the same seeds, and compares them on people they never saw.

    python benchmarks/training.py videos/ --group-by '^([a-z]+)_' --config recipe.toml --out runs/folds \\
        --network plain='r3d_10?width=0.25' --network s2tf='s2tf_r3d_10?width=0.25' --network 's2tf, ce'='…?…&loss=ce'

The groups that ``--group-by`` finds (people, long videos that were cut up) are dealt into folds in the order of their
names; each fold is tested by networks that were trained on the others. Nothing is chosen by the videos that are tested
on: what counts are the weights after the last epoch, and they are scored by ``s2tf-eval``'s own code. Of each network

- ``top-1`` is the share of all videos that is named right, each by the networks that did not see its group, averaged
  over the seeds; behind it the lowest and the highest seed;
- the 95 % interval is of a bootstrap over groups and the videos in them, whose answers under several seeds go together;
- ``against`` is the difference to the first network, video by video, with an interval of the same bootstrap.

A run that was done is not done again: its predictions lie in OUT. Several runs go on at once (``--jobs``), each on one
thread. With ``--past N`` causal networks are tested once more, on the same clips with N frames before them, as far as
the videos have so many: a stream goes on from its past, where ``s2tf-eval`` begins afresh.

``--network 'causal=…?causal=true&pretrained=clip'`` begins with the weights that the network titled ``clip``
ended with in the same fold and seed, which have not seen the videos that are tested on either.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import torch

from folds import (
    compare,
    facts_of,
    groups_of,
    keep_answers,
    parse_with_folds,
    perform,
    sides_of,
    without_answers,
    write_answers,
    write_between,
)
from s2tf_edge import load_model
from s2tf_edge.data.datasets import open_data
from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.data.videos import Video
from s2tf_edge.models import VideoNetwork
from s2tf_edge.preprocess import preprocess
from s2tf_edge.training import TrainConfig, train
from s2tf_edge.training.config import read_overrides
from s2tf_edge.training.pasts import reach_back
from s2tf_edge.words import counted

BEGIN, END = "<!-- table of benchmarks/training.py -->", "<!-- end of table -->"


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training: a network, a fold to test on, a seed."""

    name: str
    settings: dict[str, Any]
    fold: int
    seed: int
    folder: Path
    pretrained: Path | None = None
    """The weights to begin with, of a run of another network."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="a folder of class folders, or what else s2tf-train takes")
    parser.add_argument("--group-by", required=True, help="as for s2tf-train")
    parser.add_argument("--network", action="append", required=True, metavar="TITLE=NAME", help="settings behind ?")
    parser.add_argument("--past", type=int, default=0, metavar="N", help="frames before the clips, for causal networks")
    parser.add_argument("--config", type=Path, help="TOML file of settings that all networks have")
    arguments = parse_with_folds(parser, BEGIN, END)
    networks = dict(network.split("=", 1) for network in arguments.network)
    runs = list(plan_runs(networks, arguments))
    for waits in (False, True):
        ready = [run for run in without_answers(runs) if (run.pretrained is not None) == waits]
        perform(ready, train_one, arguments, jobs=arguments.jobs)
    if arguments.past:
        runs = [*runs, *score_with_past(runs, arguments)]
    lines = table(runs, open_data(arguments.data), arguments)
    print("\n".join(lines))
    if arguments.page:
        write_between(arguments.page, BEGIN, END, lines)


def plan_runs(networks: dict[str, str], arguments: argparse.Namespace) -> Iterator[Run]:
    """All of them, seed by seed, so that what is there after a while compares all networks."""
    shared = read_overrides(arguments.config) if arguments.config else {}
    fields = {field.name: field for field in dataclasses.fields(TrainConfig)}
    for seed in range(arguments.seeds):
        for fold in range(arguments.folds):
            for title, name in networks.items():
                base, _, query = name.partition("?")
                options = dict(parse_qsl(query))
                # What is a setting of the run is none of the network.
                own = {key: _value(value) for key, value in options.items() if key in fields and key != "dropout"}
                first = options.pop("pretrained", None)
                rest = {key: value for key, value in options.items() if key not in own}
                model = f"{base}?{urlencode(rest)}" if rest else base
                place = f"fold{fold}_seed{seed}"
                yield Run(
                    name=title,
                    # The best epoch would be chosen by the fold that is tested on.
                    settings=shared | own | {"model": model, "seed": seed, "keep": "last"},
                    fold=fold,
                    seed=seed,
                    folder=_folder(arguments, title) / place,
                    pretrained=_folder(arguments, first) / place / "model.pt" if first else None,
                )


def _folder(arguments: argparse.Namespace, title: str) -> Path:
    folder: Path = arguments.out / re.sub(r"\W+", "_", title)
    return folder


def _value(text: str) -> Any:
    if text in {"true", "false"}:
        return text == "true"
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    return float(text) if re.fullmatch(r"-?[\d.]+(e-?\d+)?", text) else text


def train_one(run: Run, arguments: argparse.Namespace) -> str:
    torch.set_num_threads(1)
    videos = open_data(arguments.data)
    learned, unseen = sides_of(videos, run.fold, group_by=arguments.group_by, folds=arguments.folds)
    started = time.monotonic()
    config = TrainConfig(**run.settings)
    result = train(config, videos=learned, validation=unseen, out=run.folder, pretrained=run.pretrained)
    facts = {"seconds": time.monotonic() - started, "parameters": parameters_of(result.model)}
    return keep_answers(run, result.model, unseen, views=arguments.views, facts=facts)


def score_with_past(runs: Sequence[Run], arguments: argparse.Namespace) -> Iterator[Run]:
    """The runs of causal networks, tested on clips that have a past."""
    videos = open_data(arguments.data)
    for run in runs:
        network = load_model(run.folder / "model.pt").eval()
        if not network.is_causal:
            continue
        folder = run.folder / f"past_{arguments.past}"
        folder.mkdir(exist_ok=True)
        again = dataclasses.replace(run, name=f"{run.name}, {arguments.past} frames before the clip", folder=folder)
        _, unseen = sides_of(videos, run.fold, group_by=arguments.group_by, folds=arguments.folds)
        right = [
            answer_with_past(network, video, most=arguments.past) == unseen.class_of(index)
            for index, video in enumerate(unseen.videos)
        ]
        write_answers(again, unseen, list(map(int, right)), facts=facts_of(run))
        yield again


@torch.inference_mode()
def answer_with_past(network: VideoNetwork, video: Video, *, most: int) -> int:
    """What is said at the end of the clip in the middle of a video."""
    spec, at = reach_back(video, network.spec, at=0.5, most=most)
    frames = preprocess(video.read(spec, at=at), spec)
    return int(network(torch.from_numpy(frames)[None]).argmax())


def parameters_of(model: Path) -> int:
    return sum(parameter.numel() for parameter in load_model(model).parameters())


def table(runs: Sequence[Run], videos: LabeledVideos, arguments: argparse.Namespace) -> list[str]:
    groups = len(set(groups_of(videos, arguments.group_by)))
    sizes = f"{len(videos)} videos, {groups} groups in {arguments.folds} folds, {counted(arguments.seeds, 'seed')}"
    lines = [
        f"{sizes}, {arguments.views} views.",
        "",
        "| network | parameters | top-1 | seeds | 95 % interval | against the first |",
        "|---|---|---|---|---|---|",
    ]
    for title, columns in compare(runs, videos, group_by=arguments.group_by).items():
        facts = facts_of(next(run for run in runs if run.name == title))
        lines.append(f"| {title} | {facts['parameters'] / 1e6:.2f} M | {' | '.join(columns)} |")
    return lines


if __name__ == "__main__":
    main()
