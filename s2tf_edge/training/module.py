"""A training step: forward, loss, AdamW along a warm-up and a cosine."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn

from s2tf_edge.models import VideoNetwork
from s2tf_edge.training.config import TrainConfig
from s2tf_edge.training.distillation.loss import DistillationLoss
from s2tf_edge.training.distillation.teaching import Teaching
from s2tf_edge.training.losses import S2TFLoss

__all__ = ["RUN_KEY", "TrainingModule", "make_loss"]

RUN_KEY: Final = "s2tf_run"


class TrainingModule(pl.LightningModule):
    """Trains ``network`` on batches of (clips float32 [N, 3, T, S, S], labels int64 [N]).

    ``run`` describes the run; checkpoints carry it under the key ``RUN_KEY``. With a teaching, training batches
    have its rows of targets in place of labels, and the network its classes after the student's.
    """

    def __init__(
        self, network: VideoNetwork, config: TrainConfig, *, run: Mapping[str, Any], teaching: Teaching | None = None
    ) -> None:
        super().__init__()
        self.network = network
        self._run = dict(run)
        self._config = config
        self._loss = make_loss(config, has_saliency=network.saliency is not None, teaching=teaching)
        self._classes = len(teaching.labels if teaching else network.labels)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the run's description."""
        checkpoint[RUN_KEY] = self._run

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Makes dropout depend on the seed and the step alone, whatever else draws from the same generator."""
        del batch, batch_idx
        torch.manual_seed(self._config.seed + self.global_step)

    def training_step(self, batch: tuple[Tensor, Tensor], _index: int) -> Tensor:
        """The total loss of a batch; its parts and top-1 are logged."""
        clips, labels = batch
        logits, saliency = self.network(clips, return_saliency=True)
        total: Tensor
        total, parts = self._loss(logits, saliency, labels)
        self._log_top1("train_top1", logits, labels)
        self._log("train_loss", total.detach(), labels)
        for name, value in parts.items():
            self._log(f"train_{name}", value.detach(), labels)
        return total

    def validation_step(self, batch: tuple[Tensor, Tensor], _index: int) -> None:
        """Logs loss and top-1 of the center clips."""
        clips, labels = batch
        logits = self.network(clips)[:, : self._classes]
        self._log("val_loss", nn.functional.cross_entropy(logits, labels), labels)
        self._log_top1("val_top1", logits, labels)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW without decay on norms and biases, stepped by batch."""
        config = self._config
        parameters = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=config.lr)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: _share_of_peak_rate(step, steps, config.warmup)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _log_top1(self, name: str, logits: Tensor, labels: Tensor) -> None:
        """In percent; of rows of targets, those that have a class, by their heaviest."""
        own = labels if labels.ndim == 1 else labels[:, : self._classes].argmax(dim=1)
        counts = torch.ones_like(own) if labels.ndim == 1 else labels[:, : self._classes].any(dim=1)
        if counts.any():
            right = logits[:, : self._classes].argmax(dim=1) == own
            self._log(name, 100 * right[counts > 0].float().mean(), own[counts > 0])

    def _log(self, name: str, value: Tensor, labels: Tensor) -> None:
        self.log(name, value, on_step=False, on_epoch=True, batch_size=len(labels), sync_dist=True)


def make_loss(config: TrainConfig, *, has_saliency: bool, teaching: Teaching | None = None) -> S2TFLoss:
    """The loss that ``config`` names; terms that the network has nothing for are left out."""
    kind = config.loss or ("ce-l1-l2" if has_saliency else "ce")
    mask = 0.0 if kind == "ce" else 1e-4
    edges = 1e-4 if kind == "ce-l1-l2" else 0.0
    options = {"lambda_": mask, "gamma": edges, "theta": edges, "label_smoothing": config.label_smoothing}
    if teaching is None:
        return S2TFLoss(**options)
    return DistillationLoss(teaching.layout, weight=config.teacher_weight, temperature=config.temperature, **options)


def _share_of_peak_rate(step: int, steps: int, warmup: float) -> float:
    """Share of the peak learning rate: a straight line up, then half a cosine down."""
    rising = max(1.0, warmup * steps)
    if step < rising:
        return (step + 1) / (rising + 1)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rising) / max(1.0, steps - rising))))
