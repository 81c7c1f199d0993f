"""What an artifact is compared with: the network as it came, and the clips that it is asked about.

A ``model.pt`` runs in PyTorch in its training form, not in the form that was exported, so that rewriting it for
inference is verified along with everything after.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from s2tf_edge.calibration.calibration_clips import CalibrationClips
from s2tf_edge.data.videos import Videos
from s2tf_edge.errors import InputFileError, VerificationError
from s2tf_edge.export.sources.network import SourceNetwork
from s2tf_edge.export.targets.registry import is_engine
from s2tf_edge.export.verify.agreement import verify_artifact
from s2tf_edge.export.verify.expected import write_expected
from s2tf_edge.export.verify.seeded_clips import Frames, seeded_clips
from s2tf_edge.export.verify.verification import TOLERANCES, Verification, run_clips
from s2tf_edge.preprocess import normalize
from s2tf_edge.runtime.artifact import ArtifactMeta
from s2tf_edge.runtime.session import Clips, Outputs
from s2tf_edge.spec import ClipSpec

__all__ = ["Reference", "verification_clips", "verify_export"]

logger = logging.getLogger(__name__)

_REAL_CLIPS: Final = 16
"""Clips of evaluation data, and of those that were not calibrated on, at most."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The network, asked about clips when its answers are first needed."""

    source: SourceNetwork
    precision: str
    clips: Sequence[Frames]
    kind: str
    """Where the clips come from: seeded, unseen, calibration or evaluation."""

    @functools.cached_property
    def expected(self) -> Outputs:
        """What the network says of the clips."""
        return _run(self.source, self.clips)

    def seeded(self, spec: ClipSpec) -> Outputs:
        """What the network says of ``seeded_clips(spec)``."""
        if self.kind == "seeded":
            return self.expected
        return _run(self.source, seeded_clips(spec))


def _run(source: SourceNetwork, clips: Sequence[Frames]) -> Outputs:
    try:
        with source.session() as session:
            return run_clips(session, clips)
    except VerificationError as error:
        msg = f"{source.given} itself computes logits that are not finite; train or import it again"
        raise InputFileError(msg) from error


def verification_clips(
    spec: ClipSpec, *, calibration: CalibrationClips | None, evaluation: Videos | None
) -> tuple[Sequence[Frames], str]:
    """Clips to compare on, and which they are: of the evaluation data, else those not calibrated on, else seeded ones.

    Where there is calibration data, but nothing that was not calibrated on, the clips are of those that were.

    Raises:
        InputFileError: none of the videos can be read.
    """
    if evaluation is not None:
        return CalibrationClips(evaluation, spec, count=_REAL_CLIPS).frames(), "evaluation"
    if calibration is None:
        return seeded_clips(spec), "seeded"
    if unseen := calibration.unseen(_REAL_CLIPS):
        return unseen, "unseen"
    seen = calibration.frames(_REAL_CLIPS)
    logger.warning(
        "no clip is left that is not calibrated on; verifying on %d that are; `eval` takes others", len(seen)
    )
    return seen, "calibration"


def verify_export(reference: Reference, folder: Path, meta: ArtifactMeta) -> Verification:
    """Verifies a new artifact; beside an engine, keeps what the network says of seeded clips.

    Raises:
        VerificationError: they do not agree; the message names the first layer that differs.
    """
    if is_engine(meta.target):
        write_expected(reference.seeded(meta.clip), folder)
    return verify_artifact(
        folder,
        meta,
        expected=reference.expected,
        clips=reference.clips,
        kind=reference.kind,
        explain=functools.partial(_explain, reference, folder, meta),
    )


def _explain(reference: Reference, folder: Path, meta: ArtifactMeta, found: str) -> str:
    is_integer = reference.precision == "int8"
    advice = "try more calibration clips or another precision" if is_integer else "try another precision"
    return (
        f"the {meta.target} {reference.precision} artifact does not agree with {reference.source.path.name}: {found}; "
        f"{_name_divergence(reference, folder, meta)}; nothing was written; {advice}"
    )


def _name_divergence(reference: Reference, folder: Path, meta: ArtifactMeta) -> str:
    try:
        return _find_divergence(reference, folder, meta)
    except Exception as error:
        # The verdict stands, whatever keeps the search from finding the place.
        logger.debug("cannot search the layer that differs", exc_info=error)
        return "the layer that differs could not be found"


def _find_divergence(reference: Reference, folder: Path, meta: ArtifactMeta) -> str:
    # Not on a device that has no ONNX.
    from s2tf_edge.export.verify.divergence import artifact_layers, find_divergence

    source = reference.source
    expected = source.layers(_first_clip(reference, source.spec))
    got = artifact_layers(folder, meta, _first_clip(reference, meta.clip))
    return find_divergence(got, expected, tolerance=TOLERANCES[reference.precision].max_error)


def _first_clip(reference: Reference, spec: ClipSpec) -> Clips:
    clip: Clips = normalize(reference.clips[0], spec)[np.newaxis]
    return clip
