from __future__ import annotations

import numpy as np
import pytest

from s2tf_edge.errors import UsageError
from s2tf_edge.export.sources.torch_layers import torch_maps
from s2tf_edge.models.s2tf import VideoNetwork


def test_hooks_are_gone_when_a_network_has_run(network: VideoNetwork) -> None:
    clip = np.zeros(network.spec.input_shape(), np.float32)
    names = ["backbone.stem.0.conv/Conv", "backbone.stem.0.conv/Relu", "nowhere/Conv"]
    assert list(torch_maps(network, clip, names)) == names[:1]
    with pytest.raises(UsageError, match="takes clips of shape"):
        torch_maps(network, clip[:, :1].repeat(2, axis=1), names)
    assert not any(module._forward_hooks for module in network.modules())
