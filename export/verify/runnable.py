"""Running an artifact where it was made, which may have no GPU to run an engine on."""

from __future__ import annotations

import logging
from pathlib import Path

from s2tf_edge.errors import InputFileError, UnsupportedError
from s2tf_edge.export.targets.registry import TARGETS, is_engine
from s2tf_edge.export.verify.verification import ON_GPU
from s2tf_edge.runtime.artifact import GRAPH_FILE, ArtifactMeta
from s2tf_edge.runtime.backends.tensorrt_library import has_gpu
from s2tf_edge.runtime.open import artifact_info, open_session
from s2tf_edge.runtime.session import Session, SessionOptions

__all__ = ["runnable_session"]

logger = logging.getLogger(__name__)


def runnable_session(folder: Path, meta: ArtifactMeta) -> tuple[Session, str]:
    """A session that runs here what the artifact runs, and what it is.

    An engine needs its GPU: where there is none, or the engine is not built yet, its graph runs in its stead.
    """
    on_cpu = SessionOptions(device="CPU")
    if not is_engine(meta.target):
        return open_session(folder, on_cpu), meta.target
    if has_gpu() and not meta.build.get("deferred") and (session := _open_on_gpu(folder, meta)):
        return session, ON_GPU
    from s2tf_edge.runtime.backends.ort_session import OrtSession

    info = artifact_info(folder, meta)
    session = OrtSession(folder / GRAPH_FILE, info, on_cpu, fuses_integers=False)
    return session, "ONNX Runtime on the CPU, running the engine's graph"


def _open_on_gpu(folder: Path, meta: ArtifactMeta) -> Session | None:
    """The engine's session, opened; None where it was built for other GPUs than this machine's."""
    session = open_session(folder)
    try:
        session.open()
    except (InputFileError, UnsupportedError) as error:
        # What needs a GPU to be built was built on this one: that it does not open is an error.
        if not TARGETS[meta.target].builds_without_gpu:
            raise
        logger.warning("the engine is not for this machine's GPU (%s); its graph is verified instead", error)
        return None
    return session
