"""Trying all recipes: which compile here, agree with the network, and run fastest.

    recipe             compiles   agrees   ms
    mixed              no         ·        ·       "No suitable implementations"
    symmetric          yes        yes      19.1
    ...                yes        yes      14.2    ← fastest

All that open are timed side by side, in short turns, so that whatever else the machine does falls on all alike. What
else it does only ever adds, so the shortest of a form's times tells most about the form.
"""

from __future__ import annotations

import logging
import math
import os
import tempfile
import time
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from s2tf_edge.calibration.base import Judge, Quantizer
from s2tf_edge.errors import BuildError, S2TFError, VerificationError
from s2tf_edge.runtime.session import Clips, Session

__all__ = ["Attempt", "rank", "table", "time_sessions", "try_recipes"]

logger = logging.getLogger(__name__)

_WARMUP: Final = 2
_ROUNDS: Final = (5, 15)
"""Fewest and most of all forms."""
_FINAL_ROUNDS: Final = (10, 40)
"""Fewest and most of those that come close to the fastest."""
_SECONDS: Final = 10.0
"""After which the fewest rounds will do."""
_CLOSE: Final = 1.15
"""Times of the fastest that are tried further: a few runs tell forms that differ more."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One recipe and what became of it."""

    recipe: str
    result: str = "ok"
    """``ok``, or why it is none: the compiler's words, or how its logits differ."""
    compiles: bool = True
    milliseconds: float | None = None
    """Shortest time of one run on this machine."""
    path: Path | None = None

    @property
    def is_ok(self) -> bool:
        """Whether it compiles and agrees."""
        return self.result == "ok"

    def to_dict(self) -> dict[str, Any]:
        """For ``calib.json`` and ``meta.json``."""
        return {"recipe": self.recipe, "result": self.result, "ms": self.milliseconds}


def try_recipes(quantizer: Quantizer, folder: Path, *, judge: Judge, floats: Collection[str] = ()) -> list[Attempt]:
    """Writes, opens, checks and times every recipe.

    Args:
        quantizer: for one network and target.
        folder: an empty folder; each recipe gets one of its own in it.
        judge: says whether logits agree.
        floats: layers that stay in float.

    Returns:
        One attempt for each recipe, in their order.
    """
    attempts = []
    with ExitStack() as stack:
        sessions: dict[str, Session] = {}
        for recipe in quantizer.recipes:
            place = Path(tempfile.mkdtemp(dir=folder))
            attempt, session = _try(quantizer, recipe, place, judge=judge, floats=floats)
            if session is not None:
                sessions[recipe] = stack.enter_context(session)
            attempts.append(attempt)
        times = dict(zip(sessions, time_sessions(list(sessions.values())), strict=True))
    return [replace(each, milliseconds=times.get(each.recipe)) for each in attempts]


def _try(
    quantizer: Quantizer, recipe: str, folder: Path, *, judge: Judge, floats: Collection[str]
) -> tuple[Attempt, Session | None]:
    """An attempt, not yet timed, and its open session where it is worth timing."""
    try:
        path = quantizer.write(recipe, folder, floats=floats)
        session = quantizer.session(path)
        session.open()
    except S2TFError as error:
        said = str(error).replace(f"{folder}{os.sep}", "")
        logger.warning("int8, %s: does not compile here (%s)", recipe, said)
        return Attempt(recipe=recipe, result=said, compiles=False), None
    try:
        complaint = judge.complaint(session)
    except VerificationError as error:
        complaint = str(error)
    if complaint is None:
        return Attempt(recipe=recipe, path=path), session
    session.close()
    logger.warning("int8, %s: does not agree with the network (%s)", recipe, complaint)
    return Attempt(recipe=recipe, result=complaint, path=path), None


def time_sessions(sessions: Sequence[Session]) -> list[float]:
    """Shortest milliseconds of one clip in each of several open sessions, which take turns.

    Those that come close to the fastest go on taking turns, so that forms a few percent apart are told from each other.
    """
    runners = [_Runner(session) for session in sessions]
    _take_turns(runners, _ROUNDS)
    fastest = min((each.shortest for each in runners), default=0.0)
    close = [each for each in runners if each.shortest <= _CLOSE * fastest]
    if len(close) > 1:
        _take_turns(close, _FINAL_ROUNDS)
    # As they are printed and kept, so that the fastest in the table is the fastest.
    return [round(each.shortest, 3) for each in runners]


class _Runner:
    """A session, its clip and its shortest time so far."""

    def __init__(self, session: Session) -> None:
        self.shortest = math.inf
        self._session = session
        self._clip = _clip(session)
        for _ in range(_WARMUP):
            session.infer(self._clip)

    def run(self) -> None:
        began = time.perf_counter()
        self._session.infer(self._clip)
        self.shortest = min(self.shortest, 1e3 * (time.perf_counter() - began))


def _take_turns(runners: Sequence[_Runner], rounds: tuple[int, int]) -> None:
    fewest, most = rounds
    began = time.perf_counter()
    for done in range(1, most + 1):
        for runner in runners:
            runner.run()
        if done >= fewest and time.perf_counter() - began > _SECONDS:
            break


def _clip(session: Session) -> Clips:
    spec = session.info.spec
    pixels = np.random.default_rng(0).integers(0, 256, spec.input_shape(session.info.batch or 1))
    return pixels.astype(np.uint8) if spec.dtype == "uint8" else (pixels / 128 - 1).astype(np.float32)


def rank(attempts: Sequence[Attempt], *, mendable: bool = False) -> list[Attempt]:
    """The attempts that compile and agree, the fastest first.

    Args:
        attempts: of all recipes.
        mendable: whether layers may go back to float: then, if none agrees, those that compile are worth a try.

    Raises:
        BuildError: none compiles here.
        VerificationError: none of those that compile agrees with the network.
    """
    good = [attempt for attempt in attempts if attempt.is_ok]
    if good:
        return sorted(good, key=lambda attempt: attempt.milliseconds or 0.0)
    compiling = [attempt for attempt in attempts if attempt.compiles]
    if compiling and mendable:
        return compiling
    lines = "\n".join(table(attempts))
    if compiling:
        msg = f"no int8 form of this network agrees with it; try more calibration clips, or fp16 instead\n{lines}"
        raise VerificationError(msg)
    msg = f"no int8 form of this network compiles here; export it as fp16 instead\n{lines}"
    raise BuildError(msg)


def table(attempts: Sequence[Attempt]) -> list[str]:
    """One line for each attempt."""
    width = max(len(attempt.recipe) for attempt in attempts)
    return [
        f"  {attempt.recipe:{width}}  "
        + (f"{attempt.milliseconds:8.2f} ms" if attempt.milliseconds is not None else attempt.result)
        for attempt in attempts
    ]
