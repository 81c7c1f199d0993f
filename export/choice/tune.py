"""``s2tf-tune``: the form of a portable artifact that is fastest on this machine and agrees with its network here.

    candidates/    engines that are still to be built: built
        │
      check        each in a process of its own, which may crash: its logits against those of the network
        │
      time         those that agree, side by side in short turns
        │
      bound        where one is given: top-1 on videos, the fastest first, until one is within it
        │
     artifact      the files of that form above the candidates, and in meta.json why

Everything happens in a copy that takes the artifact's place at the end: what fails leaves it as it was. It runs with
the runtime alone: neither PyTorch nor ONNX nor NNCF is imported.
"""

from __future__ import annotations

import dataclasses
import logging
import multiprocessing
import shlex
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from s2tf_edge.calibration.audit import Audit, audit_layers, audit_openvino
from s2tf_edge.calibration.candidates import Candidate, tabulate
from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.errors import BuildError, UnsupportedError, UsageError, VerificationError
from s2tf_edge.export.artifact_folder import new_artifact, package_versions, seal
from s2tf_edge.export.choice.fastest import time_artifacts
from s2tf_edge.export.choice.portable import compare_stored, link_files, list_candidates
from s2tf_edge.export.options import ExportOptions
from s2tf_edge.export.rebuild import plan_rebuild, run_rebuild
from s2tf_edge.progress import Progress, begin_step, no_progress
from s2tf_edge.runtime.artifact import (
    CANDIDATES_FOLDER,
    META_FILE,
    REPRODUCE_SCRIPT,
    SIGNATURE_FILE,
    ArtifactMeta,
    candidate_folders,
    check_candidates,
    check_files,
    read_checked,
    read_meta,
)
from s2tf_edge.runtime.evaluation.accuracy import Drop, Evaluation, measure_drop
from s2tf_edge.runtime.evaluation.multi_view import evaluate, network_classes
from s2tf_edge.runtime.hardware import hardware_facts
from s2tf_edge.runtime.open import open_session
from s2tf_edge.runtime.session import Session, SessionOptions

__all__ = ["Bound", "TuneResult", "tune"]

logger = logging.getLogger(__name__)

_FLOATS: Final = ("fp32", "fp16")
"""What a drop is measured against: the first of them that agrees here."""
_OTHERWISE: Final = "copy the artifact to where you may write, and tune the copy"
"""What is to be done where it cannot be replaced by what it is to be."""


@dataclass(frozen=True, kw_only=True)
class Bound:
    """How much top-1 the chosen form may lose."""

    videos: LabeledVideos
    max_drop: float
    """Points of top-1 against the float form, on the videos."""

    def __post_init__(self) -> None:
        if not 0 <= self.max_drop <= 100:
            msg = f"`max_drop` must be between 0 and 100 points, got {self.max_drop}"
            raise UsageError(msg)


@dataclass(frozen=True, kw_only=True)
class TuneResult:
    """What was chosen, and out of what."""

    folder: Path
    meta: ArtifactMeta
    chosen: str
    candidates: tuple[Candidate, ...]
    """All forms, with their times here or why they are out."""
    layers: Mapping[str, str]
    """Of each int8 form that agrees, what its layers compute in here: ``integer: 55 of 55 convolutions``."""
    drop: Drop | None = None
    """Of the chosen form, where a bound was given and it is no float form itself."""

    def lines(self) -> list[str]:
        """The table of all forms."""
        return tabulate(self.candidates)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "artifact": str(self.folder),
            "chosen": self.chosen,
            "candidates": [each.to_dict() for each in self.candidates],
            "layers": dict(self.layers),
            "drop": None if self.drop is None else dataclasses.asdict(self.drop),
        }


