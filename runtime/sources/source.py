"""What a stream is read from, once it is known what it is: what FFmpeg opens, and how it behaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from s2tf_edge.data.container import DEVICE_FORMATS

__all__ = ["CAMERA_FORMATS", "OPEN_SECONDS", "READ_SECONDS", "Source"]

OPEN_SECONDS: Final = 10.0
"""Longest wait for a live source or an address to open."""
READ_SECONDS: Final = 5.0
"""Longest wait for each packet afterwards."""
CAMERA_FORMATS: Final = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}
"""FFmpeg's input format for the cameras of each platform."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """One thing to read frames from."""

    name: str
    """As the user knows it; shown and logged."""
    url: str = field(repr=False)
    """What FFmpeg opens; it may hold a password."""
    format: str | None = None
    """FFmpeg's input format; None lets it find out."""
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    """FFmpeg's options for the format."""
    live: bool = False
    """Whether frames come in real time and are lost if nobody takes them."""
    paced: bool = False
    """Whether to wait until a frame's time has come, where the source itself would hand it out at once."""
    ends: bool = False
    """Whether a live source may come to an end of its own, so that its end is no loss."""
    is_playlist: bool = False
    """Whether it is a playlist of segments, as of HLS, which come whole and at its own rhythm."""
    read_seconds: float = READ_SECONDS
    """Longest wait for each packet of a live source."""
    pictures: tuple[Path, ...] = field(default=(), repr=False)
    """Numbered pictures that are read one after another, in place of ``url``."""
    picture_numbers: tuple[int, ...] = field(default=(), repr=False)
    """The number of each of them, which says when it is shown."""
    open: Callable[[], BinaryIO] | None = field(default=None, repr=False, compare=False)
    """Opens the bytes of a file that FFmpeg cannot open by ``url``, as of an object store."""

    @property
    def is_remote(self) -> bool:
        """Whether it is read over a network."""
        return self.open is None and "://" in self.url and not self.is_device

    @property
    def is_device(self) -> bool:
        """Whether FFmpeg has a device for it, real or virtual."""
        return self.format in DEVICE_FORMATS

    @property
    def is_camera(self) -> bool:
        """Whether it is a camera of this machine."""
        return self.format in CAMERA_FORMATS.values()
