"""The cameras of this machine, by number."""

from __future__ import annotations

import sys

import av

from s2tf_edge.errors import SourceError, UsageError
from s2tf_edge.runtime.sources.source import CAMERA_FORMATS, Source

__all__ = ["camera"]


def camera(index: int, *, name: str | None = None) -> Source:
    """The ``index``-th camera of this machine.

    Args:
        index: from zero on.
        name: as the user gave it, where that is not the number.

    Raises:
        UsageError: ``index`` is negative, or there is no way to open cameras on this platform.
        SourceError: there is no such camera, where they are opened by name.
    """
    if index < 0:
        msg = f"camera must be zero or more, got {index}"
        raise UsageError(msg)
    name = name or f"camera {index}"
    kind = CAMERA_FORMATS.get(sys.platform)
    if kind is None:
        msg = f"{name} cannot be opened: cameras work on {', '.join(CAMERA_FORMATS)}, not on {sys.platform}"
        raise UsageError(msg)
    if kind == "v4l2":
        return Source(name=name, url=f"/dev/video{index}", format=kind, live=True)
    if kind == "avfoundation":
        # It has no default frame rate that every camera accepts.
        return Source(name=name, url=str(index), format=kind, options={"framerate": "30"}, live=True)
    return Source(name=name, url=f"video={_dshow_name(index)}", format=kind, live=True)


def _dshow_name(index: int) -> str:
    """The name of the ``index``-th camera of Windows, which opens cameras by name only."""
    devices = [device for device in av.enumerate_input_devices("dshow") if "video" in device.media_types]
    if index >= len(devices):
        names = ", ".join(device.description for device in devices) or "none"
        msg = f"camera {index} is not there; cameras found: {names}"
        raise SourceError(msg)
    return devices[index].description
