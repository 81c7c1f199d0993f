"""Protocol buffers as text, which is what Triton reads its configurations in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["Constant", "text_format"]


class Constant(str):
    """The name of a value of an enumeration, which is written without quotes."""

    __slots__ = ()


def text_format(message: Mapping[str, Any]) -> str:
    """A message as text, a field a line.

    Args:
        message: by the names of its fields: strings, ``Constant``s, whole numbers, truth values, messages, or
            sequences of them.
    """
    return "".join(f"{line}\n" for name, value in message.items() for line in _field(name, value))


def _field(name: str, value: Any) -> list[str]:
    if isinstance(value, Mapping):
        inside = [f"  {line}" for each, part in value.items() for line in _field(each, part)]
        return [f"{name} {{", *inside, "}"] if inside else [f"{name} {{ }}"]
    if isinstance(value, Sequence) and not isinstance(value, str):
        if any(isinstance(each, Mapping) for each in value):
            return [line for each in value for line in _field(name, each)]
        return [f"{name}: [{', '.join(map(_scalar, value))}]"]
    return [f"{name}: {_scalar(value)}"]


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and not isinstance(value, Constant):
        return f'"{"".join(map(_character, value))}"'
    return str(value)


def _character(character: str) -> str:
    """Itself, or the escapes of its bytes where it would end the string, or not be seen."""
    if character.isprintable() and character not in '"\\':
        return character
    return "".join(f"\\{byte:03o}" for byte in character.encode("utf-8", "replace"))
