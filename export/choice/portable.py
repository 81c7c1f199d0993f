"""``--portable``: every form that agrees is kept, so that the device can choose the one that is fastest there.

    model_onnx_portable/
      model.onnx meta.json …      the fastest form where it was exported: an artifact like any other
      candidates/
        fp32/ model.onnx meta.json expected.npz verify.json
        int8/ model.onnx meta.json expected.npz verify.json calib.json

The files of the form that is chosen are links to those of its candidate, where the file system has links. Each
candidate carries what the network says of seeded clips, for a device that has no network to ask.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from s2tf_edge.calibration.candidates import Candidate, tabulate
from s2tf_edge.errors import VerificationError
from s2tf_edge.export.artifact_folder import seal, write_executable, write_script
from s2tf_edge.export.choice.fastest import Made, Make, make_precisions, time_artifacts
from s2tf_edge.export.plan import ExportPlan
from s2tf_edge.export.targets.base import preset_folder
from s2tf_edge.export.verify.expected import read_expected
from s2tf_edge.export.verify.runnable import runnable_session
from s2tf_edge.export.verify.seeded_clips import seeded_clips
from s2tf_edge.export.verify.verification import Verification, compare_session
from s2tf_edge.runtime.artifact import BUILD_SCRIPT, CANDIDATES_FOLDER, META_FILE, ArtifactMeta, read_meta, sha256
from s2tf_edge.runtime.session import Session

__all__ = ["compare_stored", "link_files", "list_candidates", "make_portable"]

logger = logging.getLogger(__name__)

_BUILD = """#!/bin/sh
# Builds the engine of every form on the device that runs it, and keeps the fastest that agrees with the network.
set -eu
command -v s2tf-tune > /dev/null || { echo "install s2tf-edge here, or activate its environment" >&2; exit 127; }
exec s2tf-tune "$(cd "$(dirname "$0")" && pwd)"
"""


def make_portable(plan: ExportPlan, folder: Path, make: Make) -> Made:
    """Makes an artifact of every form that agrees with the network, and above them the one that is fastest here.

    Args:
        plan: of precision auto.
        folder: an empty folder for the artifact.
        make: makes the forms of one precision: the fastest where it is told to, others beside it.

    Returns:
        The form above; of engines that are still to be built that of the target's default precision.

    Raises:
        BuildError: no precision could be built, verified and kept within the bound; the message has all reasons.
        VerificationError: no form agrees on the clips that a device can check it with.
    """
    place = folder / CANDIDATES_FOLDER
    place.mkdir()
    made, failed = make_precisions(plan, place, make)
    forms = _name_forms(made, place)
    agreeing, differing = _keep_agreeing([place / name for name in forms])
    tried = _time(plan, agreeing)
    chosen = min(tried, key=lambda candidate: candidate.milliseconds or 0.0)
    link_files(chosen.written, folder)
    if plan.options.defer_build:
        write_executable(_BUILD, folder / BUILD_SCRIPT)
    if command := plan.command():
        write_script(command, folder)
    meta = read_meta(chosen.written)
    listed = [candidate.to_dict() for candidate in (*tried, *differing, *failed)]
    meta = dataclasses.replace(meta, candidates=list_candidates(folder), build={**meta.build, "candidates": listed})
    return Made(meta=seal(meta, folder), verification=forms[chosen.name].verification)


def _name_forms(made: Mapping[str, Made], place: Path) -> dict[str, Made]:
    """All forms by the names of their folders; one of several of a precision gets its preset's behind it."""
    forms: dict[str, Made] = {}
    for name, each in made.items():
        folder = place / name
        if each.others:
            folder = folder.rename(preset_folder(folder, str(each.meta.build["recipe"])))
        forms |= {folder.name: each, **each.others}
    return forms


def list_candidates(folder: Path) -> dict[str, str]:
    """What ``meta.json`` of a portable artifact says of the forms below it."""
    return {path.name: sha256(path / META_FILE) for path in sorted((folder / CANDIDATES_FOLDER).iterdir())}


def link_files(source: Path, folder: Path) -> None:
    """Puts the files that an artifact's description names into another folder too, as links where there are such.

    Whatever else lies beside them stays there, as nobody has its hash.
    """
    for name in read_meta(source).files:
        _link(source / name, folder / name)


def _link(source: Path, path: Path) -> None:
    try:
        os.link(source, path)
    except OSError:
        shutil.copy(source, path)


def compare_stored(folder: Path, meta: ArtifactMeta, session: Session) -> Verification:
    """Holds a form against what its network said of seeded clips when it was exported.

    Args:
        folder: of the form.
        meta: its description.
        session: open.

    Raises:
        InputFileError: what the network said cannot be read.
        VerificationError: its logits are not finite.
    """
    precision = str(meta.precision["asked"])
    clips = seeded_clips(session.info.spec)
    return compare_session(session, read_expected(folder, meta), clips, precision=precision)


def _keep_agreeing(folders: Sequence[Path]) -> tuple[list[Path], list[Candidate]]:
    """Those that a device will find to agree, and those that it could not check, whose folders are removed."""
    agreeing: list[Path] = []
    differing: list[Candidate] = []
    for folder in folders:
        meta = read_meta(folder)
        problem = _find_problem(folder, meta)
        if problem is None:
            _remove_build_script(folder, meta)
            agreeing.append(folder)
            continue
        reason = f"agrees on videos, and not on the seeded clips that a device has to check it with: {problem}"
        logger.warning("%s is left out: it %s", folder.name, reason)
        differing.append(Candidate(name=folder.name, result=reason))
        shutil.rmtree(folder)
    if not agreeing:
        msg = "no form can be checked on a device:\n" + "\n".join(tabulate(differing))
        raise VerificationError(msg)
    return agreeing, differing


def _find_problem(folder: Path, meta: ArtifactMeta) -> str | None:
    session, _ = runnable_session(folder, meta)
    with session:
        try:
            found = compare_stored(folder, meta, session)
        except VerificationError as error:
            return str(error)
    return None if found.passed else str(found)


def _remove_build_script(folder: Path, meta: ArtifactMeta) -> None:
    """One for all lies above; a form that was built alone would be another than the artifact says it has."""
    if BUILD_SCRIPT in meta.files:
        (folder / BUILD_SCRIPT).unlink()
        files = {name: digest for name, digest in meta.files.items() if name != BUILD_SCRIPT}
        seal(dataclasses.replace(meta, files=files), folder)


def _time(plan: ExportPlan, folders: Sequence[Path]) -> list[Candidate]:
    """All of them with their times; where engines are built on the device, the target's default precision first."""
    if not plan.options.defer_build:
        return time_artifacts(folders)
    order: Mapping[str, int] = {name: number for number, name in enumerate(plan.target.precisions)}
    ordered = sorted(folders, key=lambda folder: order.get(folder.name, len(order)))
    return [Candidate(name=folder.name, path=folder) for folder in ordered]
