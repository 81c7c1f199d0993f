"""Finding videos that two data sets share: links to one file, and copies of it under another name.

Reading everything would take hours. Of each file its size is asked for; of those that have the size of one on the other
side, a little is read at the beginning, in the middle and at the end, where two videos cannot be alike by chance.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from s2tf_edge.data.files import VideoFile
from s2tf_edge.data.videos import Videos

__all__ = ["find_same_videos"]

_SAMPLE_BYTES: Final = 64 * 2**10


def find_same_videos(first: Videos, second: Videos) -> list[tuple[Path, Path]]:
    """Pairs of files with the same content, one of each data set, in the order of ``second``.

    What cannot be read, or is empty, is like nothing else.
    """
    sizes = [_sizes(first), _sizes(second)]
    shared = (set(sizes[0].values()) & set(sizes[1].values())) - {0}
    digests = [{path: _digest(path, size) for path, size in side.items() if size in shared} for side in sizes]
    known = {digest: path for path, digest in digests[0].items() if digest}
    return [(known[digest], path) for path, digest in digests[1].items() if digest in known]


def _sizes(videos: Videos) -> dict[Path, int]:
    found = {}
    for video in videos.videos:
        if isinstance(video, VideoFile):
            try:
                found[video.path] = video.path.stat().st_size
            except OSError:
                continue
    return found


def _digest(path: Path, size: int) -> bytes:
    """Of the beginning, the middle and the end; empty where the file cannot be read."""
    found = hashlib.sha256()
    try:
        with path.open("rb") as file:
            for start in (0, size // 2, max(0, size - _SAMPLE_BYTES)):
                file.seek(start)
                found.update(file.read(_SAMPLE_BYTES))
    except OSError:
        return b""
    return found.digest()
