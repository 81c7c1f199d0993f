"""The loop of a run: Lightning's trainer, and its ends in our own errors."""

from __future__ import annotations

import logging
import os
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

import lightning.pytorch as pl
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger

from s2tf_edge.errors import InputFileError
from s2tf_edge.training.config import TrainConfig
from s2tf_edge.training.loaders import Loaders

__all__ = ["fit", "make_trainer", "silence_advice"]

_LIGHTNING_PRECISIONS: Final[dict[str, Literal["32-true", "bf16-mixed", "16-mixed"]]] = {
    "fp32": "32-true",
    "bf16-mixed": "bf16-mixed",
    "16-mixed": "16-mixed",
}


def make_trainer(config: TrainConfig, out: Path, *, callbacks: list[Callback]) -> pl.Trainer:
    """A trainer that writes TensorBoard events into ``out``; under torchrun one of its processes."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return pl.Trainer(
        max_epochs=config.epochs,
        accumulate_grad_batches=config.accumulate,
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


def fit(trainer: pl.Trainer, module: pl.LightningModule, loaders: Loaders, *, checkpoint: Path | None) -> None:
    """Trains to the end, from ``checkpoint`` on where there is one.

    Raises:
        InputFileError: the videos cannot be read.
        KeyboardInterrupt: a signal asked for the end.
    """
    handler = signal.getsignal(signal.SIGINT)
    try:
        training, validation = loaders
        trainer.fit(module, training, validation if len(validation) else None, ckpt_path=checkpoint, weights_only=True)
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
def silence_advice() -> Iterator[None]:
    """Silences the trainer's advice on what is meant: a folder to continue in, few workers, short epochs."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=PossibleUserWarning)
        warnings.filterwarnings("ignore", message=".*exists and is not empty")
        # Of the trainer's own use of torch.
        warnings.filterwarnings("ignore", category=FutureWarning, module=r"lightning\.")
        yield
