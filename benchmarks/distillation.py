"""What a small network learned from a teacher without labels: a linear classifier on its features tells.

    python benchmarks/distillation.py videos/ --teacher i3d.onnx --group-by '^([a-z]+)_' \\
        --network 's2tf_r3d_10?width=0.25' --config taught.toml --head-config head.toml --out runs/taught

The groups are dealt into folds as by ``benchmarks/training.py``. Of each fold and seed,

- ``random``: a network whose weights are drawn, and its norms' statistics measured on the videos of the other folds;
- ``taught``: the same network after it has followed the teacher on the videos of the other folds, without their labels;

and on each of them a linear layer alone is trained with the labels of the other folds (``--freeze``), by the same
settings, and tested on the fold. ``taught, all weights``, with ``--fine-config``, trains all of a taught network with
the labels. Top-1, intervals and ``against`` are those of ``benchmarks/training.py``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from folds import compare, keep_answers, parse_with_folds, perform, sides_of, without_answers, write_between
from s2tf_edge.cli.teacher import open_teacher
from s2tf_edge.data.datasets import open_data
from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.training import TrainConfig, train
from s2tf_edge.training.config import read_overrides
from s2tf_edge.training.distillation.score_store import ScoreStore
from s2tf_edge.training.distillation.scoring import TeacherScores, score_videos
from s2tf_edge.training.distillation.teaching import Teaching, label_by_teacher

BEGIN, END = "<!-- table of benchmarks/distillation.py -->", "<!-- end of that table -->"
RANDOM, TAUGHT, FINE = "linear head, random weights", "linear head, taught", "all weights, taught"
DRAWN = "random"
ALL_BUT_THE_HEAD = r"^(?!backbone\.head\.fc)"
NO_STEP = 1e-12
"""A learning rate by which an epoch measures norms and changes no weight that can be seen."""
MEASURED = 400
"""Clips that norms are measured on."""


@dataclass(frozen=True, kw_only=True)
class Features:
    """A network that classifiers start from."""

    name: str
    fold: int
    seed: int
    folder: Path

    @property
    def model(self) -> Path:
        return self.folder / "model.pt"

    @property
    def facts(self) -> Path:
        """There once the network is what it is to be: a run writes its ``model.pt`` long before."""
        return self.folder / "facts.json"


@dataclass(frozen=True, kw_only=True)
class Run:
    """One classifier: on which features, a fold to test on, a seed."""

    name: str
    features: Features
    folder: Path

    @property
    def fold(self) -> int:
        return self.features.fold

    @property
    def seed(self) -> int:
        return self.features.seed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="a folder of class folders, or what else s2tf-train takes")
    parser.add_argument("--teacher", type=Path, required=True, help="as for s2tf-train")
    parser.add_argument("--group-by", required=True, help="as for s2tf-train")
    parser.add_argument("--network", required=True, help="of the student")
    parser.add_argument("--config", type=Path, required=True, help="TOML file of settings to follow the teacher by")
    parser.add_argument("--head-config", type=Path, required=True, help="those to train a linear head by")
    parser.add_argument("--fine-config", type=Path, help="those to train all of a taught network by, with labels")
    arguments = parse_with_folds(parser, BEGIN, END)
    videos = open_data(arguments.data)
    scores = ask_teacher(videos, arguments)
    runs = list(plan_runs(arguments))
    missing = {run.features: 0 for run in runs if not run.features.facts.is_file()}
    perform(list(missing), make_features, scores, arguments, jobs=arguments.jobs)
    perform(without_answers(runs), train_one, arguments, jobs=arguments.jobs)
    lines = table(runs, videos, arguments)
    print("\n".join(lines))
    if arguments.page:
        write_between(arguments.page, BEGIN, END, lines)


def ask_teacher(videos: LabeledVideos, arguments: argparse.Namespace) -> TeacherScores:
    """What the teacher says of all videos; a student is told of those of its side alone."""
    most = config_of(0, read_overrides(arguments.config), arguments).teacher_views
    with open_teacher(arguments.teacher, None) as teacher:
        return score_videos(teacher, videos, most=most, store=ScoreStore(arguments.out, teacher.fingerprint))


def plan_runs(arguments: argparse.Namespace) -> Iterator[Run]:
    for seed in range(arguments.seeds):
        for fold in range(arguments.folds):
            drawn, taught = (
                Features(name=name, fold=fold, seed=seed, folder=arguments.out / f"{name}_fold{fold}_seed{seed}")
                for name in (DRAWN, "taught")
            )
            yield Run(name=RANDOM, features=drawn, folder=drawn.folder / "head")
            yield Run(name=TAUGHT, features=taught, folder=taught.folder / "head")
            if arguments.fine_config:
                yield Run(name=FINE, features=taught, folder=taught.folder / "fine")


def make_features(features: Features, scores: TeacherScores, arguments: argparse.Namespace) -> str:
    torch.set_num_threads(1)
    learned, _ = sides_for(features.fold, arguments)
    nothing = learned.subset([])
    settings = read_overrides(arguments.config)
    started = time.monotonic()
    if features.name == DRAWN:
        measured = {"lr": NO_STEP, "epochs": 1, "ema": 0.0, "precise_norms": MEASURED}
        config = config_of(features.seed, settings | measured, arguments)
        train(config, videos=learned, validation=nothing, out=features.folder)
    else:
        unlabeled = label_by_teacher(learned, scores)
        config = config_of(features.seed, settings, arguments)
        teaching = Teaching(
            scores=scores, labels=unlabeled.labels, temperature=config.temperature, labels_are_the_teachers=True
        )
        train(config, videos=unlabeled, validation=unlabeled.subset([]), out=features.folder, teaching=teaching)
    facts = {"seconds": time.monotonic() - started}
    features.facts.write_text(json.dumps(facts), encoding="utf-8")
    return f"{facts['seconds']:.0f} s"


def train_one(run: Run, arguments: argparse.Namespace) -> str:
    torch.set_num_threads(1)
    learned, unseen = sides_for(run.fold, arguments)
    settings = read_overrides(arguments.fine_config if run.name == FINE else arguments.head_config)
    if run.name != FINE:
        settings["freeze"] = ALL_BUT_THE_HEAD
    started = time.monotonic()
    config = config_of(run.seed, settings, arguments)
    result = train(config, videos=learned, validation=unseen, out=run.folder, pretrained=run.features.model)
    facts = {"seconds": time.monotonic() - started}
    return keep_answers(run, result.model, unseen, views=arguments.views, facts=facts)


def sides_for(fold: int, arguments: argparse.Namespace) -> tuple[LabeledVideos, LabeledVideos]:
    return sides_of(open_data(arguments.data), fold, group_by=arguments.group_by, folds=arguments.folds)


def config_of(seed: int, settings: dict[str, Any], arguments: argparse.Namespace) -> TrainConfig:
    return TrainConfig(**(settings | {"model": arguments.network, "seed": seed, "keep": "last"}))


def table(runs: Sequence[Run], videos: LabeledVideos, arguments: argparse.Namespace) -> list[str]:
    lines = ["| | top-1 | seeds | 95 % interval | against the first |", "|---|---|---|---|---|"]
    compared = compare(runs, videos, group_by=arguments.group_by)
    return [*lines, *(f"| {title} | {' | '.join(columns)} |" for title, columns in compared.items())]


if __name__ == "__main__":
    main()
