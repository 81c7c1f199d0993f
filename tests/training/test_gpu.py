"""Training in mixed precision on an NVIDIA GPU: it learns, and goes on after a kill where it was."""

from __future__ import annotations

import csv
import dataclasses
import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from s2tf_edge import load_model
from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.runtime.backends.torch_session import TorchSession
from s2tf_edge.runtime.evaluation.accuracy import Evaluation
from s2tf_edge.runtime.evaluation.multi_view import evaluate
from s2tf_edge.training import TrainConfig, train

pytestmark = [pytest.mark.needs_gpu, pytest.mark.needs_torch_cuda]
Sides = tuple[LabeledVideos, LabeledVideos]
PRECISIONS = ["fp32", "bf16-mixed", "16-mixed"]


class _KilledError(Exception):
    pass


@pytest.fixture(autouse=True)
def _memory() -> Iterator[None]:
    """What a run has on the GPU does not outlive it."""
    yield
    gc.collect()
    torch.cuda.empty_cache()


@pytest.fixture(params=PRECISIONS)
def config(request: pytest.FixtureRequest, tiny: TrainConfig) -> TrainConfig:
    return dataclasses.replace(tiny, precision=request.param, epochs=6)


def _losses(folder: Path) -> list[float]:
    rows = csv.DictReader((folder / "metrics.csv").read_text(encoding="utf-8").splitlines())
    return [float(row["train_loss"]) for row in rows]


def test_the_loss_falls_and_a_killed_run_goes_on_alike(tmp_path: Path, config: TrainConfig, sides: Sides) -> None:
    def kill_in_fourth_epoch(done: int, total: int) -> None:
        del total
        if done == 14:
            raise _KilledError

    videos, validation = sides
    torch.cuda.reset_peak_memory_stats()
    whole = train(config, videos=videos, validation=validation, out=tmp_path / "whole")
    assert torch.cuda.max_memory_allocated() > 0
    losses = _losses(tmp_path / "whole")
    assert losses[-1] < losses[0]
    with pytest.raises(_KilledError):
        train(config, videos=videos, validation=validation, out=tmp_path / "cut", progress=kill_in_fourth_epoch)
    train(config, videos=videos, validation=validation, out=tmp_path / "cut")
    # A GPU adds up gradients in an order of its own, so that two runs are alike and no more.
    assert _losses(tmp_path / "cut") == pytest.approx(losses, rel=0.05)
    # What it wrote is a network for any machine.
    on_cpu = load_model(whole.model)
    assert all(value.device.type == "cpu" for value in on_cpu.state_dict().values())
    assert all(torch.isfinite(value).all() for value in on_cpu.state_dict().values() if value.is_floating_point())


def test_validation_in_training_is_what_evaluation_says(tmp_path: Path, tiny: TrainConfig, sides: Sides) -> None:
    videos, validation = sides
    result = train(dataclasses.replace(tiny, precision="fp32"), videos=videos, validation=validation, out=tmp_path)
    with TorchSession.from_network(load_model(result.model)) as session:
        assert session.describe()["device"] != "CPU"
        found = evaluate(session, validation)
    assert isinstance(found, Evaluation)
    # One video of ten may go the other way: training rounds its products to fewer bits.
    assert found.top1.percent == pytest.approx(result.top1, abs=10.1)
