"""Trying all presets: which compile here, compute in integers, agree with the network, and run fastest.

    preset             compiles   integer   agrees   ms
    mixed              no         ·         ·        ·       "No suitable implementations"
    symmetric          yes        116       yes      19.1
    ...                yes        89        yes      14.2    ← fastest

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
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from s2tf_edge.calibration.base import Judge, Quantizer
from s2tf_edge.calibration.budget import Budget
from s2tf_edge.calibration.candidates import Candidate
from s2tf_edge.errors import BuildError, S2TFError, UnsupportedError, VerificationError
from s2tf_edge.runtime.session import Clips, Session
from s2tf_edge.words import counted, one_line

__all__ = ["rank_candidates", "time_sessions", "try_presets"]

logger = logging.getLogger(__name__)

_WARMUP: Final = 2
_LONG_MILLISECONDS: Final = 1000.0
_ROUNDS: Final = (3, 15)
"""Fewest and most of all forms."""
_FINAL_ROUNDS: Final = (3, 40)
"""Fewest and most of those that come close to the fastest."""
_SECONDS: Final = 10.0
"""After which the fewest rounds will do: what a run of seconds takes differs less from run to run."""
_TRYING_SECONDS: Final = 20.0
"""After which no further preset is written, compiled and checked, if one is good."""
_CLOSE: Final = 1.15
"""Times of the fastest that are tried further: a few runs tell forms that differ more."""


def try_presets(quantizer: Quantizer, folder: Path, *, judge: Judge, excluded: Collection[str] = ()) -> list[Candidate]:
    """Writes, opens, checks and times every preset.

    Args:
        quantizer: for one network and target.
        folder: an empty folder; each preset gets one of its own in it.
        judge: says whether logits agree.
        excluded: layers that stay in float.

    Returns:
        One candidate for each preset, in their order.
    """
    candidates: list[Candidate] = []
    budget = Budget(_TRYING_SECONDS)
    # All sessions that are worth timing stay open until the last is made: they are timed side by side.
    with ExitStack() as stack:
        sessions: dict[str, Session] = {}
        for number, preset in enumerate(quantizer.presets, start=1):
            if sessions and budget.is_spent:
                candidates.append(_leave_out(preset, budget))
                continue
            logger.info("int8, %d of %d: trying %s", number, len(quantizer.presets), preset)
            place = Path(tempfile.mkdtemp(dir=folder))
            candidate, session = _try(quantizer, preset, place, judge=judge, excluded=excluded)
            if session is not None:
                sessions[preset] = stack.enter_context(session)
            candidates.append(candidate)
        if sessions:
            logger.info("int8, timing %s", counted(len(sessions), "form"))
        times = dict(zip(sessions, time_sessions(list(sessions.values())), strict=True))
    return [replace(each, milliseconds=times.get(each.name)) for each in candidates]


def _leave_out(preset: str, budget: Budget) -> Candidate:
    reason = f"not tried: those before it took {budget.spent:.0f} s"
    logger.info("int8, %s: %s", preset, reason)
    return Candidate(name=preset, result=reason)


def _try(
    quantizer: Quantizer, preset: str, folder: Path, *, judge: Judge, excluded: Collection[str]
) -> tuple[Candidate, Session | None]:
    """A candidate, not yet timed, and its open session where it is worth timing."""
    try:
        path = quantizer.write(preset, folder, excluded=excluded)
        session = quantizer.make_session(path)
        session.open()
    except S2TFError as error:
        # A temporary folder tells the reader nothing.
        reason = str(error).replace(f"{folder}{os.sep}", "")
        logger.warning("int8, %s: does not compile here (%s)", preset, reason)
        return Candidate(name=preset, result=reason), None
    audit = quantizer.audit(session)
    if not audit.integer:
        session.close()
        logger.warning("int8, %s: computes no layer in integers (%s)", preset, audit.explain())
        # Without its file: with layers back in float it would still be none.
        return Candidate(name=preset, result=f"no layer is integer: {audit.explain()}", integer_layers=0), None
    try:
        disagreement = judge.find_disagreement(session)
    except VerificationError as error:
        # Logits that are not finite end any other export; here they rule out one candidate of several.
        disagreement = str(error)
    if disagreement is None:
        return Candidate(name=preset, path=path, integer_layers=audit.integer), session
    session.close()
    logger.warning("int8, %s: does not agree with the network (%s)", preset, disagreement)
    # It keeps its file: with some layers back in float it may agree after all (``gate``).
    return Candidate(name=preset, result=disagreement, path=path, integer_layers=audit.integer), None


def time_sessions(sessions: Sequence[Session]) -> list[float]:
    """Shortest milliseconds of one clip in each of several open sessions, which take turns.

    Where a session takes several clips at once, a run's time is divided by their number. Those that come close to the
    fastest go on taking turns, so that forms a few percent apart are told from each other:

        a ▁▁█▁▁█▁▁█ ▁█▁█▁█        first all take turns, then a and c, which are close
        b ▁█▁▁█▁▁█▁
        c █▁▁█▁▁█▁▁ █▁█▁█▁
    """
    timers = [_SessionTimer(session) for session in sessions]
    _take_turns(timers, _ROUNDS)
    fastest = min((each.shortest for each in timers), default=0.0)
    close = [each for each in timers if each.shortest <= _CLOSE * fastest]
    if len(close) > 1:
        _take_turns(close, _FINAL_ROUNDS)
    # As they are printed and kept, so that the fastest in the table is the fastest.
    return [round(each.shortest, 3) for each in timers]


class _SessionTimer:
    """A session, what it runs, and its shortest time so far."""

    def __init__(self, session: Session) -> None:
        self.shortest = math.inf
        """Milliseconds of one clip."""
        self._session = session
        self._batch = _make_batch(session)
        for _ in range(_WARMUP):
            # What takes so long gains nothing from a second one.
            if self._measure() > _LONG_MILLISECONDS:
                break

    def run(self) -> None:
        self.shortest = min(self.shortest, self._measure() / len(self._batch))

    def _measure(self) -> float:
        """Milliseconds of one run."""
        began = time.perf_counter()
        self._session.infer(self._batch)
        return 1e3 * (time.perf_counter() - began)


def _take_turns(timers: Sequence[_SessionTimer], rounds: tuple[int, int]) -> None:
    fewest, most = rounds
    began = time.perf_counter()
    for done in range(1, most + 1):
        for timer in timers:
            timer.run()
        # Only between rounds, so that all have run equally often.
        if done >= fewest and time.perf_counter() - began > _SECONDS:
            break


def _make_batch(session: Session) -> Clips:
    """Random clips, as many as a session with a fixed batch takes at once; one where it takes any number."""
    spec = session.info.spec
    pixels = np.random.default_rng(0).integers(0, 256, spec.input_shape(session.info.batch or 1))
    return pixels.astype(np.uint8) if spec.dtype == "uint8" else (pixels / 128 - 1).astype(np.float32)


def rank_candidates(candidates: Sequence[Candidate], *, may_return_layers: bool = False) -> list[Candidate]:
    """The candidates that compile, are integer and agree, the fastest first.

    Args:
        candidates: of all presets.
        may_return_layers: whether layers may go back to float: then, if none agrees, those that compile are worth a
            try.

    Raises:
        BuildError: none compiles here.
        UnsupportedError: those that compile compute nothing in integers.
        VerificationError: none of those that compile agrees with the network.
    """
    good = [each for each in candidates if each.is_ok]
    if good:
        return sorted(good, key=lambda each: each.milliseconds or 0.0)
    compiling = [each for each in candidates if each.path is not None]
    if compiling and may_return_layers:
        return compiling
    tried = "; ".join(f"{each.name}: {one_line(each.result)}" for each in candidates)
    if compiling:
        msg = f"no int8 form of this network agrees with it; try more calibration clips, or fp16 instead; tried {tried}"
        raise VerificationError(msg)
    if any(each.integer_layers == 0 for each in candidates):
        none = "no int8 form of this network computes any layer in integers"
        msg = f"{none}; export it as fp16 or fp32 instead; tried {tried}"
        raise UnsupportedError(msg)
    msg = f"no int8 form of this network compiles here; export it as fp16 instead; tried {tried}"
    raise BuildError(msg)
