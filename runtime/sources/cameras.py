"""The cameras of this machine, by number."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import av

from s2tf_edge.errors import SourceError, UsageError
from s2tf_edge.runtime.sources.source import CAMERA_FORMATS, Source

__all__ = ["FoundCamera", "camera", "find_cameras"]


@dataclass(frozen=True, kw_only=True)
class FoundCamera:
    """A camera that the system lists."""

    index: int
    """What ``camera`` takes."""
    name: str
    """As its driver calls it."""
    is_allowed: bool
    """Whether this user may open it."""


def find_cameras() -> list[FoundCamera] | None:
    """The cameras that Linux lists, by number; None on other systems.

    Some list a second node for a camera, which has no pictures.
    """
    if CAMERA_FORMATS.get(sys.platform) != "v4l2":
        return None
    found = []
    for device in Path("/dev").glob("video*"):
        if number := re.fullmatch(r"video(\d+)", device.name):
            said = Path("/sys/class/video4linux") / device.name / "name"
            name = said.read_text(encoding="utf-8", errors="replace").strip() if said.is_file() else ""
            allowed = os.access(device, os.R_OK | os.W_OK)
            found.append(FoundCamera(index=int(number[1]), name=name, is_allowed=allowed))
    return sorted(found, key=lambda each: each.index)


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
