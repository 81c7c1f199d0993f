"""The loop of a run: Lightning's trainer, and its ends in our own errors."""

from __future__ import annotations

import logging
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

import lightning.pytorch as pl
import torch.distributed
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import DataLoader

from s2tf_edge.errors import InputFileError, S2TFError
from s2tf_edge.processes import Processes
from s2tf_edge.training.checkpoints import WholeCheckpoints
from s2tf_edge.training.config import TrainConfig
from s2tf_edge.training.loaders import Loaders
from s2tf_edge.training.strategy import SharedTraining, share_buffers

__all__ = ["fit", "make_trainer", "silence_advice"]

logger = logging.getLogger(__name__)

_LIGHTNING_PRECISIONS: Final[dict[str, Literal["32-true", "bf16-mixed", "16-mixed"]]] = {
    "fp32": "32-true",
    "bf16-mixed": "bf16-mixed",
    "16-mixed": "16-mixed",
}


def make_trainer(config: TrainConfig, out: Path, *, callbacks: list[Callback], processes: Processes) -> pl.Trainer:
    """A trainer that writes TensorBoard events into ``out``; under torchrun one of its processes."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    _mention_idle_devices(processes)
    return pl.Trainer(
        max_epochs=config.epochs,
        accumulate_grad_batches=config.accumulate,
        precision=_LIGHTNING_PRECISIONS[config.precision],
        callbacks=[*callbacks, _Ends()],
        plugins=[WholeCheckpoints()],
        logger=TensorBoardLogger(out, name="", version="tensorboard"),
        # One process has one device; torchrun is what starts more of them.
        num_nodes=processes.machines,
        devices=processes.here,
        strategy=SharedTraining() if processes.count > 1 else "auto",
        num_sanity_val_steps=0,
        log_every_n_steps=10,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )


def fit(
    trainer: pl.Trainer,
    module: pl.LightningModule,
    loaders: Loaders,
    *,
    checkpoint: Path | None,
    describe_going_on: Callable[[], str],
) -> None:
    """Trains to the end, from ``checkpoint`` on where there is one.

    Raises:
        InputFileError: the videos cannot be read, or an output cannot be written.
        UsageError: the loss is no number any more.
        S2TFError: another process of the run ended.
        KeyboardInterrupt: a signal asked for the end; its message says what is on the disk.
    """
    handler = signal.getsignal(signal.SIGINT)
    training, validation = loaders
    try:
        trainer.fit(module, training, _unless_empty(validation), ckpt_path=checkpoint, weights_only=True)
    except SystemExit as error:
        # The trainer's answer to an interrupt is to exit and to ignore the signal from then on.
        if not trainer.interrupted:
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt(*_own_words(trainer, describe_going_on)) from error
    except InputFileError as error:
        # A worker's error comes wrapped in its traceback.
        raise InputFileError(str(error).strip().rpartition("InputFileError: ")[2]) from error
    except RuntimeError as error:
        # SIGTERM to the whole process group: the workers' end may be noticed before the signal is.
        if "killed by signal: Terminated" in str(error):
            raise KeyboardInterrupt(*_own_words(trainer, describe_going_on)) from error
        if not _is_loss_of_a_process(trainer, error):
            raise
        msg = f"another process of this run ended, and says why; {describe_going_on()}"
        raise S2TFError(msg) from error


@contextmanager
def silence_advice() -> Iterator[None]:
    """Silences the trainer's advice on what is meant: a folder to continue in, few workers, short epochs."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=PossibleUserWarning)
        warnings.filterwarnings("ignore", message=".*exists and is not empty")
        # Where all parameters have gradients; whether they do, depends on loss and network.
        warnings.filterwarnings("ignore", message="find_unused_parameters=True was specified")
        # Of the trainer's own use of torch.
        warnings.filterwarnings("ignore", category=FutureWarning, module=r"lightning\.")
        yield


class _Ends(pl.Callback):
    """Leaves SIGTERM to whoever answered it before the trainer did, and validation to all processes alike.

    The trainer's own answer talks to the other processes from within the signal's handler, which waits forever where
    they are about to say something else.
    """

    def __init__(self) -> None:
        self._handler: Any = signal.SIG_DFL

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Remembers who answers."""
        del trainer, pl_module, stage
        self._handler = signal.getsignal(signal.SIGTERM)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Puts it back."""
        del trainer, pl_module
        with _in_main_thread_only():
            signal.signal(signal.SIGTERM, self._handler)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Gives all processes the same statistics of norms."""
        if trainer.world_size > 1:
            share_buffers(pl_module)


@contextmanager
def _in_main_thread_only() -> Iterator[None]:
    """Leaves out what only the main thread may do; in another one the trainer does not touch signals either."""
    try:
        yield
    except ValueError:
        logger.debug("signals are answered by the main thread")


def _mention_idle_devices(processes: Processes) -> None:
    devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if devices > processes.here:
        logger.info("this run uses %d of %d GPUs; torchrun starts a process for each", processes.here, devices)


def _unless_empty(validation: DataLoader[Any]) -> DataLoader[Any] | None:
    return validation if len(validation) else None


def _own_words(trainer: pl.Trainer, describe_going_on: Callable[[], str]) -> tuple[str, ...]:
    """What an interrupted run says: the first process speaks for all."""
    return (describe_going_on(),) if trainer.is_global_zero else ()


def _is_loss_of_a_process(trainer: pl.Trainer, error: RuntimeError) -> bool:
    """Whether what the processes say to each other failed, as it does for all once one of them is gone."""
    return trainer.world_size > 1 and (isinstance(error, torch.distributed.DistError) or "gloo" in str(error).lower())
