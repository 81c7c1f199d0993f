from __future__ import annotations

from pathlib import Path

import pytest
import torch

from s2tf_edge.data.datasets import open_data
from s2tf_edge.data.labelled import LabelledVideos
from s2tf_edge.models import create_model
from s2tf_edge.models.model_file import load_model, save_model
from s2tf_edge.models.s2tf import VideoNetwork


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small S2TF network of ten classes with random weights, 8×32×32."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "small é.pt"
    save_model(path, create_model("s2tf_r3d_10?width=0.125", num_classes=10, frames=8, size=32))
    return path


@pytest.fixture
def network(model_file: Path) -> VideoNetwork:
    return load_model(model_file)


@pytest.fixture(scope="session")
def videos() -> LabelledVideos:
    return open_data("synthetic?clips=20")
