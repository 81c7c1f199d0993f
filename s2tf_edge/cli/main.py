"""``s2tf``: all commands under one name, each imported once it is called."""

from __future__ import annotations

import sys
from enum import Enum
from typing import Annotated, Any, Final

import typer
import typer.completion
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from s2tf_edge.cli.app import APP_SETTINGS, execute, version_option
from s2tf_edge.cli.verbs import UMBRELLA, VERBS, find_verb

__all__ = ["completion_script", "main"]

_HELP: Final = """Action recognition on edge devices: train, export, quantize, stream and measure.

[bold]s2tf VERB --help[/bold] explains a verb. Each is a command of its own too: s2tf export is s2tf-export.
"""


class Shell(str, Enum):
    """Shells that complete."""

    bash = "bash"
    zsh = "zsh"
    fish = "fish"


class _Verbs(TyperGroup):
    """Knows verbs by the table, and imports the one that is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The verbs, in the order of the table."""
        del ctx
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> TyperCommand | None:
        """A name and a line of help, which is all that a list needs."""
        del ctx
        return TyperCommand(cmd_name, help=VERBS[cmd_name].help) if cmd_name in VERBS else None

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command that is called, with its parser.

        Raises:
            UsageError: there is no such verb.
        """
        word, *rest = args
        if word.startswith("-") or (ctx.resilient_parsing and word not in VERBS):
            return super().resolve_command(ctx, args)
        parser = find_verb(word).load().parser(typed=f"{ctx.command_path} {word}")
        return word, get_command(parser), rest


def completion_script(shell: str) -> str:
    """What a shell is to read so that it completes ``s2tf`` and the commands of every verb."""
    names = [UMBRELLA, *(f"{UMBRELLA}-{verb}" for verb in VERBS)]
    scripts = [
        typer.completion.get_completion_script(  # type: ignore[attr-defined]
            prog_name=name, complete_var=f"_{name}_COMPLETE".replace("-", "_").upper(), shell=shell
        )
        for name in names
    ]
    return "\n\n".join(scripts)


def main() -> None:
    """Entry point of the console script."""
    typed = [UMBRELLA, *(word for word in sys.argv[1:2] if word in VERBS)]
    execute(_make_umbrella, name=UMBRELLA, typed=" ".join(typed))


def _make_umbrella() -> typer.Typer:
    app = typer.Typer(cls=_Verbs, no_args_is_help=True, help=_HELP, **APP_SETTINGS)
    app.callback()(_umbrella)
    return app


def _show_completion(shell: Shell | None) -> None:
    if shell is not None:
        typer.echo(completion_script(shell.value))
        raise typer.Exit


def _umbrella(
    show_completion: Annotated[
        Shell | None,
        typer.Option(
            help="Print what makes this shell complete verbs, flags and values; see docs/commands.md.",
            callback=_show_completion,
            is_eager=True,
            case_sensitive=False,
        ),
    ] = None,
    version: Annotated[bool, version_option(UMBRELLA)] = False,
) -> None:
    """Takes the flags that stand before the verb."""
    del show_completion, version


if __name__ == "__main__":
    main()
