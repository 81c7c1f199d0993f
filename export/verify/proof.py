"""The proof that export ends in: the artifact and the network on the same clips, or the layer where they part."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from s2tf_edge.calibration.calibration_clips import CalibrationClips
from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.errors import InputFileError, VerificationError
from s2tf_edge.export.rebuild import write_expected
from s2tf_edge.export.sources.network import Source
from s2tf_edge.export.verify.runnable import is_engine, runnable_session
from s2tf_edge.export.verify.verification import TOLERANCES, Frames, Verification, run_clips, seeded_clips, verify
from s2tf_edge.preprocess import normalize
from s2tf_edge.runtime.artifact import ArtifactMeta
from s2tf_edge.runtime.session import Clips, Outputs
from s2tf_edge.spec import ClipSpec

__all__ = ["Proof", "proof_clips", "prove"]

logger = logging.getLogger(__name__)

_REAL_CLIPS: Final = 16


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What an artifact is compared with, and on what."""

    source: Source
    precision: str
    clips: Sequence[Frames]
    kind: str
    """Where the clips come from: seeded, unseen or evaluation."""

    @functools.cached_property
    def expected(self) -> Outputs:
        """What the network says of the clips."""
        return _said(self.source, self.clips)

    def seeded(self, spec: ClipSpec) -> Outputs:
        """What the network says of ``seeded_clips(spec)``."""
        if self.kind == "seeded":
            return self.expected
        return _said(self.source, seeded_clips(spec))


def _said(source: Source, clips: Sequence[Frames]) -> Outputs:
    try:
        with source.reference() as reference:
            return run_clips(reference, clips)
    except VerificationError as error:
        msg = f"{source.given} itself computes logits that are not finite; train or import it again"
        raise InputFileError(msg) from error


def proof_clips(
    spec: ClipSpec, *, calibration: CalibrationClips | None, evaluation: LabeledVideos | None
) -> tuple[Sequence[Frames], str]:
    """Clips to compare on: of the evaluation data, else those not calibrated on, else seeded ones; and which they are.

    Raises:
        InputFileError: none of the videos can be read.
    """
    if evaluation is not None:
        return CalibrationClips(evaluation, spec, count=_REAL_CLIPS).frames(), "evaluation"
    if calibration is not None:
        return calibration.unseen(_REAL_CLIPS), "unseen"
    return seeded_clips(spec), "seeded"


def prove(proof: Proof, folder: Path, meta: ArtifactMeta) -> Verification:
    """Runs network and artifact on the same clips.

    Raises:
        VerificationError: they do not agree; the message names the first layer that differs.
    """
    expected = proof.expected
    if is_engine(meta.target):
        write_expected(proof.seeded(meta.clip), folder)
    artifact, through = runnable_session(folder, meta)
    with artifact:
        try:
            found = verify(artifact, expected, proof.clips, precision=proof.precision)
        except VerificationError as error:
            raise VerificationError(_complaint(proof, folder, meta, "logits are not finite")) from error
    found = dataclasses.replace(found, clips=proof.kind, through=through)
    if not found.passed:
        raise VerificationError(_complaint(proof, folder, meta, str(found)))
    return found


def _complaint(proof: Proof, folder: Path, meta: ArtifactMeta, found: str) -> str:
    advice = "try more calibration clips or another precision" if proof.precision == "int8" else "try another precision"
    return (
        f"the {meta.target} {proof.precision} artifact does not agree with {proof.source.path.name}: {found}; "
        f"{_where(proof, folder, meta)}; nothing was written; {advice}"
    )


def _where(proof: Proof, folder: Path, meta: ArtifactMeta) -> str:
    try:
        layer = _diverging_layer(proof, folder, meta)
    except Exception as error:
        # The verdict stands, whatever keeps the search from finding the place.
        logger.debug("cannot search the layer that differs", exc_info=error)
        return "the layer that differs could not be found"
    return f"the first layer that differs is {layer}" if layer else "every convolution agrees by itself"


def _diverging_layer(proof: Proof, folder: Path, meta: ArtifactMeta) -> str | None:
    from s2tf_edge.export.verify.divergence import artifact_maps, first_difference

    expected = proof.source.layer_maps(_clip(proof, proof.source.spec))
    got = artifact_maps(folder, meta, _clip(proof, meta.clip), list(expected))
    return first_difference(got, expected, tolerance=TOLERANCES[proof.precision].max_error)


def _clip(proof: Proof, spec: ClipSpec) -> Clips:
    clip: Clips = normalize(proof.clips[0], spec)[np.newaxis]
    return clip
