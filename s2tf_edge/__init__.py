"""Edge deployment of 3D-ConvNet action recognition: networks, clips, training; see the sub-packages for the rest."""

from importlib.metadata import version

from s2tf_edge.spec import ClipSpec

__all__ = ["ClipSpec", "__version__"]

__version__ = version("s2tf-edge")
