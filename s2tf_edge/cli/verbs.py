"""The commands by the verbs of ``s2tf``: the one table that the console scripts, the help and the README agree with.

A new command is a line here, and one in ``pyproject.toml``.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from s2tf_edge.cli.app import CommandLine, command_line_of
from s2tf_edge.errors import UsageError

__all__ = ["UMBRELLA", "VERBS", "Verb", "find_verb"]

UMBRELLA: Final = "s2tf"


@dataclass(frozen=True)
class Verb:
    """One command."""

    module: str
    """In ``s2tf_edge.cli``; its ``main`` is the console script."""
    help: str
    """What it does, in a line."""

    def load(self) -> CommandLine:
        """The command, imported only now."""
        return command_line_of(importlib.import_module(f"s2tf_edge.cli.{self.module}").main)


VERBS: Final[Mapping[str, Verb]] = {
    "train": Verb("train", "Trains a network on videos."),
    "import": Verb("import_checkpoint", "Turns a published checkpoint into model.pt."),
    "models": Verb("models", "Lists the networks, their cost and accuracy."),
    "eval": Verb("evaluate", "Measures top-1 and top-5."),
    "export": Verb("export", "Makes a checked artifact for one target and precision."),
    "stream": Verb("stream", "Recognizes actions, live or in files."),
    "batch": Verb("batch", "Recognizes actions in archives of any size."),
    "report": Verb("report", "Compares artifacts: accuracy against latency."),
    "tune": Verb("tune", "Chooses, on the device, the fastest form that agrees."),
    "optimize": Verb("optimize", "Measures every form that runs here; keeps the best."),
    "demo": Verb("demo", "Shows the whole chain on data it makes itself."),
    "doctor": Verb("doctor", "Says what this machine has, lacks and can run."),
}


def find_verb(name: str) -> Verb:
    """The verb of that name.

    Raises:
        UsageError: there is none.
    """
    if name in VERBS:
        return VERBS[name]
    # s2tf-export, for one, is the console script's name, and people type it here too.
    near = difflib.get_close_matches(name.lower().removeprefix(f"{UMBRELLA}-"), VERBS, n=1)
    hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(VERBS)}"
    msg = f"there is no command {name!r}{hint}"
    raise UsageError(msg)
