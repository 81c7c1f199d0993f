"""What a run tells of itself while it goes on."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest

from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.training import TrainConfig, train
from s2tf_edge.training.pace import in_words


class _Listener:
    def __init__(self) -> None:
        self.steps: list[tuple[int, int]] = []
        self.words: list[str] = []

    def __call__(self, done: int, total: int) -> None:
        self.steps.append((done, total))

    def state(self, words: str) -> None:
        self.words.append(words)


def test_each_step_says_epoch_loss_speed_and_time_left(
    tmp_path: Path, tiny: TrainConfig, sides: tuple[LabeledVideos, LabeledVideos]
) -> None:
    listener = _Listener()
    train(tiny, videos=sides[0], validation=sides[1], out=tmp_path, progress=listener)
    assert listener.steps == [(done, 8) for done in range(1, 9)]
    assert listener.words[0] == "epoch 1/2, reading the first clips"
    shown = [words.split(", ") for words in listener.words]
    assert [words[:2] for words in shown[1:8]] == [
        *(["epoch 1/2", f"step {step}/4"] for step in (1, 2, 3, 4)),
        ["epoch 1/2", "validation"],
        *(["epoch 1/2", f"validation {step}/2"] for step in (1, 2)),
    ]
    loss, speed, left = shown[3][2:]
    assert loss.startswith("loss 2.")
    assert float(speed.removesuffix(" clips/s")) > 0
    assert left.endswith(" left")
    assert shown[-4][-1].endswith(" clips/s")  # the last step: nothing is left


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.8, "1 min"), (200, "3 min"), (3590, "1 h 0 min"), (7500, "2 h 5 min")],
)
def test_durations_have_the_units_that_matter(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def test_the_loss_of_a_step_is_not_divided_by_its_batches(
    tmp_path: Path, tiny: TrainConfig, sides: tuple[LabeledVideos, LabeledVideos]
) -> None:
    listener = _Listener()
    config = dataclasses.replace(tiny, epochs=1, accumulate=4, lr=1e-6)
    train(config, videos=sides[0], validation=sides[1], out=tmp_path, progress=listener)
    losses = [float(part.split()[1]) for words in listener.words for part in words.split(", ") if part[:4] == "loss"]
    # Ten classes that nothing is known of: the logarithm of ten.
    assert len(losses) == 4
    assert all(abs(loss - math.log(10)) < 1 for loss in losses)
