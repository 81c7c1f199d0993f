"""The cache of a run: where its frames are kept, and until when."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from s2tf_edge.data.cached_video import CachedClip, CachedVideo, cached, estimate_bytes
from s2tf_edge.data.frame_store import FrameStore
from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.data.memory_folder import MemoryFolder
from s2tf_edge.errors import InputFileError
from s2tf_edge.spec import ClipSpec
from s2tf_edge.training.settings.loading import RAM

__all__ = ["FrameCache"]

logger = logging.getLogger(__name__)

_GIB: Final = 2**30
_MIB: Final = 2**20


class FrameCache:
    """Keeps the frames of a run's videos.

    Args:
        where: ``ram``, or a folder, made if missing.

    Raises:
        InputFileError: the folder cannot be made or written to.
    """

    def __init__(self, where: str) -> None:
        self._memory = MemoryFolder() if where == RAM else None
        folder = self._memory.path if self._memory else Path(where)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / ".writable"
            probe.touch()
            probe.unlink()
        except OSError as error:
            msg = f"cannot write to the folder {folder} of `cache` ({error.strerror or error}); give another, or {RAM}"
            raise InputFileError(msg) from error
        self._store = FrameStore(folder, in_memory=self._memory is not None)

    def for_training(self, videos: LabeledVideos, spec: ClipSpec) -> LabeledVideos:
        """The data set with all frames kept; says how much that takes."""
        need, room = estimate_bytes(videos, spec), self._store.room()
        where = "memory" if self._memory else str(self._store.folder)
        fits = f"{_size(room)} are free" if need <= room else f"{_size(room)} fit, other videos are decoded each time"
        logger.info("keeping the frames of %d videos in %s: about %s, %s", len(videos), where, _size(need), fits)
        return cached(videos, self._store, CachedVideo)

    def for_validation(self, videos: LabeledVideos) -> LabeledVideos:
        """The data set with the clips kept that are read."""
        return cached(videos, self._store, CachedClip)

    def close(self) -> None:
        """Gives the memory back; a folder of the user's stays."""
        if self._memory:
            self._memory.remove()


def _size(count: int) -> str:
    return f"{count / _GIB:.1f} GiB" if count >= _GIB else f"{count / _MIB:.0f} MiB"
