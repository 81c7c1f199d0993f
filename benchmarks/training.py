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
thread.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import csv
import dataclasses
import json
import multiprocessing
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import numpy as np
import torch
from numpy.typing import NDArray

from s2tf_edge.data.datasets import open_data
from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.runtime.evaluation.multi_view import Views, evaluate
from s2tf_edge.runtime.hardware import hardware_facts
from s2tf_edge.runtime.open import open_session
from s2tf_edge.training import TrainConfig, train
from s2tf_edge.training.config import read_overrides

BEGIN, END = "<!-- table of benchmarks/training.py -->", "<!-- end of table -->"
_DRAWS = 4000


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training: a network, a fold to test on, a seed."""

    name: str
    settings: dict[str, Any]
    fold: int
    seed: int
    folder: Path

    @property
    def results(self) -> Path:
        return self.folder / "predictions.csv"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="a folder of class folders, or what else s2tf-train takes")
    parser.add_argument("--group-by", required=True, help="as for s2tf-train")
    parser.add_argument("--network", action="append", required=True, metavar="TITLE=NAME", help="settings behind ?")
    parser.add_argument("--config", type=Path, help="TOML file of settings that all networks have")
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--views", default="1x1")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at once, each on one thread")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--page", type=Path, help=f"a page whose lines between {BEGIN} and {END} are replaced")
    arguments = parser.parse_args()
    networks = dict(network.split("=", 1) for network in arguments.network)
    runs = list(plan_runs(networks, arguments))
    perform([run for run in runs if not run.results.is_file()], arguments)
    lines = table(networks, runs, open_data(arguments.data), arguments)
    print("\n".join(lines))
    if arguments.page:
        write(arguments.page, lines)


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
                rest = {key: value for key, value in options.items() if key not in own}
                model = f"{base}?{urlencode(rest)}" if rest else base
                folder = arguments.out / re.sub(r"\W+", "_", title) / f"fold{fold}_seed{seed}"
                settings = shared | own | {"model": model, "seed": seed}
                yield Run(name=title, settings=settings, fold=fold, seed=seed, folder=folder)


def _value(text: str) -> Any:
    if text in {"true", "false"}:
        return text == "true"
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    return float(text) if re.fullmatch(r"-?[\d.]+(e-?\d+)?", text) else text


def perform(runs: Sequence[Run], arguments: argparse.Namespace) -> None:
    if not runs:
        return
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(arguments.jobs, mp_context=context) as pool:
        waiting = {pool.submit(perform_one, run, arguments): run for run in runs}
        for done in concurrent.futures.as_completed(waiting):
            run = waiting[done]
            print(f"{run.name}, fold {run.fold}, seed {run.seed}: {done.result()}", flush=True)


def perform_one(run: Run, arguments: argparse.Namespace) -> str:
    torch.set_num_threads(1)
    videos = open_data(arguments.data)
    tested = fold_of(videos, arguments.group_by, arguments.folds) == run.fold
    sides = [videos.subset(np.flatnonzero(chosen).tolist()) for chosen in (~tested, tested)]
    started = time.monotonic()
    result = train(TrainConfig(**run.settings), videos=sides[0], validation=sides[1], out=run.folder)
    seconds = time.monotonic() - started
    with open_session(result.model) as session:
        evaluation = evaluate(session, sides[1], views=Views.parse(arguments.views))
    rows = zip(sides[1].videos, evaluation.predictions.tolist(), evaluation.targets.tolist(), strict=True)
    found = [(video.name, int(said == true)) for video, said, true in rows]
    with run.results.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(found)
    facts = {"seconds": seconds, "parameters": result_parameters(result.model)}
    run.folder.joinpath("facts.json").write_text(json.dumps(facts), encoding="utf-8")
    return f"{100 * np.mean([right for _, right in found]):.0f} % of {len(found)}, {seconds:.0f} s"


def result_parameters(model: Path) -> int:
    from s2tf_edge import load_model

    return sum(parameter.numel() for parameter in load_model(model).parameters())


def groups_of(videos: LabeledVideos, group_by: str) -> list[str]:
    found = [re.search(group_by, Path(video.name).name) for video in videos.videos]
    if not all(found):
        msg = f"{group_by!r} does not match the name of every video"
        raise SystemExit(msg)
    return [match[1] for match in found if match]


def fold_of(videos: LabeledVideos, group_by: str, folds: int) -> NDArray[np.int64]:
    """Int64 [n]: the fold of each video."""
    groups = groups_of(videos, group_by)
    names = sorted(set(groups))
    return np.array([names.index(group) * folds // len(names) for group in groups])


def table(
    networks: dict[str, str], runs: Sequence[Run], videos: LabeledVideos, arguments: argparse.Namespace
) -> list[str]:
    names = [video.name for video in videos.videos]
    _, group = np.unique(groups_of(videos, arguments.group_by), return_inverse=True)
    right = {title: answers([run for run in runs if run.name == title], names) for title in networks}
    draws = list(bootstrap(group))
    first = next(iter(right.values()))
    counted = (
        f"{len(names)} videos, {len(set(group.tolist()))} groups in {arguments.folds} folds, {arguments.seeds} seeds"
    )
    lines = [
        f"{counted}, {arguments.views} views; {hardware_facts()['cpu']}, {arguments.jobs} at once.",
        "",
        "| network | parameters | minutes | top-1 | seeds | 95 % interval | against the first |",
        "|---|---|---|---|---|---|---|",
    ]
    for title, table_of in right.items():
        facts = [json.loads((run.folder / "facts.json").read_text()) for run in runs if run.name == title]
        minutes = np.median([each["seconds"] for each in facts]) / 60
        seeds = 100 * table_of.mean(axis=1)
        mean = table_of.mean(axis=0)
        low, high = interval([mean[draw].mean() for draw in draws])
        difference = mean - first.mean(axis=0)
        down, up = interval([difference[draw].mean() for draw in draws])
        against = f"{100 * difference.mean():+.1f} ({down:+.1f} to {up:+.1f})" if table_of is not first else ""
        lines.append(
            f"| {title} | {facts[0]['parameters'] / 1e6:.2f} M | {minutes:.1f} | {seeds.mean():.1f} % | "
            f"{seeds.min():.1f} to {seeds.max():.1f} | {low:.1f} to {high:.1f} | {against} |"
        )
    return lines


def answers(runs: Sequence[Run], names: Sequence[str]) -> NDArray[np.float64]:
    """Float64 [seeds, n]: 1 where a video was named right by the network of that seed that did not see its group."""
    table_of = np.full((1 + max(run.seed for run in runs), len(names)), np.nan)
    for run in runs:
        with run.results.open(newline="", encoding="utf-8") as file:
            for name, right in csv.reader(file):
                table_of[run.seed, names.index(name)] = float(right)
    return table_of


def bootstrap(group: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Videos drawn again with replacement: groups first, then videos within each."""
    rng = np.random.default_rng(0)
    members = [np.flatnonzero(group == index) for index in range(group.max() + 1)]
    for _ in range(_DRAWS):
        chosen = rng.integers(len(members), size=len(members))
        yield np.concatenate([rng.choice(members[index], len(members[index])) for index in chosen])


def interval(values: Sequence[float]) -> tuple[float, float]:
    low, high = np.percentile(100 * np.asarray(values), [2.5, 97.5])
    return float(low), float(high)


def write(page: Path, lines: Sequence[str]) -> None:
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text("\n".join([before + BEGIN, "", *lines, "", END + after]), encoding="utf-8")


if __name__ == "__main__":
    main()
