"""The table of networks that ships says what the registry says and the networks cost."""

from __future__ import annotations

import dataclasses

import pytest

from s2tf_edge.models import default_spec, list_models
from s2tf_edge.models.published import PUBLISHED
from s2tf_edge.models.registry import family_of, list_backbones
from s2tf_edge.models.rows import network_row
from s2tf_edge.network_table import TABLE_CLASSES, backbone_names, network_names, network_table

AGAIN = "run tools/make_network_table.py"


def test_it_has_the_networks_of_the_registry() -> None:
    assert network_names() == list_models(), AGAIN
    families = list(dict.fromkeys(family_of(name) for name in list_models()))
    assert sorted(backbone_names()) == sorted(list_backbones(families))


def test_it_has_their_clips_and_what_was_published() -> None:
    for name, row in network_table().items():
        spec = default_spec(name)
        assert (row["frames"], row["size"]) == (spec.frames, spec.size), f"{name}: {AGAIN}"
        assert row["published"] == [dataclasses.asdict(each) for each in PUBLISHED.get(name, ())], f"{name}: {AGAIN}"


def test_it_has_their_cost() -> None:
    assert network_table()["s2tf_r3d_10"] == network_row("s2tf_r3d_10", classes=TABLE_CLASSES), AGAIN


@pytest.mark.slow
def test_it_has_the_cost_of_all() -> None:
    for name, row in network_table().items():
        assert row == network_row(name, classes=TABLE_CLASSES), f"{name}: {AGAIN}"
