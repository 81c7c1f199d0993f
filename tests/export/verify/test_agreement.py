"""The one way through verification, on a golden artifact and what its graph says."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s2tf_edge.errors import VerificationError
from s2tf_edge.export.verify.agreement import verify_artifact
from s2tf_edge.export.verify.seeded_clips import seeded_clips
from s2tf_edge.export.verify.verification import Verification, run_clips
from s2tf_edge.runtime.artifact import read_meta
from s2tf_edge.runtime.open import open_session
from s2tf_edge.runtime.session import Outputs

GOLDEN = Path(__file__).parents[2] / "golden" / "version_1" / "tiny_onnx_fp32"
CLIPS = seeded_clips(read_meta(GOLDEN).clip, count=3)


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOLDEN, tmp_path / "a"))


@pytest.fixture(scope="module")
def expected() -> Outputs:
    with open_session(GOLDEN) as session:
        return run_clips(session, CLIPS)


def _verify(folder: Path, expected: Outputs) -> Verification:
    meta = read_meta(folder)
    return verify_artifact(
        folder, meta, expected=expected, clips=CLIPS, kind="unseen", explain=lambda found: f"no: {found}; try again"
    )


def test_what_was_found_is_returned_and_written(artifact: Path, expected: Outputs) -> None:
    found = _verify(artifact, expected)
    assert (found.passed, found.n, found.clips, found.through, found.max_error) == (True, 3, "unseen", "onnx", 0)
    assert json.loads((artifact / "verify.json").read_text()) == json.loads(json.dumps(found.to_dict()))


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        (lambda logits: logits * np.float32(1.5), r"^no: largest error .*, n = 3 unseen clips; try again$"),
        (lambda logits: logits * np.float32(np.nan), r"^no: largest error nan .* n = 3 unseen clips; try again$"),
    ],
)
def test_what_does_not_agree_is_explained_by_the_caller(
    artifact: Path, expected: Outputs, logits: Callable[[Any], Any], message: str
) -> None:
    before = {path.name: path.read_bytes() for path in artifact.iterdir()}
    with pytest.raises(VerificationError, match=message):
        _verify(artifact, dataclasses.replace(expected, logits=logits(expected.logits)))
    assert {path.name: path.read_bytes() for path in artifact.iterdir()} == before