def tune(
    folder: Path,
    options: SessionOptions | None = None,
    *,
    bound: Bound | None = None,
    progress: Progress = no_progress,
) -> TuneResult:
    """Makes a portable artifact the form that is fastest on this machine.

    Args:
        folder: of an artifact that was exported with ``portable=True``.
        options: where and with how many threads it will run.
        bound: on the top-1 that may be lost.
        progress: told of each form, and of each video.

    Raises:
        BuildError: none runs here; for engines, none could be built.
        InputFileError: there is no artifact, it has changed since it was exported, or it is not signed as asked for.
        MissingExtraError: its runtime is not installed.
        UsageError: the artifact is not portable, or lacks labels of the videos of the bound.
        VerificationError: no form agrees with the network here.
    """
    options = options or SessionOptions()
    # A link stays one, to what is replaced.
    folder = folder.resolve() if folder.is_symlink() else folder
    meta = read_meta(folder)
    if options.require_signature is not None:
        # Forms are no artifacts that are signed themselves: the signature holds their hashes.
        meta = read_checked(folder, signers=options.require_signature)
        check_candidates(meta, folder)
        options = dataclasses.replace(options, require_signature=None)
    _require_candidates(folder, meta)
    if bound is not None:
        # What is known from the labels should not be found when all forms have been timed.
        network_classes(meta.labels, bound.videos, needed=True)
    forms, was_signed = candidate_folders(meta, folder), (folder / SIGNATURE_FILE).exists()
    with new_artifact(folder, otherwise=_OTHERWISE) as aside:
        found = _copy_candidates(forms, aside / CANDIDATES_FOLDER)
        found, unbuilt = _build_engines(found, progress)
        checked = _check_all(found, options, progress)
        begin_step(progress, "timing")
        agreeing = [found[name] for name, check in checked.items() if check.problem is None]
        if not agreeing:
            raise _no_form(unbuilt, checked)
        timed = sorted(time_artifacts(agreeing, options), key=lambda each: each.milliseconds or 0.0)
        chosen, drop = (timed[0], None) if bound is None else _find_within(bound, timed, options, progress)
        failed = [Candidate(name=name, result=check.problem) for name, check in checked.items() if check.problem]
        candidates = (*timed, *failed, *unbuilt)
        tuned = _describe_choice(options, candidates, drop)
        meta = _put_on_top(chosen, checked[chosen.name].audit, tuned, folder=folder, aside=aside)
    if was_signed:
        again = f"s2tf-export {shlex.quote(str(folder))} --sign KEY"
        logger.warning("%s was signed, and is not as what it is now; to sign that: %s", folder, again)
    layers = {name: check.audit.line() for name, check in checked.items() if check.audit is not None}
    return TuneResult(folder=folder, meta=meta, chosen=chosen.name, candidates=candidates, layers=layers, drop=drop)


def _require_candidates(folder: Path, meta: ArtifactMeta) -> None:
    above = folder.absolute().parents[1] if folder.absolute().parent.name == CANDIDATES_FOLDER else None
    if not meta.candidates and above is not None and (above / META_FILE).is_file():
        msg = f"{folder} is one form of {above.name}; tune that: s2tf-tune {shlex.quote(str(above))}"
        raise UsageError(msg)
    if not meta.candidates:
        again = f"s2tf-export MODEL --target {meta.target} --portable"
        msg = f"{folder} has one form only; export the network again with `{again}`"
        raise UsageError(msg)


def _copy_candidates(folders: Mapping[str, Path], place: Path) -> dict[str, Path]:
    copies = {name: place / name for name in folders}
    for name, folder in folders.items():
        check_files(read_meta(folder), folder)
        copies[name].mkdir(parents=True)
        link_files(folder, copies[name])
        # A copy, as it may be written anew.
        shutil.copy(folder / META_FILE, copies[name] / META_FILE)
    return copies


def _build_engines(found: Mapping[str, Path], progress: Progress) -> tuple[dict[str, Path], list[Candidate]]:
    """Builds engines that were left to the device; gives what there is to run now, and what could not be built."""
    ready: dict[str, Path] = {}
    unbuilt: list[Candidate] = []
    for name, folder in found.items():
        meta = read_meta(folder)
        try:
            if meta.build.get("deferred"):
                begin_step(progress, f"building {meta.target} {name}")
                run_rebuild(plan_rebuild(folder, ExportOptions(target=meta.target)))
            ready[name] = folder
        except (BuildError, UnsupportedError, VerificationError) as error:
            logger.warning("%s is left out: %s", name, error)
            unbuilt.append(Candidate(name=name, result=str(error)))
    return ready, unbuilt


@dataclass(frozen=True, kw_only=True)
class _Check:
    """What a form does on this machine."""

    problem: str | None
    """Why it is out; None where it agrees."""
    audit: Audit | None = None
    """What its layers compute in; None where it is out, or its runtime does not tell."""


