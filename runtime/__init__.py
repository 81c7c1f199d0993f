"""Running networks: sessions, streams, evaluation, reports. Nothing here needs torch, but for a ``model.pt``.

    from s2tf_edge.runtime import open_session, recognize

    with open_session("model_openvino_int8") as session:
        logits = session.infer(clips).logits

    for record in recognize("clip.mp4", "model_openvino_int8"):
        ...

Records are a Start, then Predictions, Events, Gaps and Failures as they come, and a Summary last.

Each is imported once it is asked for: who wants to know what machine this is, as ``s2tf-doctor`` does, loads no library
that may be broken here.
"""

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from s2tf_edge.runtime.artifact import ArtifactMeta, read_meta
    from s2tf_edge.runtime.evaluation.accuracy import Evaluation
    from s2tf_edge.runtime.evaluation.multi_view import Views, evaluate
    from s2tf_edge.runtime.evaluation.predictions import Predictions
    from s2tf_edge.runtime.open import open_session
    from s2tf_edge.runtime.session import ModelInfo, Outputs, Session, SessionOptions
    from s2tf_edge.runtime.streaming.recognize import recognize
    from s2tf_edge.runtime.streaming.records import Event, Failure, Gap, Prediction, Record, Start, Summary
    from s2tf_edge.runtime.streaming.regions import Region
    from s2tf_edge.runtime.streaming.stream_options import StreamOptions

__all__ = [
    "ArtifactMeta",
    "Evaluation",
    "Event",
    "Failure",
    "Gap",
    "ModelInfo",
    "Outputs",
    "Prediction",
    "Predictions",
    "Record",
    "Region",
    "Session",
    "SessionOptions",
    "Start",
    "StreamOptions",
    "Summary",
    "Views",
    "evaluate",
    "open_session",
    "read_meta",
    "recognize",
]

_PLACES: Final = {
    "ArtifactMeta": "artifact",
    "Evaluation": "evaluation.accuracy",
    "Event": "streaming.records",
    "Failure": "streaming.records",
    "Gap": "streaming.records",
    "ModelInfo": "session",
    "Outputs": "session",
    "Prediction": "streaming.records",
    "Predictions": "evaluation.predictions",
    "Record": "streaming.records",
    "Region": "streaming.regions",
    "Session": "session",
    "SessionOptions": "session",
    "Start": "streaming.records",
    "StreamOptions": "streaming.stream_options",
    "Summary": "streaming.records",
    "Views": "evaluation.multi_view",
    "evaluate": "evaluation.multi_view",
    "open_session": "open",
    "read_meta": "artifact",
    "recognize": "streaming.recognize",
}
"""The module of each."""


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
