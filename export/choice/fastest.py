"""``--precision auto``: every precision is built and verified, all are timed side by side, the fastest stays."""

from __future__ import annotations

import dataclasses
import logging
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from s2tf_edge.calibration.candidates import Candidate, tabulate
from s2tf_edge.calibration.search import time_sessions
from s2tf_edge.errors import AccuracyError, BuildError, UnsupportedError, VerificationError
from s2tf_edge.export.artifact_folder import seal
from s2tf_edge.export.plan import ExportPlan
from s2tf_edge.export.targets.precisions import AUTO
from s2tf_edge.export.verify.verification import Verification
from s2tf_edge.runtime.artifact import ArtifactMeta
from s2tf_edge.runtime.open import open_session
from s2tf_edge.runtime.session import SessionOptions

__all__ = ["Made", "Make", "choose_precisions", "make_fastest", "make_precisions", "time_artifacts"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Made:
    """A whole artifact in its folder."""

    meta: ArtifactMeta
    verification: Verification | None
    """None where verification was turned off."""
    others: Mapping[str, Made] = field(default_factory=dict)
    """Other forms of the same precision, by the name of their folders beside it, where all are kept."""


Make = Callable[[ExportPlan, Path], Made]
"""Makes an artifact of one precision in an empty folder."""


def make_fastest(plan: ExportPlan, folder: Path, make: Make) -> Made:
    """Makes the artifact of the precision that runs fastest here.

    Args:
        plan: of precision auto.
        folder: an empty folder for the artifact.
        make: makes each.

    Returns:
        The fastest, whose files are in ``folder``.

    Raises:
        BuildError: no precision could be built, verified and kept within the bound; the message has all reasons.
    """
    with tempfile.TemporaryDirectory() as work:
        made, failed = make_precisions(plan, Path(work), make)
        # Only when all are built: a compiler beside them would take the processor from what is timed.
        timed = time_artifacts([Path(work) / precision for precision in made])
        fastest = min(timed, key=lambda candidate: candidate.milliseconds or 0.0)
        for file in fastest.written.iterdir():
            shutil.copy(file, folder / file.name)
    chosen = made[fastest.name]
    candidates = [candidate.to_dict() for candidate in (*timed, *failed)]
    build = {**chosen.meta.build, "candidates": candidates}
    return dataclasses.replace(chosen, meta=seal(dataclasses.replace(chosen.meta, build=build), folder))


def make_precisions(plan: ExportPlan, place: Path, make: Make) -> tuple[Mapping[str, Made], list[Candidate]]:
    """Makes an artifact of every precision, each in a folder of ``place`` that is named after it.

    Returns:
        What was made, by precision, and what could not be.

    Raises:
        BuildError: none could be; the message has all reasons.
    """
    made: dict[str, Made] = {}
    failed: list[Candidate] = []
    for precision in choose_precisions(plan):
        folder = place / precision
        folder.mkdir()
        try:
            made[precision] = make(dataclasses.replace(plan, precision=precision), folder)
        except (AccuracyError, BuildError, UnsupportedError, VerificationError) as error:
            logger.warning("%s is left out: %s", precision, error)
            failed.append(Candidate(name=precision, result=str(error)))
            shutil.rmtree(folder)
    if not made:
        msg = "no precision can be exported:\n" + "\n".join(tabulate(failed))
        raise BuildError(msg)
    return made, failed


def choose_precisions(plan: ExportPlan) -> list[str]:
    """Those that are made: for auto all of the target's, int8 only with clips to calibrate with."""
    if plan.precision != AUTO:
        return [plan.precision]
    return [name for name in plan.target.precisions if name != "int8" or plan.calib is not None]


def time_artifacts(folders: Sequence[Path], options: SessionOptions | None = None) -> list[Candidate]:
    """A candidate for each artifact, named like its folder, with its shortest time; they are measured in turns."""
    with ExitStack() as stack:
        times = time_sessions([stack.enter_context(open_session(folder, options)) for folder in folders])
    return [
        Candidate(name=folder.name, milliseconds=milliseconds, path=folder)
        for folder, milliseconds in zip(folders, times, strict=True)
    ]
