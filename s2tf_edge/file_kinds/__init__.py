"""What a file or folder is, told by what it holds, and which command or path is right for it.

Nothing is unpickled and little is read: whatever a user names may come here.
"""

from s2tf_edge.file_kinds.advice import check_kind
from s2tf_edge.file_kinds.detection import META_FILE, FoundFile, find_kind
from s2tf_edge.file_kinds.kinds import (
    CLASS_NAMES,
    CLIP_FILE,
    MODEL_FILE,
    NETWORK,
    NETWORK_NAME,
    PORTABLE,
    PUBLISHED,
    RUNNABLE,
    SETTINGS,
    TRAINING_RUN,
    VIDEOS,
    FileKind,
    Wanted,
)

__all__ = [
    "CLASS_NAMES",
    "CLIP_FILE",
    "META_FILE",
    "MODEL_FILE",
    "NETWORK",
    "NETWORK_NAME",
    "PORTABLE",
    "PUBLISHED",
    "RUNNABLE",
    "SETTINGS",
    "TRAINING_RUN",
    "VIDEOS",
    "FileKind",
    "FoundFile",
    "Wanted",
    "check_kind",
    "find_kind",
]
