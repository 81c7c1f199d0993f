"""Top-1 accuracies that others published for the networks of this package: facts to compare with, not measured here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

__all__ = ["PUBLISHED", "PublishedTop1"]


@dataclass(frozen=True, kw_only=True)
class PublishedTop1:
    """One accuracy and where it stands."""

    dataset: str
    percent: float
    source: str


_PAPER: Final = "Liu et al. 2025"
_SLOWFAST: Final = "SlowFast model zoo, 8x8, 3x10 views"
_TORCHVISION: Final = "torchvision, 5 clips a video"
_TORCHVISION_CLIP: Final = "torchvision, one clip"
_MMACTION2: Final = "MMAction2 model zoo"
_PYTORCHVIDEO: Final = "PyTorchVideo model zoo, 3x10 views"


def _kinetics(percent: float, source: str) -> PublishedTop1:
    return PublishedTop1(dataset="Kinetics-400", percent=percent, source=source)


PUBLISHED: Final[Mapping[str, tuple[PublishedTop1, ...]]] = {
    "s2tf_nl_i3d_r50": (
        _kinetics(74.8, _PAPER),
        PublishedTop1(dataset="UCF101", percent=95.1, source=_PAPER),
        PublishedTop1(dataset="HMDB51", percent=80.9, source=_PAPER),
    ),
    "nl_i3d_r50": (_kinetics(74.0, _SLOWFAST), _kinetics(70.7, f"baseline of {_PAPER}")),
    "i3d_r50": (_kinetics(73.27, _PYTORCHVIDEO), _kinetics(73.5, _SLOWFAST)),
    "slow_r50": (_kinetics(74.58, _PYTORCHVIDEO), _kinetics(74.8, _SLOWFAST)),
    "x3d_xs": (_kinetics(69.12, _PYTORCHVIDEO),),
    "x3d_s": (_kinetics(73.33, _PYTORCHVIDEO),),
    "x3d_m": (_kinetics(75.94, _PYTORCHVIDEO),),
    "x3d_l": (_kinetics(77.44, _PYTORCHVIDEO),),
    "tv_r3d_18": (_kinetics(63.2, _TORCHVISION),),
    "mc3_18": (_kinetics(63.96, _TORCHVISION),),
    "r2plus1d_18": (_kinetics(67.463, _TORCHVISION),),
    "s3d": (_kinetics(68.368, _TORCHVISION_CLIP),),
    "mm_i3d_r50": (_kinetics(73.47, _MMACTION2),),
    "mm_r2plus1d_34": (_kinetics(69.76, _MMACTION2),),
    "ir_csn_50": (_kinetics(79.17, f"{_MMACTION2}, from IG-65M"),),
    "ir_csn_152": (_kinetics(82.66, f"{_MMACTION2}, from IG-65M"),),
    "ip_csn_152": (_kinetics(82.51, f"{_MMACTION2}, from IG-65M"),),
}
"""By name of the network, without options."""
