"""``--precision auto``: every precision is built and verified, all are timed side by side, the fastest stays."""

from __future__ import annotations

import dataclasses
import logging
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from s2tf_edge.calibration.search import time_sessions
from s2tf_edge.errors import AccuracyError, BuildError, UnsupportedError, VerificationError
from s2tf_edge.export.artifact_folder import seal
from s2tf_edge.export.plan import ExportPlan
from s2tf_edge.export.verify.verification import Verification
from s2tf_edge.runtime.artifact import ArtifactMeta
from s2tf_edge.runtime.open import open_session

__all__ = ["form_lines", "make_fastest"]

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
        complaints: dict[str, str] = {}
        for precision in _precisions(plan):
            place = Path(work) / precision
            place.mkdir()
            try:
                made[precision] = make(dataclasses.replace(plan, precision=precision), place)
            except (AccuracyError, BuildError, UnsupportedError, VerificationError) as error:
                logger.warning("%s is left out: %s", precision, error)
                complaints[precision] = str(error)
        # Only when all are built: a compiler beside them would take the processor from what is timed.
        times = _measure_times(Path(work), list(made))
        forms: list[dict[str, Any]] = [
            *({"recipe": name, "result": "ok", "ms": value} for name, value in times.items()),
            *({"recipe": name, "result": complaint, "ms": None} for name, complaint in complaints.items()),
        ]
        if not times:
            msg = "no precision can be exported:\n" + "\n".join(form_lines(forms))
            raise BuildError(msg)
        fastest = min(times, key=lambda name: times[name])
        for file in (Path(work) / fastest).iterdir():
            shutil.copy(file, folder / file.name)
    meta, verification = made[fastest]
    return seal(dataclasses.replace(meta, build={**meta.build, "candidates": forms}), folder), verification


def _precisions(plan: ExportPlan) -> list[str]:
    """All of the target's; int8 only with clips to calibrate with."""
    return [name for name in plan.target.precisions if name != "int8" or plan.calib is not None]


def _measure_times(work: Path, precisions: Sequence[str]) -> dict[str, float]:
    """Median milliseconds of each, measured in turns."""
    with ExitStack() as stack:
        sessions = [stack.enter_context(open_session(work / precision)) for precision in precisions]
        return dict(zip(precisions, time_sessions(sessions), strict=True))


def form_lines(forms: Sequence[Mapping[str, Any]]) -> list[str]:
    """A table of forms that were tried: their names, and milliseconds or what was wrong; the fastest is marked."""
    if len(forms) < 2:
        return []
    width = max(len(form["recipe"]) for form in forms)
    fastest = min((form["ms"] for form in forms if form["ms"] is not None), default=None)
    return [
        f"  {form['recipe']:{width}}  "
        + (form["result"].partition("\n")[0] if form["ms"] is None else f"{form['ms']:8.2f} ms")
        + ("  fastest" if form["ms"] is not None and form["ms"] == fastest else "")
        for form in forms
    ]
