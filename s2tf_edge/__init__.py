"""Edge deployment of 3D-ConvNet action recognition: networks, clips, training; see the sub-packages for the rest."""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from s2tf_edge.spec import ClipSpec

if TYPE_CHECKING:
    from s2tf_edge.models.model_file import load_model

__all__ = ["ClipSpec", "__version__", "load_model"]

__version__ = version("s2tf-edge")


def __getattr__(name: str) -> Any:
    # Networks need torch, which a device that only runs artifacts does not have.
    if name == "load_model":
        from s2tf_edge.models.model_file import load_model

        return load_model
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
