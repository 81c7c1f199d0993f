"""Agreement with torchvision's own networks, where it is installed."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from s2tf_edge.models.checkpoints import import_checkpoint

TOLERANCE = 1e-5

NETWORKS = {"tv_r3d_18": "r3d_18", "mc3_18": "mc3_18", "r2plus1d_18": "r2plus1d_18", "s3d": "s3d"}
"""Our name, and torchvision's."""


def seeded(name: str) -> Any:
    """A network of torchvision with statistics far from those of a new one."""
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("needs torchvision")
    # It tells PyTorch of operators in its C extension, which no network of videos uses, and which another build lacks.
    sys.modules.setdefault("torchvision._meta_registrations", ModuleType("_meta_registrations"))
    video = importlib.import_module("torchvision.models.video")
    torch.manual_seed(0)
    model = getattr(video, name)(num_classes=11).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm3d):
            for value, low, high in ((module.weight, 0.6, 1.2), (module.bias, -0.2, 0.2)):
                nn.init.uniform_(value, low, high)
            assert isinstance(module.running_mean, Tensor)
            assert isinstance(module.running_var, Tensor)
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.6, 1.4)
    return model


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
@torch.inference_mode()
def test_agrees_with_torchvision(name: str, tmp_path: Path) -> None:
    theirs = seeded(NETWORKS[name])
    torch.save(theirs.state_dict(), tmp_path / "c.pth")
    size = 224 if name == "s3d" else 112
    ours, report = import_checkpoint(tmp_path / "c.pth", model=f"{name}?frames=16&size={size}")
    assert (report.format, report.loaded) == ("torchvision", len(theirs.state_dict()))
    clip = torch.randn(ours.spec.input_shape(2))
    wanted = theirs(clip)
    tolerance = TOLERANCE * float(wanted.max() - wanted.min())
    torch.testing.assert_close(ours(clip), wanted, rtol=0, atol=tolerance)
    torch.testing.assert_close(ours.to_inference()(clip), wanted, rtol=0, atol=tolerance)


@pytest.mark.slow
@torch.inference_mode()
def test_s3d_averages_longer_and_larger_clips_as_torchvision_does(tmp_path: Path) -> None:
    theirs = seeded("s3d")
    torch.save(theirs.state_dict(), tmp_path / "c.pth")
    ours, _ = import_checkpoint(tmp_path / "c.pth", model="s3d?frames=33&size=256")
    clip = torch.randn(ours.spec.input_shape())
    torch.testing.assert_close(ours(clip), theirs(clip), rtol=0, atol=TOLERANCE)
