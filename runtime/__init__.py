"""Running networks: sessions, streams, evaluation, reports. Nothing here needs torch, but for a ``model.pt``.

    from s2tf_edge.runtime import open_session, recognize

    with open_session("model_openvino_int8") as session:
        logits = session.infer(clips).logits

    for record in recognize("clip.mp4", "model_openvino_int8"):
        ...

Records are a Start, then Predictions, Events, Gaps and Failures as they come, and a Summary last.
"""

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
