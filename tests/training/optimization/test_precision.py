from __future__ import annotations

import pytest
import torch

from s2tf_edge.errors import UsageError
from s2tf_edge.training import TrainConfig
from s2tf_edge.training.optimization.precision import choose_precision


def test_auto_becomes_what_the_machine_has() -> None:
    config = choose_precision(TrainConfig(model="r3d_10", precision="auto"))
    assert config.precision in {"fp32", "bf16-mixed"}


@pytest.mark.parametrize("precision", ["fp32", "bf16-mixed"])
def test_what_is_asked_for_stays(precision: str) -> None:
    config = TrainConfig(model="r3d_10", precision=precision)
    assert choose_precision(config) == config


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_float16_needs_a_gpu() -> None:
    with pytest.raises(UsageError, match="`precision='16-mixed'` needs a GPU, and there is none"):
        choose_precision(TrainConfig(model="r3d_10", precision="16-mixed"))
