"""A training run from settings and data to ``model.pt``; killed at any moment, it resumes where it was.

Everything random depends on the seed and the epoch alone: the weights, the order of the clips, their crops, dropout.
A run resumed from ``last.ckpt``, written after each epoch, therefore ends in the weights of an uninterrupted one.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import DataLoader

from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.models import VideoNetwork, create_model, default_spec, load_model, save_model
from s2tf_edge.progress import Progress, no_progress
from s2tf_edge.spec import ClipSpec
from s2tf_edge.training.callbacks import Checkpoints, EpochLog, StepProgress
from s2tf_edge.training.config import TrainConfig
from s2tf_edge.training.dataset import Augmentation, ClipDataset, EpochSampler
from s2tf_edge.training.module import TrainingModule
from s2tf_edge.training.resume import LAST_FILE, Resumption, describe_run, find_checkpoint

__all__ = ["TrainResult", "make_spec", "train"]

logger = logging.getLogger(__name__)

Loaders = tuple[DataLoader[Any], DataLoader[Any]]

MODEL_FILE = "model.pt"
_LIGHTNING_PRECISIONS: Final[dict[str, Literal["32-true", "bf16-mixed", "16-mixed"]]] = {
    "fp32": "32-true",
    "bf16-mixed": "bf16-mixed",
    "16-mixed": "16-mixed",
}


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What a run ended in."""

    model: Path
    """The ``model.pt`` with the weights of the best epoch."""
    top1: float
    """Its top-1 on the validation videos, in percent."""
    epoch: int
    """The best epoch, counted from one."""


def train(
    config: TrainConfig,
    *,
    videos: LabeledVideos,
    validation: LabeledVideos,
    out: Path,
    pretrained: Path | None = None,
    resume: str | Path = "auto",
    progress: Progress = no_progress,
) -> TrainResult:
    """Trains a network and writes ``model.pt``, ``last.ckpt``, ``metrics.csv`` and TensorBoard events into ``out``.

    Args:
        config: the settings.
        videos: what to train on.
        validation: what to choose the best epoch by; the same labels.
        out: a folder, made if missing.
        pretrained: a ``model.pt`` to start from; its classifier is left out where the labels differ.
        resume: ``auto`` continues from ``out/last.ckpt`` where there is one, ``never`` starts anew, a path names a
            checkpoint.
        progress: told of each step.

    Raises:
        UsageError: a data set is empty, the network does not take the size or number of frames, or ``out`` holds
            another run.
        InputFileError: a video, the pretrained model or the checkpoint cannot be read.
    """
    if not len(videos) or not len(validation):
        msg = f"both sides of the split need videos, got {len(videos)} to train and {len(validation)} to validate"
        raise UsageError(msg)
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.seed)
    network = _make_network(config, videos, pretrained)
    run = describe_run(config, videos, validation, pretrained)
    resumption = find_checkpoint(resume, out, run)
    best = Checkpoints(out / LAST_FILE)
    module = TrainingModule(network, config, run=run)
    with _silence_advice(), _leave_cores_to(config.workers):
        trainer = _make_trainer(config, out, callbacks=[EpochLog(out / "metrics.csv"), StepProgress(progress), best])
        loaders = _make_loaders(config, videos, validation, trainer, network.spec, resumption)
        _fit(trainer, module, loaders, resumption)
    if trainer.is_global_zero:
        module.load_state_dict(best.weights)
        metrics = {"val_top1": best.top1, "epoch": best.epoch}
        save_model(out / MODEL_FILE, network, metrics=metrics, seed=config.seed, extra={"run": run})
    return TrainResult(model=out / MODEL_FILE, top1=best.top1, epoch=best.epoch)


def make_spec(config: TrainConfig) -> ClipSpec:
    """The network's published clip with the settings' changes.

    Raises:
        UsageError: the network is unknown, or the values do not fit together.
    """
    spec = default_spec(config.model, frames=config.frames, size=config.size)
    names = ("stride", "fps", "resize_short_side")
    changes = {name: getattr(config, name) for name in names if getattr(config, name) is not None}
    return dataclasses.replace(spec, **changes)