def _check_all(found: Mapping[str, Path], options: SessionOptions, progress: Progress) -> dict[str, _Check]:
    checked: dict[str, _Check] = {}
    begin_step(progress, "checking")
    for number, (name, folder) in enumerate(found.items(), start=1):
        logger.info("checking %s, %d of %d", name, number, len(found))
        checked[name] = check = _check_apart(folder, options)
        if check.problem is not None:
            logger.warning("%s is left out: %s", name, check.problem)
        progress(number, len(found))
    return checked


def _check_apart(folder: Path, options: SessionOptions) -> _Check:
    """Checks in a process of its own: a runtime that has no kernel for a layer may crash rather than say so."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(_check, folder, options).result()
        except BrokenProcessPool:
            return _Check(problem="its runtime crashes here")
        except (BuildError, UnsupportedError, VerificationError) as error:
            return _Check(problem=str(error))


def _check(folder: Path, options: SessionOptions) -> _Check:
    meta = read_meta(folder)
    with open_session(folder, dataclasses.replace(options, profile=True)) as session:
        found = compare_stored(folder, meta, session)
        if not found.passed:
            return _Check(problem=f"does not agree with the network here: {found}")
        return _Check(problem=None, audit=_audit(session) if meta.precision["asked"] == "int8" else None)


def _audit(session: Session) -> Audit | None:
    """What an open session's layers compute in, asked of what was compiled here."""
    from s2tf_edge.runtime.backends.openvino_session import OpenVinoSession
    from s2tf_edge.runtime.backends.ort_session import OrtSession

    if isinstance(session, OpenVinoSession):
        return audit_openvino(session.compiled)
    if isinstance(session, OrtSession):
        spec = session.info.spec
        clips = np.zeros(spec.input_shape(session.info.batch or 1), spec.dtype)
        return audit_layers(session.profile(lambda: session.infer(clips), runs=1))
    return None


def _no_form(unbuilt: Sequence[Candidate], checked: Mapping[str, _Check]) -> BuildError | VerificationError:
    reasons = [*unbuilt, *(Candidate(name=name, result=check.problem or "") for name, check in checked.items())]
    msg = "no form runs here and agrees with the network:\n" + "\n".join(tabulate(reasons))
    return VerificationError(msg) if checked else BuildError(msg)


def _find_within(
    bound: Bound, timed: Sequence[Candidate], options: SessionOptions, progress: Progress
) -> tuple[Candidate, Drop | None]:
    """The fastest form that loses no more than the bound, and what it loses; at worst the float form."""
    floats = [each for name in _FLOATS for each in timed if each.name == name]
    if not floats:
        msg = "no float form agrees here, and `max_drop` is counted from one; leave it out"
        raise VerificationError(msg)
    baseline = _evaluate(floats[0], bound, options, progress)
    for candidate in timed[: timed.index(floats[0])]:
        drop = measure_drop(baseline, _evaluate(candidate, bound, options, progress))
        logger.info("%s loses %.1f points of top-1 on %d videos", candidate.name, drop.points, drop.n)
        if drop.points <= bound.max_drop:
            return candidate, drop
    return floats[0], None


def _evaluate(candidate: Candidate, bound: Bound, options: SessionOptions, progress: Progress) -> Evaluation:
    begin_step(progress, f"top-1 of {candidate.name}")
    with open_session(candidate.written, options) as session:
        return evaluate(session, bound.videos, progress=progress)


def _describe_choice(options: SessionOptions, candidates: Sequence[Candidate], drop: Drop | None) -> dict[str, Any]:
    """For ``meta.json``: what was asked, where, and what came out."""
    return {
        "machine": hardware_facts(),
        "versions": package_versions(),
        "device": options.device,
        "threads": options.threads,
        "candidates": [each.to_dict() for each in candidates],
        **({} if drop is None else {"drop": dataclasses.asdict(drop)}),
    }


def _put_on_top(
    chosen: Candidate, audit: Audit | None, tuned: Mapping[str, Any], *, folder: Path, aside: Path
) -> ArtifactMeta:
    """Puts the chosen form's files above the candidates, and says so."""
    meta = read_meta(chosen.written)
    link_files(chosen.written, aside)
    if (folder / REPRODUCE_SCRIPT).is_file():
        shutil.copy(folder / REPRODUCE_SCRIPT, aside / REPRODUCE_SCRIPT)
    precision = meta.precision if audit is None else {**meta.precision, "audit": audit.to_dict()}
    meta = dataclasses.replace(
        meta,
        precision=precision,
        candidates=list_candidates(aside),
        build={**meta.build, "tuned": tuned},
    )
    return seal(meta, aside)
