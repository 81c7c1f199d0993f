"""Words of messages, which are one line and do not grow with the data."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Final

__all__ = ["counted", "first_few", "json_text", "message_line", "one_line", "printable", "shortened"]

_HIDDEN: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters but tab and line feed, breaks of lines that are none, marks that turn the direction of text, and
bytes of a file's name that are no text."""
_LONGEST_WORD: Final = 200
_LONGEST_MESSAGE: Final = 400
_MESSAGE_HEAD: Final = 140
"""Of a message that is cut: what is wrong stands at its start, and what to do, which may be a command, at its end."""


def first_few(items: Iterable[object], count: int = 4, *, separator: str = ", ") -> str:
    """The first of the items, and how many more there are: ``a, b, c, d and 3 more``."""
    items = list(items)
    more = len(items) - count
    return separator.join(str(item) for item in items[:count]) + (f" and {more} more" if more > 0 else "")


def counted(count: int, noun: str) -> str:
    """``1 video``, ``1,234 videos``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def one_line(said: object) -> str:
    """An error's words, or other text, without line breaks and double spaces."""
    return " ".join(str(said).split())


def printable(text: str) -> str:
    r"""The text with what a terminal would obey, or not show, as escapes: ``\x1b`` in place of the character.

    Labels, names of files and metadata are others' words, which may hold anything; tabs and ends of lines stay.
    """
    return _HIDDEN.sub(lambda found: ascii(found[0])[1:-1], text)


def json_text(values: object) -> str:
    """JSON on one line, in which a character is an escape only where it is in ``printable``."""
    return _HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(values, ensure_ascii=False))


def shortened(text: str, longest: int = _LONGEST_WORD) -> str:
    """The text with the middle of words cut out that are longer than that, and what was left out in figures.

    What is quoted is a word, spaces and all; so are paths, of which the end tells most.
    """

    def cut(found: re.Match[str]) -> str:
        word, half = found[0], longest // 2
        return f"{word[:half]}… {len(word) - 2 * half} characters …{word[-half:]}"

    # An apostrophe, as in the logits' range, begins no quotation.
    quoted = rf"(?<!\w)'[^'\n]{{{longest},}}'(?!\w)"
    return re.sub(rf"{quoted}|[^\s']{{{longest + 1},}}", cut, text)


def message_line(said: object) -> str:
    """A message as a terminal gets it: one line of at most 400 characters, none of which it would obey.

    Escapes come first, as they are longer than what they stand for. What is still too long loses its middle.
    """
    text = shortened(printable(one_line(said)))
    if len(text) <= _LONGEST_MESSAGE:
        return text
    gap = f" … {len(text)} characters, cut here … "
    return text[:_MESSAGE_HEAD] + gap + text[_MESSAGE_HEAD + len(gap) - _LONGEST_MESSAGE :]
