"""Weights put into a network, and every difference between the two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from torch import Tensor

from s2tf_edge.models.checkpoints.formats import rename
from s2tf_edge.models.s2tf import VideoNetwork
from s2tf_edge.words import first_few

__all__ = ["HEAD", "KeyReport", "compare_keys", "load_published"]

HEAD: Final = "backbone.head.fc."
_FOREIGN_HEADS: Final = ("fc.", "head.", "classifier.", "cls_head.", "projection.")
_SALIENCY_GROUPS: Final = ("saliency.", "saliency.preservers.")
"""Modules that may start fresh, each only as a whole: all of them, or TSFP alone."""


@dataclass(frozen=True, kw_only=True)
class KeyReport:
    """How a checkpoint's weights and a network's compare, by this package's names where it has one."""

    format: str
    loaded: int
    """Tensors of the checkpoint that the network took."""
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    misshaped: tuple[str, ...] = ()
    """Each with both shapes."""
    fresh: tuple[str, ...] = ()
    """Weights of the saliency modules or the new head, which start as ``create_model`` made them."""
    notes: tuple[str, ...] = ()
    """What was left out of the checkpoint, or changed on the way."""

    @property
    def is_complete(self) -> bool:
        """Whether every weight found its place."""
        return not (self.missing or self.unexpected or self.misshaped)

    def differences(self) -> str:
        """Counts and the first few keys of what did not fit."""
        kinds = {"missing": self.missing, "unexpected": self.unexpected, "of another shape": self.misshaped}
        return "; ".join(f"{len(keys)} {kind}: {first_few(keys)}" for kind, keys in kinds.items() if keys)


def load_published(
    network: VideoNetwork,
    state: Mapping[str, Tensor],
    *,
    format: str,
    keep_head: bool = False,
) -> KeyReport:
    """Loads published weights into ``network`` if all of them fit; else changes nothing.

    Args:
        network: of the checkpoint's architecture, with or without saliency modules.
        state: weights by published name.
        format: one of ``FORMATS``.
        keep_head: leave the network's classifier as it is.
    """
    found = rename(state, format=format)
    wanted = network.state_dict()
    implied = len(found) - len(state)  # values that the format leaves out
    report = compare_keys(wanted, found, format=format, keep_head=keep_head, implied=implied)
    if report.is_complete:
        taken = {key: value for key, value in found.items() if not (keep_head and _is_of_classifier(key, wanted))}
        network.load_state_dict({**wanted, **taken})
    return report


def compare_keys(
    wanted: Mapping[str, Tensor], found: Mapping[str, Tensor], *, format: str, keep_head: bool, implied: int = 0
) -> KeyReport:
    """How weights by our names compare with those of a network; tensors may be on the "meta" device.

    Args:
        wanted: the network's.
        found: the checkpoint's.
        format: that they came in.
        keep_head: whether the network's classifier stays as it is.
        implied: how many of ``found`` were not in the file.
    """
    fresh = _fresh_keys(wanted, found, keep_head=keep_head)
    found = {key: value for key, value in found.items() if not (keep_head and _is_of_classifier(key, wanted))}
    shared = [key for key in wanted if key in found]
    return KeyReport(
        format=format,
        loaded=max(0, len(shared) - implied),
        missing=tuple(key for key in wanted if key not in found and key not in fresh and not _is_counter(key)),
        unexpected=tuple(key for key in found if key not in wanted),
        misshaped=tuple(
            f"{key} {list(found[key].shape)} where the network has {list(wanted[key].shape)}"
            for key in shared
            if found[key].shape != wanted[key].shape
        ),
        fresh=fresh,
    )


def _fresh_keys(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor], *, keep_head: bool) -> tuple[str, ...]:
    groups = [group for group in _SALIENCY_GROUPS if not any(key.startswith(group) for key in found)]
    groups += [HEAD] * keep_head
    return tuple(key for key in wanted if key.startswith(tuple(groups)))


def _is_of_classifier(key: str, wanted: Mapping[str, Tensor]) -> bool:
    """Whether a weight goes when the classifier is replaced: ours, or one of another make that has no place here."""
    return key.startswith(HEAD) or (key not in wanted and key.startswith(_FOREIGN_HEADS))


def _is_counter(key: str) -> bool:
    # Written since PyTorch 0.4 only, and read only by norms without momentum, of which there are none here.
    return key.endswith(".num_batches_tracked")
