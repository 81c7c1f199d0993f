"""What one worker takes of a node, by what its network runs on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from s2tf_edge.file_kinds import RUNNABLE, check_kind
from s2tf_edge.runtime.artifact import read_meta
from s2tf_edge.runtime.session import SessionOptions

__all__ = ["Needs"]

_ENGINES: Final = frozenset({"trt", "trt-rtx"})
_MAX_SHARING: Final = 4
"""Workers that share a GPU, at most: decoding keeps a core busy, and the GPU waits for several of them."""


@dataclass(frozen=True, kw_only=True)
class Needs:
    """Cores, and GPUs where the network runs on one."""

    cpus: int = 1
    on_gpu: bool = False

    @classmethod
    def of(cls, artifact: Path, options: SessionOptions) -> Needs:
        """What a worker with this network takes.

        Raises:
            InputFileError: the artifact cannot be read.
        """
        path = check_kind(artifact, RUNNABLE).stands_for
        is_engine = path.is_dir() and read_meta(path).target in _ENGINES
        on_gpu = is_engine or options.device.upper().startswith(("GPU", "CUDA"))
        return cls(cpus=max(1, options.threads), on_gpu=on_gpu)

    def slots(self, resources: Mapping[str, float]) -> int:
        """How many a node with these resources, as Ray counts them, has room for."""
        by_cpu = int(resources.get("CPU", 0)) // self.cpus
        if not self.on_gpu:
            return by_cpu
        return min(by_cpu, int(resources.get("GPU", 0)) * self.per_gpu(resources))

    def per_gpu(self, resources: Mapping[str, float]) -> int:
        """How many share a GPU of such a node: as many as it has cores for, and no more than four."""
        gpus = int(resources.get("GPU", 0))
        return max(1, min(_MAX_SHARING, int(resources.get("CPU", 0)) // self.cpus // gpus)) if gpus else 1
