"""Training of networks on labeled videos (needs the extra ``train``)."""

from typing import TYPE_CHECKING, Any

from s2tf_edge.training.config import TrainConfig

if TYPE_CHECKING:
    from s2tf_edge.training.fit import TrainResult, train

__all__ = ["TrainConfig", "TrainResult", "train"]


def __getattr__(name: str) -> Any:
    # The help of s2tf-train reads the settings, also where torch is missing.
    if name in {"TrainResult", "train"}:
        from s2tf_edge.training import fit

        return getattr(fit, name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
