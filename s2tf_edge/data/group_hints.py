"""Groups that the names of files give away: persons, or long videos that were cut up, which should stay on one side."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from s2tf_edge.data.labeled import LabeledVideos

__all__ = ["GroupHint", "find_shared_groups"]

_PATTERNS: Final = (
    r"_(g\d+)_c\d+",  # UCF101: v_SoccerJuggling_g23_c01
    r"^(.+)_[a-z_]+_[fhlu]_[cn]m_np\d",  # HMDB51: RATRACE_wave_f_nm_np1_fr_goo_37
    r"(P\d{3})R\d{3}A\d{3}",  # NTU RGB+D: S001C001P001R001A001
    r"^(.+)_\d{6}_\d{6}\b",  # Kinetics: R6llTwEh07w_000012_000022
    r"^(.+?)[_-](?:clip|cut|part|scene|seg|segment|take)[_-]?\d+\b",
    r"^([A-Za-z]+\d*)_",  # Weizmann and KTH: daria_jump, person01_boxing_d1
)


@dataclass(frozen=True, kw_only=True)
class GroupHint:
    """A pattern by which both sides have videos of the same groups."""

    pattern: str
    """As ``split_by_group`` takes it."""
    shared: tuple[str, ...]
    """The groups that are on both sides."""


def find_shared_groups(train: LabeledVideos, validation: LabeledVideos) -> GroupHint | None:
    """The first common pattern of file names that shows groups on both sides; None where no pattern does."""
    for pattern in _PATTERNS:
        sides = [_groups(side, pattern) for side in (train, validation)]
        if sides[0] and sides[1] and _tells_groups([*sides[0], *sides[1]]):
            shared = {group for group, _ in sides[0]} & {group for group, _ in sides[1]}
            if shared:
                return GroupHint(pattern=pattern, shared=tuple(sorted(shared)))
    return None


def _groups(videos: LabeledVideos, pattern: str) -> list[tuple[str, int]]:
    """The group and the class of each video; none where the pattern does not match all of them."""
    found = [(re.search(pattern, Path(video.name).name), video.label) for video in videos.videos]
    matches = [(match[1], label) for match, label in found if match]
    return matches if len(matches) == len(found) else []


def _tells_groups(found: Sequence[tuple[str, int]]) -> bool:
    """Whether these are groups: several, of two videos and more, and not just other names of the classes."""
    groups, classes = {group for group, _ in found}, defaultdict(set)
    for group, label in found:
        classes[label].add(group)
    several = sum(len(names) > 1 for names in classes.values())
    return 2 < len(groups) <= len(found) / 2 and several > len(classes) / 2
