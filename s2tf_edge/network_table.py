"""The networks that there are and what they cost, from a table that ships: listing them waits for no torch.

``tools/make_network_table.py`` makes the table of the registry; a test holds one against the other.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from types import MappingProxyType
from typing import Any, Final

from s2tf_edge.errors import UsageError

__all__ = ["TABLE_CLASSES", "TABLE_FILE", "backbone_names", "network_names", "network_table", "unknown_network"]

TABLE_CLASSES: Final = 400
"""Of the classifiers whose cost the table has."""
TABLE_FILE: Final = ("models", "networks.json")
"""Where it lies in the package."""
_FORMS: Final = ("ssf_", "s2tf_")


@functools.cache
def network_table() -> Mapping[str, Mapping[str, Any]]:
    """By name, in the order of the registry: clips, parameters, multiply-accumulates and published accuracy."""
    # As a file of this package: importing the folder it lies in would import torch.
    text = resources.files("s2tf_edge").joinpath(*TABLE_FILE).read_text(encoding="utf-8")
    return MappingProxyType({row["name"]: row for row in json.loads(text)})


def network_names() -> list[str]:
    """Names of all networks, without options."""
    return list(network_table())


def backbone_names() -> list[str]:
    """Names of the plain networks."""
    return [name for name in network_table() if not name.startswith(_FORMS)]


def unknown_network(name: str, backbones: Sequence[str]) -> UsageError:
    """What to raise where no network has that name."""
    return UsageError(
        f"no network is named {name!r}; there are {', '.join(backbones)}, each also with ssf_ or s2tf_ before it"
    )
