"""A training run from settings and data to ``model.pt``; killed at any moment, it resumes where it was.

Everything random depends on the seed and the epoch alone: the weights, the order of the clips, their crops, dropout.
A run resumed from ``last.ckpt``, written after each epoch, therefore ends in the weights of an uninterrupted one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.errors import UsageError
from s2tf_edge.models import save_model
from s2tf_edge.progress import Progress, no_progress
from s2tf_edge.training.callbacks import Checkpoints, EpochLog, StepProgress, keeps_best_epoch
from s2tf_edge.training.config import TrainConfig
from s2tf_edge.training.distillation.teaching import Teaching
from s2tf_edge.training.loaders import leave_cores_to, log_unreadable, make_loaders
from s2tf_edge.training.module import TrainingModule
from s2tf_edge.training.networks import make_network
from s2tf_edge.training.resume import LAST_FILE, describe_run, find_checkpoint
from s2tf_edge.training.trainer import fit, make_trainer, silence_advice

__all__ = ["TrainResult", "train"]

MODEL_FILE: Final = "model.pt"


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What a run ended in."""

    model: Path
    """The ``model.pt`` with the weights of the epoch that is kept."""
    top1: float | None
    """Its top-1 on the validation videos, in percent; None without such videos."""
    epoch: int
    """The epoch that is kept, counted from one."""


def train(
    config: TrainConfig,
    *,
    videos: LabeledVideos,
    validation: LabeledVideos,
    out: Path,
    pretrained: Path | None = None,
    resume: str | Path = "auto",
    teaching: Teaching | None = None,
    progress: Progress = no_progress,
) -> TrainResult:
    """Trains a network and writes ``model.pt``, ``last.ckpt``, ``metrics.csv`` and TensorBoard events into ``out``.

    Args:
        config: the settings.
        videos: what to train on.
        validation: what to choose the best epoch by, with the same labels; may be empty, the last epoch is kept then.
        out: a folder, made if missing.
        pretrained: a ``model.pt`` to start from; its classifier is left out where the labels differ.
        resume: ``auto`` continues from ``out/last.ckpt`` where there is one, ``never`` starts anew, a path names a
            checkpoint.
        teaching: of whoever is to be followed beside the labels, or in their place.
        progress: told of each step.

    Raises:
        UsageError: there are no videos to train on, or none to tell the best epoch by where that is asked for; the
            network does not take the size or number of frames; or ``out`` holds another run.
        InputFileError: a video, the pretrained model or the checkpoint cannot be read.
    """
    if not len(videos):
        msg = f"there are no videos to train on, and {len(validation)} to validate; give other data or another split"
        raise UsageError(msg)
    keeps_best = keeps_best_epoch(config, validation)
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.seed)
    taught = teaching.join(videos) if teaching else videos
    network = make_network(config, teaching.widen(taught) if teaching else taught, pretrained)
    run = describe_run(config, taught, validation, pretrained) | (teaching.identity if teaching else {})
    resumption = find_checkpoint(resume, out, run)
    kept = Checkpoints(out / LAST_FILE, keeps_best=keeps_best)
    module = TrainingModule(network, config, run=run, teaching=teaching)
    with silence_advice(), leave_cores_to(config.workers):
        trainer = make_trainer(config, out, callbacks=[EpochLog(out / "metrics.csv"), StepProgress(progress), kept])
        loaders = make_loaders(
            config,
            videos=taught,
            validation=validation,
            spec=network.spec,
            rank=trainer.global_rank,
            world_size=trainer.world_size,
            epoch=resumption.epochs if resumption else 0,
            teaching=teaching,
        )
        fit(trainer, module, loaders, checkpoint=resumption.checkpoint if resumption else None)
    unreadable = log_unreadable(loaders)
    if trainer.is_global_zero:
        network.load_state_dict(kept.weights)
        metrics = {"val_top1": kept.top1, "epoch": kept.epoch, "unreadable": unreadable}
        own = teaching.own_network(network) if teaching else network
        save_model(out / MODEL_FILE, own, metrics=metrics, seed=config.seed, extra={"run": run})
    return TrainResult(model=out / MODEL_FILE, top1=kept.top1, epoch=kept.epoch)
