"""Published data sets by their names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from s2tf_edge.data.published.address import PublishedAddress, parse_address
from s2tf_edge.data.published.hmdb51 import read_hmdb51
from s2tf_edge.data.published.kinetics import read_kinetics
from s2tf_edge.data.published.ucf101 import read_ucf101
from s2tf_edge.data.sides import SplitVideos

__all__ = ["open_published"]

_READERS: Final[dict[str, Callable[[PublishedAddress], SplitVideos]]] = {
    "ucf101": read_ucf101,
    "hmdb51": read_hmdb51,
    "kinetics": read_kinetics,
}


def open_published(text: str) -> SplitVideos:
    """The sides of a published data set.

    Args:
        text: such as ``ucf101:ROOT?split=1``, ``hmdb51:ROOT?split=2&part=test`` or ``kinetics:ROOT``.

    Raises:
        UsageError: an option is unknown, or its value not allowed.
        InputFileError: the folder, lists or videos are missing.
    """
    address = parse_address(text)
    return _READERS[address.dataset](address)
