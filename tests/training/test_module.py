"""What settings of the optimization make of a real run of a tiny network."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from s2tf_edge import load_model
from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.errors import UsageError
from s2tf_edge.training import TrainConfig, train
from s2tf_edge.training.loaders import make_loaders
from s2tf_edge.training.networks import make_network, make_spec
from s2tf_edge.training.optimization.norms import measure_norms, statistics_of

Sides = tuple[LabeledVideos, LabeledVideos]


class _KilledError(Exception):
    pass


def _train(config: TrainConfig, sides: Sides, out: Path, **settings: Any) -> dict[str, Tensor]:
    """The weights in ``model.pt`` of a run."""
    config = dataclasses.replace(config, **settings)
    return load_model(train(config, videos=sides[0], validation=sides[1], out=out).model).state_dict()


def _checkpoint(out: Path) -> dict[str, Tensor]:
    state: dict[str, Tensor] = torch.load(out / "last.ckpt", weights_only=True)["state_dict"]
    return state


def _scores(out: Path) -> list[float]:
    rows = csv.DictReader((out / "metrics.csv").read_text(encoding="utf-8").splitlines())
    return [float(row["val_top1"]) for row in rows]


def _equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def test_the_average_of_the_weights_is_validated_and_kept(tmp_path: Path, tiny: TrainConfig, sides: Sides) -> None:
    kept = _train(tiny, sides, tmp_path, ema=0.9, keep="last")
    state = _checkpoint(tmp_path)
    average = {key: value for key, value in state.items() if key.startswith("average.module.")}
    assert _equal({f"average.module.{key}": value for key, value in kept.items()}, average)
    assert not _equal(
        {f"network.{key}": value for key, value in kept.items()},
        {key: value for key, value in state.items() if key.startswith("network.")},
    )
    assert int(state["average.n_averaged"]) == 8


@pytest.mark.parametrize(
    "settings",
    [
        {"ema": 0.9, "precise_norms": 10},
        pytest.param({"optimizer": "sgd", "lr": 0.05, "clip_grad": 1.0}, marks=pytest.mark.slow),
        {"mixup": 0.8, "cutmix": 1.0, "background": 0.3, "accumulate": 2},
    ],
)
def test_a_run_that_was_cut_ends_in_the_same_weights(
    tmp_path: Path, tiny: TrainConfig, sides: Sides, settings: dict[str, Any]
) -> None:
    def cut(done: int, total: int) -> None:
        del total
        if done == 7:
            raise _KilledError

    config = dataclasses.replace(tiny, keep="last", **settings)
    expected = _train(config, sides, tmp_path / "whole")
    # Within the second epoch of four batches, after the second of them.
    often = dataclasses.replace(config, checkpoint_minutes=0.0)
    with pytest.raises(_KilledError):
        train(often, videos=sides[0], validation=sides[1], out=tmp_path / "cut", progress=cut)
    assert _equal(_train(config, sides, tmp_path / "cut"), expected)
    assert _equal(_checkpoint(tmp_path / "cut"), _checkpoint(tmp_path / "whole"))


def test_mixed_clips_have_mixed_targets(tmp_path: Path, tiny: TrainConfig, sides: Sides) -> None:
    one = dataclasses.replace(tiny, epochs=1, keep="last")
    plain = _train(one, sides, tmp_path / "plain")
    mixed = _train(one, sides, tmp_path / "mixed", mixup=1.0)
    assert not _equal(plain, mixed)
    (row,) = csv.DictReader((tmp_path / "mixed" / "metrics.csv").read_text(encoding="utf-8").splitlines())
    # Of twenty clips each counts as right or wrong, by the class that most of it is of.
    assert float(row["train_top1"]) % 5 == pytest.approx(0, abs=1e-3)


def test_clipping_bounds_what_a_step_of_sgd_moves(tmp_path: Path, tiny: TrainConfig, sides: Sides) -> None:
    settings: dict[str, Any] = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "warmup": 0.0, "lr": 0.1}
    one_step = dataclasses.replace(tiny, epochs=1, batch_size=20, keep="last", **settings)

    def moved(out: Path, clip_grad: float) -> float:
        # Decay and momentum are off: the step is the gradient, times half the rate, as the first of a warm-up of one.
        torch.manual_seed(one_step.seed)
        start = make_network(one_step, sides[0], None)
        end = _train(one_step, sides, out, clip_grad=clip_grad)
        steps = [(end[name] - value.detach()).flatten() for name, value in start.named_parameters()]
        return float(torch.cat(steps).norm())

    assert moved(tmp_path / "clipped", 0.01) == pytest.approx(0.01 * 0.1 / 2, rel=1e-2)
    assert moved(tmp_path / "free", 0.0) > 0.01 * 0.1


def test_batches_may_be_summed_to_one_step(tmp_path: Path, tiny: TrainConfig, sides: Sides) -> None:
    # Norms would see batches of another size.
    settings: dict[str, Any] = {"model": "r3d_10?width=0.0625", "freeze": "norm|^backbone.stem", "dropout": 0.0}
    whole = _train(tiny, sides, tmp_path / "whole", batch_size=10, keep="last", **settings)
    parts = _train(tiny, sides, tmp_path / "parts", batch_size=5, accumulate=2, keep="last", **settings)
    for key, value in whole.items():
        torch.testing.assert_close(parts[key], value, rtol=1e-4, atol=1e-5)


def test_frozen_weights_and_norms_stay_as_they_came(tmp_path: Path, tiny: TrainConfig, sides: Sides) -> None:
    first = train(tiny, videos=sides[0], validation=sides[1], out=tmp_path / "first").model
    config = dataclasses.replace(
        tiny, freeze=r"^backbone\.(stem|stages)|^saliency", keep="last", ema=0.9, precise_norms=10
    )
    second = train(config, videos=sides[0], validation=sides[1], out=tmp_path / "second", pretrained=first).model
    before, after = load_model(first).state_dict(), load_model(second).state_dict()
    changed = [key for key in before if not torch.equal(before[key], after[key])]
    assert changed == ["backbone.head.fc.weight", "backbone.head.fc.bias"]


def test_random_weights_held_back_are_warned_of(
    tmp_path: Path, tiny: TrainConfig, sides: Sides, caplog: pytest.LogCaptureFixture
) -> None:
    train(dataclasses.replace(tiny, layer_decay=0.8), videos=sides[0], validation=sides[1], out=tmp_path)
    assert "hold back random weights; give `pretrained`" in caplog.text


@pytest.mark.parametrize("settings", [{}, {"ema": 0.9}])
@pytest.mark.parametrize("validated", [True, False])
def test_norms_are_measured_with_the_weights_that_are_kept(
    tmp_path: Path, tiny: TrainConfig, sides: Sides, settings: dict[str, Any], validated: bool
) -> None:
    config = dataclasses.replace(tiny, epochs=1, clips_per_video=1, precise_norms=20, keep="last", **settings)
    none = sides[1].subset([])
    result = train(config, videos=sides[0], validation=sides[1] if validated else none, out=tmp_path)
    network = load_model(result.model)
    got = [value.clone() for value in statistics_of(network)]
    spec = make_spec(config)
    loader, _ = make_loaders(config, videos=sides[0], validation=none, spec=spec)
    measure_norms(network, [clips for clips, _ in loader])
    for value, expected in zip(got, statistics_of(network), strict=True):
        torch.testing.assert_close(value, expected)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the compiler's own modules
def test_a_compiled_network_learns_the_same(tmp_path: Path, tiny: TrainConfig, sides: Sides) -> None:
    # Without validation, for which it would be compiled anew.
    only = sides[0], sides[1].subset([])
    settings: dict[str, Any] = {"model": "r3d_10?width=0.0625", "epochs": 1, "dropout": 0.0}
    plain = _train(tiny, only, tmp_path / "plain", **settings)
    compiled = _train(tiny, only, tmp_path / "compiled", compile=True, **settings)
    for key, value in plain.items():
        torch.testing.assert_close(compiled[key], value, rtol=1e-2, atol=1e-3)


def test_the_best_or_the_last_epoch_is_kept(tmp_path: Path, tiny: TrainConfig, sides: Sides) -> None:
    videos, validation = sides
    config = dataclasses.replace(tiny, epochs=3)
    last = train(dataclasses.replace(config, keep="last"), videos=videos, validation=validation, out=tmp_path / "last")
    best = train(config, videos=videos, validation=validation, out=tmp_path / "best")
    assert (last.epoch, last.top1) == (3, _scores(tmp_path / "last")[-1])
    scores = _scores(tmp_path / "best")
    assert (best.epoch, best.top1) == (1 + scores.index(max(scores)), max(scores))


def test_without_validation_the_last_epoch_is_kept(tmp_path: Path, tiny: TrainConfig, sides: Sides) -> None:
    videos, none = sides[0], sides[1].subset([])
    result = train(tiny, videos=videos, validation=none, out=tmp_path)
    assert (result.top1, result.epoch) == (None, 2)
    state = {f"network.{key}": value for key, value in load_model(result.model).state_dict().items()}
    assert _equal(state, _checkpoint(tmp_path))
    rows = csv.DictReader((tmp_path / "metrics.csv").read_text(encoding="utf-8").splitlines())
    assert [row["val_top1"] for row in rows] == ["", ""]
    with pytest.raises(UsageError, match="`keep='best'` needs videos to validate on"):
        train(dataclasses.replace(tiny, keep="best"), videos=videos, validation=none, out=tmp_path / "best")


def test_bfloat16_on_the_cpu_trains(tmp_path: Path, tiny: TrainConfig, sides: Sides) -> None:
    """Its clips of 8 frames are 1 long in the last stage, 2 in the one before: both shorter than their kernels."""
    half = _train(tiny, sides, tmp_path / "half", precision="bf16-mixed", epochs=1, keep="last")
    full = _train(tiny, sides, tmp_path / "full", epochs=1, keep="last")
    assert all(torch.isfinite(value).all() for value in half.values())
    for key, value in full.items():
        if value.ndim == 5:
            assert torch.nn.functional.cosine_similarity(value.flatten(), half[key].flatten(), dim=0) > 0.98, key


def test_two_runs_of_a_seed_give_the_same_bytes(tmp_path: Path, tiny: TrainConfig, sides: Sides) -> None:
    config = dataclasses.replace(tiny, precision="bf16-mixed", ema=0.9)
    runs = [train(config, videos=sides[0], validation=sides[1], out=tmp_path / name).model for name in "ab"]
    assert runs[0].read_bytes() == runs[1].read_bytes()
