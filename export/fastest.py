"""``--precision auto``: every precision is built and verified, all are timed side by side, the fastest stays."""

from __future__ import annotations

import dataclasses
import logging
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
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

__all__ = ["choose_precisions", "make_fastest"]

logger = logging.getLogger(__name__)

Made = tuple[ArtifactMeta, Verification | None]


def make_fastest(plan: ExportPlan, folder: Path, make: Callable[[ExportPlan, Path], Made]) -> Made:
    """Makes the artifact of the precision that runs fastest here.

    Args:
        plan: of precision auto.
        folder: an empty folder for the artifact.
        make: makes an artifact of one precision in an empty folder.

    Returns:
        Description and verification of the fastest, whose files are in ``folder``.

    Raises:
        BuildError: no precision could be built, verified and kept within the bound; the message has all reasons.
    """
    with tempfile.TemporaryDirectory() as work:
        made: dict[str, Made] = {}
        failed: list[Candidate] = []
        for precision in choose_precisions(plan):
            place = Path(work) / precision
            place.mkdir()
            try:
                made[precision] = make(dataclasses.replace(plan, precision=precision), place)
            except (AccuracyError, BuildError, UnsupportedError, VerificationError) as error:
                logger.warning("%s is left out: %s", precision, error)
                failed.append(Candidate(name=precision, result=str(error)))
        # Only when all are built: a compiler beside them would take the processor from what is timed.
        timed = _time([Path(work) / precision for precision in made])
        if not timed:
            msg = "no precision can be exported:\n" + "\n".join(tabulate(failed))
            raise BuildError(msg)
        fastest = min(timed, key=lambda candidate: candidate.milliseconds or 0.0)
        for file in fastest.written.iterdir():
            shutil.copy(file, folder / file.name)
    meta, verification = made[fastest.name]
    candidates = [candidate.to_dict() for candidate in (*timed, *failed)]
    return seal(dataclasses.replace(meta, build={**meta.build, "candidates": candidates}), folder), verification


def choose_precisions(plan: ExportPlan) -> list[str]:
    """Those that are made: for auto all of the target's, int8 only with clips to calibrate with."""
    if plan.precision != AUTO:
        return [plan.precision]
    return [name for name in plan.target.precisions if name != "int8" or plan.calib is not None]


def _time(folders: Sequence[Path]) -> list[Candidate]:
    """A candidate for each artifact, named like its folder, with its shortest time; they are measured in turns."""
    with ExitStack() as stack:
        times = time_sessions([stack.enter_context(open_session(folder)) for folder in folders])
    return [
        Candidate(name=folder.name, milliseconds=milliseconds, path=folder)
        for folder, milliseconds in zip(folders, times, strict=True)
    ]
