"""Whether an artifact agrees with its network: the one way through, for what was exported and for what was rebuilt.

The artifact runs through the session that users run it through, or through what can stand in for it here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from s2tf_edge.errors import VerificationError
from s2tf_edge.export.verify.runnable import runnable_session
from s2tf_edge.export.verify.seeded_clips import Frames
from s2tf_edge.export.verify.verification import Verification, compare_session
from s2tf_edge.progress import Progress, no_progress
from s2tf_edge.runtime.artifact import VERIFICATION_FILE, ArtifactMeta
from s2tf_edge.runtime.session import Outputs
from s2tf_edge.text_file import write_json

__all__ = ["verify_artifact"]


def verify_artifact(
    folder: Path,
    meta: ArtifactMeta,
    *,
    expected: Outputs,
    clips: Sequence[Frames],
    kind: str,
    explain: Callable[[str], str],
    progress: Progress = no_progress,
) -> Verification:
    """Runs an artifact, compares what it says, and writes ``verify.json`` beside it.

    Args:
        folder: of the artifact, sealed.
        meta: its description.
        expected: what the network says of the clips.
        clips: what both are compared on.
        kind: where the clips come from: seeded, unseen, calibration or evaluation.
        explain: makes the message of what was found: with the caller's advice, and the place if it can tell.
        progress: told of the clips that have run.

    Raises:
        VerificationError: the artifact does not agree; nothing is written.
    """
    session, through = runnable_session(folder, meta)
    with session:
        precision = str(meta.precision["asked"])
        try:
            found = compare_session(session, expected, clips, precision=precision, progress=progress)
        except VerificationError as error:
            raise VerificationError(explain("logits are not finite")) from error
    unit = "clips" if meta.step is None else "steps"
    found = dataclasses.replace(found, clips=kind, unit=unit, through=through)
    if not found.passed:
        raise VerificationError(explain(str(found)))
    write_json(folder / VERIFICATION_FILE, found.to_dict())
    return found
