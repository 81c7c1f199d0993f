"""Decoding on a graphics processor or another device that FFmpeg drives."""

from __future__ import annotations

import functools
import logging
import threading
from typing import Final

import av
from av.codec import Codec
from av.codec.hwaccel import HWAccel, hwdevices_available

from s2tf_edge.errors import UsageError

__all__ = ["check_hwaccel", "open_hwaccel", "working_hwaccels"]

logger = logging.getLogger(__name__)

_CODEC: Final = "h264"
"""What every device that decodes can decode."""


def check_hwaccel(name: str | None) -> None:
    """Refuses a name that FFmpeg does not know here.

    Raises:
        UsageError: ``name`` is none of FFmpeg's devices.
    """
    known = hwdevices_available()
    if name not in (None, "auto", *known):
        msg = f"hwaccel must be auto or one of {', '.join(known)}, which FFmpeg was built with here, got {name!r}"
        raise UsageError(msg)


def working_hwaccels() -> list[str]:
    """FFmpeg's devices that decode here, the best first."""
    return [name for name in hwdevices_available() if _works(name)]


def open_hwaccel(name: str | None, *, stop: threading.Event | None = None) -> HWAccel | None:
    """What decodes: the device ``name``, or for ``auto`` the first that works; None is the processor.

    A device that is not there, or does not know a video's codec, leaves the decoding to the processor.

    Args:
        name: FFmpeg's, or auto.
        stop: once set, nothing is logged: a driver may have taken for ever.
    """
    candidates = hwdevices_available() if name == "auto" else [name] if name else []
    found = next((candidate for candidate in candidates if _works(candidate)), None)
    if name is not None and not (stop and stop.is_set()):
        _log_choice(name, found)
    return None if found is None else HWAccel(found, allow_software_fallback=True)


@functools.cache
def _works(device: str) -> bool:
    try:
        HWAccel(device).create(Codec(_CODEC, "r"))
    except (av.FFmpegError, NotImplementedError) as error:
        logger.debug("%s does not decode here: %s", device, error)
        return False
    return True


@functools.cache
def _log_choice(name: str, found: str | None) -> None:
    """Once for a name, however many sources are opened."""
    if found is None:
        level = logging.INFO if name == "auto" else logging.WARNING
        logger.log(level, "hardware decoding (%s) does not work here; the processor decodes", name)
    else:
        logger.info("%s decodes", found)
