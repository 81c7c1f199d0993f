"""Which recipe a run follows."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Final

from s2tf_edge.errors import UsageError
from s2tf_edge.training.config import read_overrides
from s2tf_edge.words import counted

__all__ = ["AUTO", "NONE", "check_recipe", "list_recipes", "recipe_settings"]

logger = logging.getLogger(__name__)

AUTO: Final = "auto"
NONE: Final = "none"
_FOLDER: Final = Path(__file__).parent
_MANY: Final = 20_000
"""Videos from which on the long schedules of large data sets pay: twice UCF101, a tenth of Kinetics-400."""


def list_recipes() -> list[str]:
    """The names of all recipes."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def check_recipe(name: str) -> None:
    """Looks whether there is a recipe of that name.

    Raises:
        UsageError: there is none.
    """
    allowed = [AUTO, NONE, *list_recipes()]
    if name not in allowed:
        msg = f"`recipe` must be one of {', '.join(allowed)}, got {name!r}; a file of your own goes to `config`"
        raise UsageError(msg)


def recipe_settings(name: str, *, videos: int, pretrained: bool) -> dict[str, Any]:
    """What a recipe sets, by the fields of ``TrainConfig``; says which it is.

    Args:
        name: one of ``list_recipes``; ``auto`` chooses one, ``none`` sets nothing.
        videos: how many there are to train on.
        pretrained: whether the network starts from other weights than random ones.

    Raises:
        UsageError: there is no such recipe.
    """
    check_recipe(name)
    if name == NONE:
        return {}
    chosen, reason = _choose(videos, pretrained=pretrained) if name == AUTO else (name, "as asked for")
    settings = read_overrides(_FOLDER / f"{chosen}.toml")
    logger.info("recipe %s: %s", chosen, reason)
    logger.debug("it sets %s", ", ".join(f"{key} = {value}" for key, value in settings.items()))
    return settings


def _choose(videos: int, *, pretrained: bool) -> tuple[str, str]:
    """A recipe and the reason."""
    if pretrained:
        return "small-finetune", "starts from a pretrained network"
    if videos < _MANY:
        return "small-scratch", f"random weights, {counted(videos, 'video')} to train on"
    return "x3d", f"random weights, {counted(videos, 'video')} to train on, which is many"
