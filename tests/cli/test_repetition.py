from __future__ import annotations

from typing import Annotated

import pytest
import typer

from s2tf_edge.cli.app import make_app
from s2tf_edge.cli.repetition import repeat_words


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (["a b", "--size", "3"], ["s2tf-x", "'a b'", "--size", "3"]),
        (["a", "--zone", "1", "--zone", "2 3"], ["s2tf-x", "a", "--zone", "1", "--zone", "'2 3'"]),
        (["a", "--no-flip", "--out", "there"], ["s2tf-x", "a", "--no-flip"]),
        (["--size", "1", "a"], ["s2tf-x", "a", "--size", "1"]),
    ],
)
def test_what_was_typed_is_typed_again(typed: list[str], expected: list[str]) -> None:
    found: list[str] = []

    def command(
        context: typer.Context,
        data: Annotated[str, typer.Argument()],
        size: int = 3,
        zone: Annotated[list[str] | None, typer.Option()] = None,
        flip: bool = True,
        out: str = "here",
    ) -> None:
        """Does nothing."""
        del data, size, zone, flip, out
        found.extend(repeat_words(context, command="s2tf-x", without={"out"}))

    # Whatever program calls it, as the demo does.
    make_app(command, name="s2tf-y")(typed, standalone_mode=False, prog_name="s2tf-y")
    assert found == expected
