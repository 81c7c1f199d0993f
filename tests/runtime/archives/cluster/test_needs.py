"""How many workers a node has room for."""

from __future__ import annotations

from pathlib import Path

import pytest

from s2tf_edge.runtime.archives.cluster.needs import Needs
from s2tf_edge.runtime.session import SessionOptions


@pytest.mark.parametrize(
    ("needs", "resources", "slots"),
    [
        (Needs(), {"CPU": 8.0}, 8),
        (Needs(cpus=3), {"CPU": 8.0, "GPU": 2.0}, 2),
        (Needs(), {}, 0),
        (Needs(on_gpu=True), {"CPU": 8.0}, 0),
        (Needs(on_gpu=True), {"CPU": 8.0, "GPU": 4.0}, 8),
        (Needs(on_gpu=True), {"CPU": 32.0, "GPU": 2.0}, 8),
        (Needs(on_gpu=True), {"CPU": 2.0, "GPU": 4.0}, 2),
    ],
)
def test_slots(needs: Needs, resources: dict[str, float], slots: int) -> None:
    assert needs.slots(resources) == slots
    # Ray must be able to place them all.
    if needs.on_gpu and slots:
        assert slots / needs.per_gpu(resources) <= resources["GPU"]


def test_what_an_artifact_needs(artifact: Path) -> None:
    assert Needs.of(artifact, SessionOptions()) == Needs(cpus=1)
    assert Needs.of(artifact, SessionOptions(threads=2)) == Needs(cpus=2)
    assert Needs.of(artifact, SessionOptions(device="GPU.0", threads=1)) == Needs(cpus=1, on_gpu=True)
