"""How a published data set is asked for: ``ucf101:ROOT?split=1&part=test``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl

from s2tf_edge.data.sides import Side
from s2tf_edge.data.video_paths import is_folder
from s2tf_edge.errors import InputFileError, UsageError

__all__ = ["PublishedAddress", "is_published", "parse_address", "published_from_any_folder"]

_PARTS: Final[dict[str, tuple[Side, ...]]] = {
    "ucf101": ("train", "test"),
    "hmdb51": ("train", "test"),
    "kinetics": ("train", "val", "test"),
}
_SPLITS: Final[dict[str, tuple[int, ...]]] = {"ucf101": (1, 2, 3), "hmdb51": (1, 2, 3), "kinetics": ()}


@dataclass(frozen=True, kw_only=True)
class PublishedAddress:
    """A published data set on this machine."""

    text: str
    """As the user gave it."""
    dataset: str
    """``ucf101``, ``hmdb51`` or ``kinetics``."""
    root: Path
    """An existing folder."""
    split: int = 1
    """Which of the published splits; Kinetics has one."""
    part: Side | None = None
    """The one side to take; None for the one that is right for what is done."""


def is_published(text: str) -> bool:
    """Whether ``text`` begins like the address of a published data set."""
    name, colon, root = text.partition(":")
    return bool(colon and root) and name in _PARTS


def parse_address(text: str) -> PublishedAddress:
    """Reads what ``is_published`` knows.

    Raises:
        UsageError: an option is unknown, or its value not allowed.
        InputFileError: there is no such folder.
    """
    dataset, root, query = _cut(text)
    options = dict(parse_qsl(query, keep_blank_values=True))
    allowed = {"split": tuple(map(str, _SPLITS[dataset])), "part": _PARTS[dataset]}
    for key, value in options.items():
        if not allowed.get(key):
            names = ", ".join(name for name, values in allowed.items() if values)
            msg = f"{dataset} has no option {key!r}; it takes {names}, as in '{dataset}:ROOT?part=train'"
            raise UsageError(msg)
        if value not in allowed[key]:
            msg = f"{dataset} takes a {key} of {', '.join(allowed[key])}, got {value!r}"
            raise UsageError(msg)
    if not is_folder(root):
        msg = f"{root} is no folder; give {dataset}:ROOT with the folder that {dataset} was unpacked into"
        raise InputFileError(msg)
    part = next((side for side in _PARTS[dataset] if side == options.get("part")), None)
    return PublishedAddress(text=text, dataset=dataset, root=root, split=int(options.get("split", 1)), part=part)


def published_from_any_folder(text: str) -> str:
    """The address with its folder made absolute."""
    dataset, root, query = _cut(text)
    return f"{dataset}:{root.absolute()}" + (f"?{query}" if query else "")


def _cut(text: str) -> tuple[str, Path, str]:
    """Data set, folder and options; a folder's own name may hold a question mark."""
    dataset, _, rest = text.partition(":")
    # No shell expands a tilde behind a colon.
    whole = Path(rest).expanduser()
    if "?" not in rest or is_folder(whole):
        return dataset, whole, ""
    root, _, query = rest.rpartition("?")
    return dataset, Path(root).expanduser(), query
