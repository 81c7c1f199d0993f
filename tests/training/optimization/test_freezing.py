from __future__ import annotations

import re

import pytest
from torch import nn

from s2tf_edge.errors import UsageError
from s2tf_edge.models import VideoNetwork, create_model
from s2tf_edge.training.optimization.freezing import find_frozen_norms, freeze_weights


@pytest.fixture
def network() -> VideoNetwork:
    return create_model("s2tf_r3d_10?width=0.0625", num_classes=3, frames=8, size=32)


def test_what_is_named_is_frozen_and_said(network: VideoNetwork, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="s2tf_edge"):
        freeze_weights(network, r"^backbone\.(stem|stages)|^saliency")
    norms = find_frozen_norms(network)
    left = {name: weight.numel() for name, weight in network.named_parameters() if weight.requires_grad}
    assert list(left) == ["backbone.head.fc.weight", "backbone.head.fc.bias"]
    total = sum(weight.numel() for weight in network.parameters())
    assert f"frozen: {total - sum(left.values())} of {total} parameters, {len(norms)} norms" in caplog.text
    assert set(norms) == {name for name, module in network.named_modules() if isinstance(module, nn.BatchNorm3d)}


def test_a_norm_of_which_something_is_trained_is_not_frozen(network: VideoNetwork) -> None:
    freeze_weights(network, r"^backbone\.stem\.|stages\..*norm\.weight")
    norms = find_frozen_norms(network)
    assert norms
    assert all(name.startswith("backbone.stem.") for name in norms)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("^stem", "`freeze='^stem'` matches no weight of s2tf_r3d_10?width=0.0625; names begin with backbone.stem,"),
        ("^backbone|^saliency", "matches every weight of s2tf_r3d_10?width=0.0625, so that there is nothing to train"),
    ],
)
def test_a_pattern_that_matches_nothing_or_everything_is_refused(
    network: VideoNetwork, pattern: str, message: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        freeze_weights(network, pattern)
    assert all(weight.requires_grad for weight in network.parameters())
