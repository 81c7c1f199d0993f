"""Trying all recipes: which compile here, agree with the network, and run fastest.

    recipe             compiles   agrees   ms
    mixed              no         ·        ·       "No suitable implementations"
    performance        yes        yes      19.1
    ...                yes        yes      14.2    ← fastest

All that open are timed side by side, in short turns, so that whatever else the machine does falls on all alike.
"""

from __future__ import annotations

import logging
import os
import statistics
import tempfile
import time
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from s2tf_edge.calibration.quantizer import Judge, Quantizer
from s2tf_edge.errors import BuildError, S2TFError, VerificationError
from s2tf_edge.runtime.session import Clips, Session

__all__ = ["Attempt", "rank", "table", "time_sessions", "try_recipes"]

logger = logging.getLogger(__name__)

_ROUNDS: Final = 15
_WARMUP: Final = 2
_MAX_SECONDS: Final = 20.0
"""Time that all rounds may take together; with slow networks there are fewer, three at least."""
_MIN_ROUNDS: Final = 3


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One recipe and what became of it."""

    recipe: str
    result: str = "ok"
    """``ok``, or why it is none: the compiler's words, or how its logits differ."""
    compiles: bool = True
    milliseconds: float | None = None
    """Median time of one run on this machine."""
    path: Path | None = None

    @property
    def is_ok(self) -> bool:
        """Whether it compiles and agrees."""
        return self.result == "ok"

    def to_dict(self) -> dict[str, Any]:
        """For ``calib.json`` and ``meta.json``."""
        return {"recipe": self.recipe, "result": self.result, "ms": self.milliseconds}


def try_recipes(quantizer: Quantizer, folder: Path, *, judge: Judge, floats: Collection[str] = ()) -> list[Attempt]:
    """Writes, opens, checks and times every recipe, and the fallbacks where none of them will do.

    Args:
        quantizer: for one network and target.
        folder: an empty folder; each recipe gets one of its own in it.
        judge: says whether logits agree.
        floats: layers that stay in float.

    Returns:
        One attempt for each recipe tried, in their order.
    """
    attempts = _try_all(quantizer, quantizer.recipes, folder, judge=judge, floats=floats)
    if any(attempt.is_ok for attempt in attempts):
        return attempts
    return [*attempts, *_try_all(quantizer, quantizer.fallbacks, folder, judge=judge, floats=floats)]


def _try_all(
    quantizer: Quantizer, recipes: Sequence[str], folder: Path, *, judge: Judge, floats: Collection[str]
) -> list[Attempt]:
    attempts = []
    with ExitStack() as stack:
        sessions: dict[str, Session] = {}
        for recipe in recipes:
            place = Path(tempfile.mkdtemp(dir=folder))
            attempt, session = _try(quantizer, recipe, place, judge=judge, floats=floats)
            if session is not None:
                sessions[recipe] = stack.enter_context(session)
            attempts.append(attempt)
        times = dict(zip(sessions, time_sessions(list(sessions.values())), strict=True)) if sessions else {}
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
    """Median milliseconds of one clip in each of several open sessions, which take turns."""
    clips = [_clip(session) for session in sessions]
    rounds: list[list[float]] = []
    began = time.perf_counter()
    while len(rounds) < _ROUNDS + _WARMUP:
        rounds.append([_milliseconds(session, clip) for session, clip in zip(sessions, clips, strict=True)])
        if time.perf_counter() - began > _MAX_SECONDS and len(rounds) >= _MIN_ROUNDS + _WARMUP:
            break
    # As they are printed and kept, so that the fastest in the table is the fastest.
    return [round(statistics.median(times), 3) for times in zip(*rounds[_WARMUP:], strict=True)]


def _clip(session: Session) -> Clips:
    spec = session.info.spec
    pixels = np.random.default_rng(0).integers(0, 256, spec.input_shape(session.info.batch or 1))
    return pixels.astype(np.uint8) if spec.dtype == "uint8" else (pixels / 128 - 1).astype(np.float32)


def _milliseconds(session: Session, clip: Clips) -> float:
    began = time.perf_counter()
    session.infer(clip)
    return 1e3 * (time.perf_counter() - began)


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
