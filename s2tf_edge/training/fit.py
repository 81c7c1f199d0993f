"""A training run from settings and data to ``model.pt``; killed at any moment, it resumes where it was.

Everything random depends on the seed, the epoch and the step alone: the weights, the order of the clips, their crops,
dropout. A run resumed from ``last.ckpt``, written after each epoch and every few minutes within one, therefore ends in
the weights of an uninterrupted one.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import torch

from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.errors import UsageError
from s2tf_edge.models import VideoNetwork
from s2tf_edge.processes import Processes
from s2tf_edge.progress import Progress, no_progress
from s2tf_edge.training.checkpoints import Checkpoints, keeps_best_epoch
from s2tf_edge.training.config import TrainConfig
from s2tf_edge.training.distillation.teaching import Teaching
from s2tf_edge.training.divergence import DivergenceGuard
from s2tf_edge.training.early_checks import check_run_files
from s2tf_edge.training.epoch_log import EpochLog
from s2tf_edge.training.loaders import find_unreadable, leave_cores_to, log_unreadable, make_loaders
from s2tf_edge.training.module import TrainingModule
from s2tf_edge.training.networks import make_network
from s2tf_edge.training.optimization.lone_values import check_clips_of_step
from s2tf_edge.training.optimization.precision import choose_precision
from s2tf_edge.training.pace import Pace
from s2tf_edge.training.pasts import find_prefix
from s2tf_edge.training.result_file import ResultFile
from s2tf_edge.training.resume import LAST_FILE, check_steps, check_weights_fit, describe_run, find_checkpoint
from s2tf_edge.training.settings_file import SETTINGS_FILE, describe_settings, write_settings
from s2tf_edge.training.trainer import fit, make_trainer, silence_advice

__all__ = ["TrainResult", "train"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What a run ended in."""

    model: Path
    """The ``model.pt`` with the weights of the epoch that is kept."""
    top1: float | None
    """Its top-1 on the validation videos, in percent; None without such videos."""
    epoch: int
    """The epoch that is kept, counted from one."""
    validated: int
    """How many videos that top-1 is of: those that could be read."""


def train(
    config: TrainConfig,
    *,
    videos: LabeledVideos,
    validation: LabeledVideos,
    out: Path,
    pretrained: Path | None = None,
    resume: str | Path = "auto",
    teaching: Teaching | None = None,
    command: str | None = None,
    progress: Progress = no_progress,
) -> TrainResult:
    """Trains a network into ``out``.

    It writes ``model.pt``, ``train.toml``, ``last.ckpt``, ``metrics.csv``, ``curves.png`` and TensorBoard events.

    Args:
        config: the settings.
        videos: what to train on.
        validation: what to choose the best epoch by, with the same labels; without any videos, the last epoch is kept.
        out: a folder, made if missing.
        pretrained: a ``model.pt`` to start from; its classifier goes by the names of the classes, and is left
            out where they are others.
        resume: ``auto`` continues from ``out/last.ckpt`` where there is one, ``never`` starts anew, a path names a
            checkpoint.
        teaching: of whoever is to be followed beside the labels, or in their place.
        command: what gives the same run again, to be told in ``train.toml``.
        progress: told of each step, and in words how fast and how far the run is.

    Raises:
        UsageError: there are no videos to train on, or none to tell the best epoch by where that is asked for; the
            network does not take the size or number of frames, or has norms that need more than one clip of them in a
            step; ``out`` holds another run, or a ``train.toml`` that no
            run has written; or the loss is no number any more.
        InputFileError: a video, the pretrained model or the checkpoint cannot be read, or an output cannot be written.
        S2TFError: another process of the run ended.
        KeyboardInterrupt: a signal asked for the end; its message says what is on the disk.
    """
    if not len(videos):
        msg = f"there are no videos to train on, and {len(validation)} to validate; give other data or another split"
        raise UsageError(msg)
    config = choose_precision(config)
    keeps_best = keeps_best_epoch(config, validation)
    check_run_files(out=out)
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.seed)
    processes = Processes.from_environment()
    taught = teaching.join(videos) if teaching else videos
    network = _make_network(config, teaching.widen(taught) if teaching else taught, pretrained)
    check_clips_of_step(network, config, clips=len(taught) * config.repeats(len(taught)) // processes.count)
    run = describe_run(config, taught, validation, pretrained, processes=processes.count)
    run["teacher"] = teaching.scores.fingerprint if teaching else None
    resumption = find_checkpoint(resume, out, run)
    result = ResultFile.of(network, out, teaching=teaching, run=run, seed=config.seed)
    kept = Checkpoints(
        out / LAST_FILE,
        keeps_best=keeps_best,
        minutes=config.checkpoint_minutes,
        result=result,
        resumption=resumption,
    )
    epochs_done = resumption.epochs_done if resumption else None
    module = TrainingModule(network, config, run=run, teaching=teaching, epochs_done=epochs_done)
    if resumption:
        check_weights_fit(resumption, module)
    with silence_advice(), leave_cores_to(config.workers):
        if processes.is_first:
            notes = describe_settings(taught, validation, pretrained, command)
            write_settings(out / SETTINGS_FILE, config, notes=notes)
        callbacks = [module.means, DivergenceGuard(kept), EpochLog(out), Pace(progress), kept]
        trainer = make_trainer(config, out, callbacks=callbacks, processes=processes)
        loaders = make_loaders(
            config,
            videos=taught,
            validation=validation,
            spec=network.spec,
            rank=processes.rank,
            world_size=processes.count,
            epoch=resumption.position.epochs if resumption else 0,
            steps=resumption.position.steps if resumption else 0,
            teaching=teaching,
            prefix=find_prefix(config, network),
        )
        if resumption:
            clips_of_step = config.batch_size * processes.count
            check_steps(resumption, steps_of_epoch=len(loaders[0]), clips_of_step=clips_of_step)
        fit(
            trainer,
            module,
            loaders,
            checkpoint=resumption.checkpoint if resumption else None,
            describe_going_on=lambda: kept.describe_going_on(config.epochs, resume=resume),
        )
    unreadable = log_unreadable(loaders)
    if processes.is_first:
        result.write(kept.weights, kept.metrics | {"unreadable": unreadable})
    validated = len(validation) - len(find_unreadable(loaders[1]).names)
    return TrainResult(model=result.path, top1=kept.top1, epoch=kept.epoch, validated=validated)


def _make_network(config: TrainConfig, videos: LabeledVideos, pretrained: Path | None) -> VideoNetwork:
    network = make_network(config, videos, pretrained)
    if pretrained is None and config.holds_weights_back:
        logger.warning("`freeze`, `backbone_lr_scale` and `layer_decay` hold back random weights; give `pretrained`")
    return network
