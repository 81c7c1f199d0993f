"""A training step: forward, loss, and what moves the weights."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any, Final, cast

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn.utils import convert_conv3d_weight_memory_format
from torch.optim.lr_scheduler import LambdaLR

from s2tf_edge.models import VideoNetwork
from s2tf_edge.models.causal import beginning_at
from s2tf_edge.models.saliency import Saliency
from s2tf_edge.training.augmentation.mixing import mix_batch
from s2tf_edge.training.config import TrainConfig
from s2tf_edge.training.distillation.loss import DistillationLoss
from s2tf_edge.training.distillation.teaching import Teaching
from s2tf_edge.training.epoch_means import EpochMeans
from s2tf_edge.training.losses import S2TFLoss
from s2tf_edge.training.optimization.averaging import make_average
from s2tf_edge.training.optimization.depthwise import DepthwiseGradients
from s2tf_edge.training.optimization.float32_convolutions import Float32Convolutions
from s2tf_edge.training.optimization.freezing import find_frozen_norms
from s2tf_edge.training.optimization.norms import measure_norms, statistics_of
from s2tf_edge.training.optimization.optimizers import make_optimizer, make_schedule, take_settings
from s2tf_edge.training.pasts import cut_past

__all__ = ["RUN_KEY", "TrainingModule", "make_loss"]

RUN_KEY: Final = "s2tf_run"
_SEEDS_OF_A_PROCESS: Final = 2**32
"""Processes do not drop the same features; no run has as many steps."""
_PAST: Final = 1
"""Of the seeds of what is drawn for a batch: lengths of past have nothing to do with how clips are mixed."""


class TrainingModule(pl.LightningModule):
    """Trains ``network`` on batches of (clips float32 [N, 3, T, S, S], labels int64 [N]).

    Those of a causal one may have a third part, the frames int64 [N] that clips begin at.
    ``run`` describes the run; checkpoints carry it under the key ``RUN_KEY``. ``means`` is to be a callback of the
    trainer: it logs what the steps add to it. With a teaching, training batches have its rows of targets in place of
    labels, and the network its classes after the student's. ``epochs_done`` are those before the first step, of a run
    that goes on between two.
    """

    def __init__(
        self,
        network: VideoNetwork,
        config: TrainConfig,
        *,
        run: Mapping[str, Any],
        teaching: Teaching | None = None,
        epochs_done: int | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self._frozen_norms = find_frozen_norms(network)
        # What kernels of half precision are fastest in; those of float32 are as often slower.
        self._layout = torch.contiguous_format if config.precision == "fp32" else torch.channels_last_3d
        convert_conv3d_weight_memory_format(network, self._layout)
        self.average = make_average(network, config.ema) if config.ema else None
        if config.compile:
            network.compile()
        self._run = dict(run)
        self._epochs_done = epochs_done
        self._config = config
        self.means = EpochMeans()
        self._loss = make_loss(config, has_saliency=network.saliency is not None, teaching=teaching)
        self._targets = teaching.layout if teaching else None
        self._classes = len(teaching.labels if teaching else network.labels)
        self.train()

    @property
    def result(self) -> VideoNetwork:
        """What is validated and kept: the network itself, or where there is one the average of its weights."""
        if self.average is None:
            return self.network
        return cast("VideoNetwork", self.average.module)

    def train(self, mode: bool = True) -> TrainingModule:
        """As of any module, but frozen norms stay in eval mode."""
        super().train(mode)
        for name in self._frozen_norms:
            self.network.get_submodule(name).eval()
        return self

    def on_fit_start(self) -> None:
        """Tells the loss how many batches a step averages."""
        self._loss.batches = self.trainer.world_size * self.trainer.accumulate_grad_batches

    def on_train_start(self) -> None:
        """Goes on at the rates of this run, whatever those were of the one that a checkpoint is of."""
        schedule = cast("LambdaLR", self.lr_schedulers())
        if self._epochs_done is not None:
            # Its epochs may have had other steps.
            trainer = self.trainer
            steps = math.ceil(int(trainer.num_training_batches) / trainer.accumulate_grad_batches)
            schedule.last_epoch = self._epochs_done * steps
        take_settings(self.trainer.optimizers[0], schedule, make_optimizer(self.network, self._config))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the run's description."""
        checkpoint[RUN_KEY] = self._run

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Makes dropout depend on the seed and the step alone, whatever else draws from the same generator."""
        del batch
        torch.manual_seed(self._config.seed + self._batches_before(batch_idx) + _SEEDS_OF_A_PROCESS * self.global_rank)

    def training_step(self, batch: tuple[Tensor, ...], index: int) -> Tensor:
        """The total loss of a batch; its parts and top-1 are logged."""
        clips, labels, *starts = batch
        if self._config.mixes:
            clips, labels = self._mix(clips, labels, index)
        with self._cpu_convolutions():
            logits, saliency = self._see(self.network, clips, *starts, share=self._draw_share(index))
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
        logits = self.result(clips.contiguous(memory_format=self._layout)).float()[:, : self._classes]
        self._log("val_loss", nn.functional.cross_entropy(logits, labels), labels)
        self._log_top1("val_top1", logits, labels)

    def on_validation_start(self) -> None:
        """Measures the norms of the weights that are about to be validated."""
        self._measure_norms()

    def on_train_epoch_end(self) -> None:
        """Measures the norms where no validation has."""
        if self.trainer.val_dataloaders is None:
            self._measure_norms()

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """The optimizer, stepped by batch."""
        optimizer = make_optimizer(self.network, self._config)
        schedule = make_schedule(optimizer, self._config, steps=int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(self, optimizer: Any, *_: object, **__: object) -> None:
        """Scales gradients down to the length asked for; in half precision once they are unscaled."""
        if self._config.clip_grad:
            self.clip_gradients(optimizer, self._config.clip_grad, "norm")

    def optimizer_step(self, *arguments: Any, **options: Any) -> None:
        """A step of the weights, and of their average: before anything that looks at both, such as a checkpoint."""
        super().optimizer_step(*arguments, **options)
        if self.average is not None:
            self.average.update_parameters(self.network)

    def _see(
        self, network: nn.Module, clips: Tensor, starts: Tensor | None = None, *, share: float
    ) -> tuple[Tensor, Saliency | None]:
        """Logits and saliency of clips; of those with ``starts``, after that share of their past."""
        if starts is not None:
            clips, starts = cut_past(clips, starts, frames=self.network.spec.frames, share=share)
        with nullcontext() if starts is None else beginning_at(starts):
            said: tuple[Tensor, Saliency | None] = network(
                clips.contiguous(memory_format=self._layout), return_saliency=True
            )
        return said

    def _draw_share(self, index: int) -> float:
        """How much of its past a batch is seen after: the same in all processes, which wait for each other."""
        return float(np.random.default_rng((self._config.seed, self._batches_before(index), 0, _PAST)).random())

    def _mix(self, clips: Tensor, labels: Tensor, index: int) -> tuple[Tensor, Tensor]:
        """The batch with its clips mixed with each other, and rows of targets: those of a teaching, or of classes."""
        if labels.ndim == 1:
            labels = nn.functional.one_hot(labels, self._classes).to(clips.dtype)
        rng = np.random.default_rng((self._config.seed, self._batches_before(index), self.global_rank))
        return mix_batch(clips, labels, self._config, rng)

    def _batches_before(self, index: int) -> int:
        """How many batches there were in all steps, before that of ``index`` in this epoch."""
        return self.global_step * self._config.accumulate + index % self._config.accumulate

    def _measure_norms(self) -> None:
        config, trainer = self._config, self.trainer
        if not config.precise_norms:
            return
        steps = math.ceil(config.precise_norms / (config.batch_size * trainer.world_size))
        batches = itertools.islice(cast("Iterable[Any]", trainer.train_dataloader), steps)
        seen = ((clips.to(self.device), *(each.to(self.device) for each in starts)) for clips, _, *starts in batches)
        shares = (step / steps for step in range(steps))
        with trainer.precision_plugin.forward_context():
            measure_norms(
                self.result,
                seen,
                see=lambda batch: self._see(self.result, *batch, share=next(shares)),
                frozen=self._frozen_norms,
            )
        for values in statistics_of(self.result):
            values.copy_(trainer.strategy.reduce(values, reduce_op="mean"))

    @contextmanager
    def _cpu_convolutions(self) -> Iterator[None]:
        """Gradients that are right and fast on a CPU."""
        with ExitStack() as stack:
            if self.device.type == "cpu":
                stack.enter_context(DepthwiseGradients())
                if self._config.precision != "fp32":
                    stack.enter_context(Float32Convolutions())
            yield

    def _log_top1(self, name: str, logits: Tensor, labels: Tensor) -> None:
        """In percent, of the clips that have a class; rows of classes that were mixed have their heaviest."""
        if labels.ndim > 1:
            labels = self._targets.answers(labels) if self._targets else labels.argmax(dim=1)
        counts = labels >= 0
        if counts.any():
            right = logits[:, : self._classes].argmax(dim=1) == labels
            self._log(name, 100 * right[counts].float().mean(), labels[counts])

    def _log(self, name: str, value: Tensor, labels: Tensor) -> None:
        self.means.add(name, value, len(labels))


def make_loss(config: TrainConfig, *, has_saliency: bool, teaching: Teaching | None = None) -> S2TFLoss:
    """The loss that ``config`` names; terms that the network has nothing for are left out."""
    kind = config.loss or ("ce-l1-l2" if has_saliency else "ce")
    mask = 0.0 if kind == "ce" else config.mask_weight
    edges = config.edge_weight if kind == "ce-l1-l2" else 0.0
    options = {"lambda_": mask, "gamma": edges, "theta": edges, "label_smoothing": config.label_smoothing}
    if teaching is None:
        return S2TFLoss(**options)
    return DistillationLoss(teaching.layout, weight=config.teacher_weight, temperature=config.temperature, **options)
