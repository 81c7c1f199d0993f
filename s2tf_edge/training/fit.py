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
from s2tf_edge.training.loaders import leave_cores_to, make_loaders
from s2tf_edge.training.module import TrainingModule
from s2tf_edge.training.networks import make_network
from s2tf_edge.training.optimization.precision import choose_precision
from s2tf_edge.training.resume import LAST_FILE, describe_run, find_checkpoint
from s2tf_edge.training.settings_file import SETTINGS_FILE, check_settings_file, describe_settings, write_settings
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
    command: str | None = None,
    progress: Progress = no_progress,
) -> TrainResult:
    """Trains a network and writes ``model.pt``, ``last.ckpt``, ``train.toml`` and curves into ``out``.

    Args:
        config: the settings.
        videos: what to train on.
        validation: what to choose the best epoch by, with the same labels; may be empty, the last epoch is kept then.
        out: a folder, made if missing.
        pretrained: a ``model.pt`` to start from; its classifier is left out where the labels differ.
        resume: ``auto`` continues from ``out/last.ckpt`` where there is one, ``never`` starts anew, a path names a
            checkpoint.
        command: what gives the same run again, to be told in ``train.toml``.
        progress: told of each step.

    Raises:
        UsageError: there are no videos to train on, or none to tell the best epoch by where that is asked for; the
            network does not take the size or number of frames; or ``out`` holds another run, or a
            ``train.toml`` that no run has written.
        InputFileError: a video, the pretrained model or the checkpoint cannot be read.
    """
    if not len(videos):
        msg = f"there are no videos to train on, and {len(validation)} to validate; give other data or another split"
        raise UsageError(msg)
    config = choose_precision(config)
    keeps_best = keeps_best_epoch(config, validation)
    check_settings_file(out / SETTINGS_FILE)
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.seed)
    network = make_network(config, videos, pretrained)
    run = describe_run(config, videos, validation, pretrained)
    resumption = find_checkpoint(resume, out, run)
    kept = Checkpoints(out / LAST_FILE, keeps_best=keeps_best)
    module = TrainingModule(network, config, run=run)
    with silence_advice(), leave_cores_to(config.workers):
        trainer = make_trainer(config, out, callbacks=[EpochLog(out / "metrics.csv"), StepProgress(progress), kept])
        if trainer.is_global_zero:
            write_settings(
                out / SETTINGS_FILE, config, notes=describe_settings(videos, validation, pretrained, command)
            )
        loaders = make_loaders(
            config,
            videos=videos,
            validation=validation,
            spec=network.spec,
            rank=trainer.global_rank,
            world_size=trainer.world_size,
            epoch=resumption.epochs if resumption else 0,
        )
        fit(trainer, module, loaders, checkpoint=resumption.checkpoint if resumption else None)
    if trainer.is_global_zero:
        network.load_state_dict(kept.weights)
        metrics = {"val_top1": kept.top1, "epoch": kept.epoch}
        save_model(out / MODEL_FILE, network, metrics=metrics, seed=config.seed, extra={"run": run})
    return TrainResult(model=out / MODEL_FILE, top1=kept.top1, epoch=kept.epoch)
