"""``model.pt`` of a run, which is there from the first epoch on."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from s2tf_edge.models import VideoNetwork, save_model
from s2tf_edge.training.distillation.teaching import Teaching

__all__ = ["MODEL_FILE", "ResultFile"]

MODEL_FILE: Final = "model.pt"


@dataclass(kw_only=True)
class ResultFile:
    """Writes the weights that a run keeps, as a network to deploy.

    A run that is ended early thus leaves the best one it had.
    """

    path: Path
    network: VideoNetwork
    """A copy of what is trained, that weights are loaded into to be written."""
    teaching: Teaching | None
    run: Mapping[str, Any]
    seed: int

    @classmethod
    def of(
        cls, network: VideoNetwork, out: Path, *, teaching: Teaching | None, run: Mapping[str, Any], seed: int
    ) -> ResultFile:
        """For a network that is about to be trained, and the folder of its run."""
        return cls(path=out / MODEL_FILE, network=copy.deepcopy(network), teaching=teaching, run=run, seed=seed)

    def write(self, weights: Mapping[str, Tensor], metrics: Mapping[str, Any]) -> None:
        """Writes those weights, without what only the teacher's classes had.

        Raises:
            InputFileError: the file cannot be written; one that was there stays.
        """
        self.network.load_state_dict(weights)
        own = self.teaching.own_network(self.network) if self.teaching else self.network
        save_model(self.path, own, metrics=metrics, seed=self.seed, extra={"run": dict(self.run)})