def _fit(trainer: pl.Trainer, module: TrainingModule, loaders: Loaders, resumption: Resumption | None) -> None:
    handler = signal.getsignal(signal.SIGINT)
    try:
        checkpoint = resumption.checkpoint if resumption else None
        trainer.fit(module, *loaders, ckpt_path=checkpoint, weights_only=True)
    except SystemExit as error:
        # The trainer's answer to an interrupt is to exit and to ignore the signal from then on.
        if not trainer.interrupted:
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from error
    except InputFileError as error:
        # A worker's error comes wrapped in its traceback.
        raise InputFileError(str(error).strip().rpartition("InputFileError: ")[2]) from error
    except RuntimeError as error:
        # SIGTERM to the whole process group: the workers' end may be noticed before the signal is.
        if "killed by signal: Terminated" not in str(error):
            raise
        raise KeyboardInterrupt from error


@contextmanager
def _silence_advice() -> Iterator[None]:
    """Silences the trainer's advice on what is meant: a folder to continue in, few workers, short epochs."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=PossibleUserWarning)
        warnings.filterwarnings("ignore", message=".*exists and is not empty")
        # Of the trainer's own use of torch.
        warnings.filterwarnings("ignore", category=FutureWarning, module=r"lightning\.")
        yield


@contextmanager
def _leave_cores_to(workers: int) -> Iterator[None]:
    """Leaves the workers a core each; one thread more, waiting for a busy core, brings nothing."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, min(before, (os.cpu_count() or 1) - workers)))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _make_network(config: TrainConfig, videos: LabeledVideos, pretrained: Path | None) -> VideoNetwork:
    spec = make_spec(config)
    network = create_model(
        config.model,
        num_classes=len(videos.labels),
        labels=videos.labels,
        frames=spec.frames,
        size=spec.size,
        dropout=config.dropout,
    )
    network.spec = spec
    if pretrained is not None:
        _start_from(network, load_model(pretrained), pretrained)
    return network


def _start_from(network: VideoNetwork, source: VideoNetwork, path: Path) -> None:
    """Copies every weight of ``source`` that fits, and says which did not."""
    own, given = network.state_dict(), source.state_dict()
    fitting = {key: value for key, value in given.items() if key in own and own[key].shape == value.shape}
    if 2 * sum(map(torch.numel, fitting.values())) < sum(map(torch.numel, own.values())):
        msg = f"{path} holds {source.name}, which shares too few weights with {network.name}; give a model.pt of that"
        raise UsageError(msg)
    network.load_state_dict(own | fitting)
    fresh = sorted(set(own) - set(fitting))
    logger.info(
        "started from %s: %d of %d tensors; fresh: %s", path, len(fitting), len(own), ", ".join(fresh) or "none"
    )


def _leave_signals_to_the_parent(_worker: int) -> None:
    """In a worker: Ctrl-C is the trainer's to answer; SIGTERM ends the worker at once, whatever the trainer does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _make_trainer(config: TrainConfig, out: Path, *, callbacks: list[Callback]) -> pl.Trainer:
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return pl.Trainer(
        max_epochs=config.epochs,
        precision=_LIGHTNING_PRECISIONS[config.precision],
        callbacks=callbacks,
        logger=TensorBoardLogger(out, name="", version="tensorboard"),
        # As torchrun says where it starts the processes.
        num_nodes=int(os.environ.get("GROUP_WORLD_SIZE", "1")),
        devices=int(os.environ["LOCAL_WORLD_SIZE"]) if "LOCAL_WORLD_SIZE" in os.environ else "auto",
        num_sanity_val_steps=0,
        log_every_n_steps=10,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )


def _make_loaders(
    config: TrainConfig,
    videos: LabeledVideos,
    validation: LabeledVideos,
    trainer: pl.Trainer,
    spec: ClipSpec,
    resumption: Resumption | None,
) -> Loaders:
    augmentation = Augmentation(
        min_scale=config.min_scale, brightness=config.brightness, flips=config.flips and videos.flips
    )
    repeats = config.repeats(len(videos))
    dataset = ClipDataset(videos, spec, seed=config.seed, repeats=repeats, augmentation=augmentation)
    sampler = EpochSampler(
        len(dataset),
        seed=config.seed,
        rank=trainer.global_rank,
        world_size=trainer.world_size,
        epoch=resumption.epochs if resumption else 0,
    )
    options: dict[str, Any] = {
        "batch_size": config.batch_size,
        "num_workers": config.workers,
        "persistent_workers": config.workers > 0,
        "worker_init_fn": _leave_signals_to_the_parent,
    }
    return (
        DataLoader(dataset, sampler=sampler, drop_last=len(sampler) > config.batch_size, **options),
        DataLoader(ClipDataset(validation, spec), **options),
    )
