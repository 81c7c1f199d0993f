"""What a shell offers where a flag wants a value."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from s2tf_edge.option_fields import Choices

__all__ = ["Completer", "among", "named", "networks"]

Completer = Callable[[str], list[tuple[str, str]]]
"""Takes what was typed of a value; gives values that begin so, each with its help."""


def among(values: Mapping[str, str] | Sequence[str]) -> Completer:
    """Offers these values, of a mapping with what each is for."""
    helps = values if isinstance(values, Mapping) else dict.fromkeys(values, "")

    def complete(incomplete: str) -> list[tuple[str, str]]:
        # Whoever types FP is answered fp16, where the shell lets a word be replaced.
        return [(value, text) for value, text in helps.items() if value.startswith(incomplete.lower())]

    return complete


def named(names: Sequence[str]) -> dict[str, Any]:
    """What ``typer.Option`` is told of a value that goes by one of these names, typed in whatever case."""
    choices = Choices(purposes=dict.fromkeys(names, ""))

    def take(value: str | None) -> str | None:
        return value if value is None else choices.name(value)

    return {"autocompletion": among(names), "callback": take}


def networks(incomplete: str) -> list[tuple[str, str]]:
    """Offers names of networks."""
    from s2tf_edge.network_table import network_names

    return [(name, "") for name in network_names() if name.startswith(incomplete)]
