"""Folds of groups (people, long videos that were cut up) that a network never saw, and what can be said of the answers.

The groups are dealt into folds in the order of their names; each fold is tested by networks that learned from the
others. Answers are kept as CSV files of a run each; several runs go on at once, each on one thread.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import csv
import json
import multiprocessing
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.runtime.evaluation.multi_view import Views, evaluate
from s2tf_edge.runtime.open import open_session

_DRAWS = 4000


class Run(Protocol):
    """One network, that was tested on one fold."""

    @property
    def name(self) -> str:
        """Of all runs that are averaged together."""

    @property
    def fold(self) -> int: ...

    @property
    def seed(self) -> int: ...

    @property
    def folder(self) -> Path: ...


R = TypeVar("R", bound=Run)


def groups_of(videos: LabeledVideos, group_by: str) -> list[str]:
    found = [re.search(group_by, Path(video.name).name) for video in videos.videos]
    if not all(found):
        msg = f"{group_by!r} does not match the name of every video"
        raise SystemExit(msg)
    return [match[1] for match in found if match]


def sides_of(videos: LabeledVideos, fold: int, *, group_by: str, folds: int) -> tuple[LabeledVideos, LabeledVideos]:
    """What is learned from, and what is tested on."""
    groups = groups_of(videos, group_by)
    names = sorted(set(groups))
    tested = np.array([names.index(group) * folds // len(names) == fold for group in groups])
    learned, unseen = (videos.subset(np.flatnonzero(chosen).tolist()) for chosen in (~tested, tested))
    return learned, unseen


def results_of(run: Run) -> Path:
    return run.folder / "predictions.csv"


def perform(runs: Sequence[Run], one: Callable[..., str], *arguments: Any, jobs: int) -> None:
    """Calls ``one(run, *arguments)`` for each of them in other processes, and prints what it returns."""
    if not runs:
        return
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(jobs, mp_context=context) as pool:
        going = {pool.submit(one, run, *arguments): run for run in runs}
        for done in concurrent.futures.as_completed(going):
            run = going[done]
            print(f"{run.name}, fold {run.fold}, seed {run.seed}: {done.result()}", flush=True)


def without_answers(runs: Sequence[R]) -> list[R]:
    return [run for run in runs if not results_of(run).is_file()]


def keep_answers(run: Run, model: Path, unseen: LabeledVideos, *, views: str, facts: Mapping[str, Any]) -> str:
    """Tests a network and writes which videos it names right; returns a line about it."""
    with open_session(model) as session:
        evaluation = evaluate(session, unseen, views=Views.parse(views))
    right = (evaluation.predictions == evaluation.targets).astype(int).tolist()
    write_answers(run, unseen, right, facts=facts)
    return f"{100 * np.mean(right):.0f} % of {len(right)}, {facts['seconds']:.0f} s"


def write_answers(run: Run, unseen: LabeledVideos, right: Sequence[int], *, facts: Mapping[str, Any]) -> None:
    """Keeps which videos were named right, 1, and which were not, 0."""
    run.folder.joinpath("facts.json").write_text(json.dumps(facts), encoding="utf-8")
    with results_of(run).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(zip([video.name for video in unseen.videos], right, strict=True))


def facts_of(run: Run) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((run.folder / "facts.json").read_text(encoding="utf-8"))
    return facts


def compare(runs: Sequence[Run], videos: LabeledVideos, *, group_by: str) -> dict[str, list[str]]:
    """Of each name that runs have: top-1, its range over the seeds, its interval, and the difference to the first."""
    names = [video.name for video in videos.videos]
    _, group = np.unique(groups_of(videos, group_by), return_inverse=True)
    draws = list(bootstrap(group))
    right = {title: answers([run for run in runs if run.name == title], names) for title in {r.name: 0 for r in runs}}
    first = next(iter(right.values()))
    return {title: _columns(each, None if each is first else first, draws) for title, each in right.items()}


def _columns(
    right: NDArray[np.float64], first: NDArray[np.float64] | None, draws: Sequence[NDArray[np.int64]]
) -> list[str]:
    seeds = 100 * right.mean(axis=1)
    mean = right.mean(axis=0)
    low, high = interval([mean[draw].mean() for draw in draws])
    against = ""
    if first is not None:
        difference = mean - first.mean(axis=0)
        down, up = interval([difference[draw].mean() for draw in draws])
        against = f"{100 * difference.mean():+.1f} ({down:+.1f} to {up:+.1f})"
    return [f"{seeds.mean():.1f} %", f"{seeds.min():.1f} to {seeds.max():.1f}", f"{low:.1f} to {high:.1f}", against]


def answers(runs: Sequence[Run], names: Sequence[str]) -> NDArray[np.float64]:
    """Float64 [seeds, n]: 1 where a video was named right by the network of that seed that did not see its group."""
    table = np.full((1 + max(run.seed for run in runs), len(names)), np.nan)
    for run in runs:
        with results_of(run).open(newline="", encoding="utf-8") as file:
            for name, right in csv.reader(file):
                table[run.seed, names.index(name)] = float(right)
    return table


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


def parse_with_folds(parser: argparse.ArgumentParser, begin: str, end: str) -> argparse.Namespace:
    """What was asked for, with what all comparisons over folds are asked; a page needs both lines."""
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--views", default="1x1")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at once, each on one thread")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--page", type=Path, help=f"a page whose lines between {begin} and {end} are replaced")
    arguments = parser.parse_args()
    if arguments.page is not None:
        check_page(parser, arguments.page, begin, end)
    return arguments


def check_page(parser: argparse.ArgumentParser, page: Path, begin: str, end: str) -> None:
    """Before hours of work are to be written there."""
    if not page.is_file() or not re.search(f"{begin}.*{end}", page.read_text(encoding="utf-8"), re.DOTALL):
        parser.error(f"{page} has no lines {begin} and {end}")


def write_between(page: Path, begin: str, end: str, lines: Sequence[str]) -> None:
    """Replaces what a page has between two of its lines."""
    before, _, rest = page.read_text(encoding="utf-8").partition(begin)
    _, _, after = rest.partition(end)
    page.write_text("\n".join([before + begin, "", *lines, "", end + after]), encoding="utf-8")
