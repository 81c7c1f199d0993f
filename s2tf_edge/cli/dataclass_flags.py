"""Flags of a command out of the fields of a dataclass.

The fields declare themselves (``s2tf_edge.option_fields``), or are annotated for typer (``with_fields``).
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import Field
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from s2tf_edge.cli.completions import Completer, among
from s2tf_edge.errors import UsageError
from s2tf_edge.option_fields import Choices, Option, choices_of, flag_of, option_of

__all__ = ["with_fields", "with_flags", "with_overrides"]

_READABLE: Final = (bool, int, float, str, Path)
"""Types that a command line can give a value of."""


def with_flags(command: Callable[..., None], options: type[Any], *, given_as: str | None = None) -> Callable[..., None]:
    """``command`` for a parser: in place of its one argument of type ``options`` it has a flag for each field.

    Args:
        command: its other arguments are annotated for typer. Where the one of type ``options`` may also be None, it is
            that while a field without a default is not given, and the command says what it misses.
        options: a dataclass whose fields are declared.
        given_as: name of an argument of ``command`` that is what was given of the fields, by name, where not all that
            is needed was, and else empty.
    """
    hints = typing.get_type_hints(command, localns={options.__name__: options}, include_extras=True)
    (argument,) = (name for name, hint in hints.items() if options in {hint, *typing.get_args(hint)})
    may_be_none = type(None) in typing.get_args(hints[argument])
    fields = dataclasses.fields(options)
    needed = [field.name for field in fields if may_be_none and field.default is dataclasses.MISSING]

    @functools.wraps(command)
    def parsed(**given: Any) -> None:
        values = {field.name: _value(field, _named(field, given)) for field in fields}
        lacks = any(values[name] is None for name in needed)
        partial = {} if given_as is None else {given_as: _given(fields, values) if lacks else {}}
        command(**given, **partial, **{argument: None if lacks else options(**values)})

    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        if parameter.name == given_as:
            continue
        own = [parameter.replace(annotation=hints[parameter.name], kind=inspect.Parameter.KEYWORD_ONLY)]
        parameters += _parameters(options, needed) if parameter.name == argument else own
    parsed.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    parsed.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return parsed


def _given(fields: Sequence[Field[Any]], values: Mapping[str, Any]) -> dict[str, Any]:
    defaults = {field.name: None if field.default is dataclasses.MISSING else field.default for field in fields}
    return {name: value for name, value in values.items() if value != defaults[name]}


def with_overrides(
    command: Callable[..., None],
    options: type[Any],
    *,
    topics: Mapping[str, type[Any]],
    completers: Mapping[str, Completer] | None = None,
) -> Callable[..., None]:
    """``command`` for a parser: in place of its argument ``overrides`` it has a flag for each field, without defaults.

    Args:
        command: its other arguments are annotated for typer; ``overrides`` gets the values that were given, by field.
        options: a dataclass whose fields are declared.
        topics: headings of the help, and dataclasses whose fields stand under each; the rest has none.
        completers: by field, what a shell offers for values that their declaration does not name.
    """
    headings = {field.name: title for title, topic in topics.items() for field in dataclasses.fields(topic)}
    fields = dataclasses.fields(options)
    hints = typing.get_type_hints(options)
    own = typing.get_type_hints(command, include_extras=True)

    @functools.wraps(command)
    def parsed(**given: Any) -> None:
        values = {field.name: _named(field, given) for field in fields}
        command(**given, overrides=_given_values(fields, values))

    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        if parameter.name == "overrides":
            for field in fields:
                own_flag = _flag(field, heading=headings.get(field.name), completer=(completers or {}).get(field.name))
                parameters += [_override(field, hints[field.name], own_flag), *_switches(field)]
        else:
            parameters.append(parameter.replace(annotation=own[parameter.name], kind=inspect.Parameter.KEYWORD_ONLY))
    parsed.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    parsed.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return parsed


def with_fields(command: Callable[[typer.Context, Any], None], flags: type[Any]) -> Callable[..., None]:
    """``command`` for a parser: in place of its argument of type ``flags`` it has a flag for each field.

    Args:
        command: is given the context, which knows what was typed, and the flags.
        flags: a dataclass whose fields are annotated for typer.
    """
    hints = typing.get_type_hints(flags, include_extras=True)

    @functools.wraps(command)
    def parsed(context: typer.Context, **values: Any) -> None:
        command(context, flags(**values))

    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [inspect.Parameter("context", keyword, annotation=typer.Context)]
    parameters += [
        inspect.Parameter(field.name, keyword, annotation=hints[field.name], default=_plain_default(field))
        for field in dataclasses.fields(flags)
    ]
    parsed.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    parsed.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return parsed


def _plain_default(field: Field[Any]) -> Any:
    return inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default


def _override(field: Field[Any], hint: Any, flag: Any) -> inspect.Parameter:
    is_switch = isinstance(field.default, bool)
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        annotation=Annotated[_readable(hint if is_switch or typing.get_origin(hint) is tuple else hint | None), flag],
        default=False if is_switch else None,
    )


def _given_values(fields: Sequence[Field[Any]], values: Mapping[str, Any]) -> dict[str, Any]:
    """What the parser hands on, without what was not given; a switch that was says the opposite of its default."""
    given: dict[str, Any] = {}
    for field in fields:
        value = values[field.name]
        if isinstance(field.default, bool):
            given |= {field.name: not field.default} if value else {}
        elif value is not None and value != []:
            given[field.name] = tuple(value) if isinstance(value, list) else value
    return given


def _parameters(options: type[Any], may_lack: Collection[str]) -> list[inspect.Parameter]:
    hints = typing.get_type_hints(options)
    parameters: list[inspect.Parameter] = []
    for field in dataclasses.fields(options):
        lacks = field.name in may_lack
        hint = _readable(_hint(hints[field.name], lacks))
        default = None if lacks else _default(field)
        parameters += [_parameter(field.name, Annotated[hint, _flag(field)], default), *_switches(field)]
    return parameters


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def _switches(field: Field[Any]) -> list[inspect.Parameter]:
    """Flags that give the field a value by themselves."""
    switches = _choices(field).switches
    return [
        _parameter(
            f"{field.name}_{word}",
            Annotated[bool, typer.Option(f"--{word}", help=f"The same as {flag_of(field)} {value}.")],
            False,
        )
        for word, value in switches.items()
    ]


def _choices(field: Field[Any]) -> Choices:
    return choices_of(option_of(field, Option)) or Choices(purposes={})


def _named(field: Field[Any], given: dict[str, Any]) -> Any:
    """What was given of a field, out of all that was, under the names that files know."""
    choices, flag = _choices(field), flag_of(field)
    value = given.pop(field.name)
    told = {}
    if isinstance(value, str):
        value = choices.name(value)
        told = {f"{flag} {value}": value} if value != field.default else {}
    told |= {f"--{word}": name for word, name in choices.switches.items() if given.pop(f"{field.name}_{word}")}
    if len(set(told.values())) > 1:
        msg = f"{' and '.join(told)} ask for different values of {flag}; give one of them"
        raise UsageError(msg)
    return next(iter(told.values()), value)


def _hint(hint: Any, may_lack: bool) -> Any:
    return hint | None if may_lack else hint


def _flag(field: Field[Any], *, heading: str | None = None, completer: Completer | None = None) -> Any:
    option = option_of(field, Option)
    choices = choices_of(option)
    return typer.Option(
        *(flag_of(field), *([f"-{option.letter}"] if option.letter else [])),
        help=option.help,
        metavar=option.metavar,
        readable=False,
        rich_help_panel=heading,
        autocompletion=completer or (among(choices.purposes) if choices else None),
    )


def _default(field: Field[Any]) -> Any:
    """What the parser hands on where nothing is given: of a switch that it is off, of what may be repeated None."""
    if field.default is dataclasses.MISSING:
        return inspect.Parameter.empty
    if isinstance(field.default, bool):
        return False
    return field.default if field.default != () else None


def _value(field: Field[Any], given: Any) -> Any:
    """A field's value, of what the parser hands on."""
    if isinstance(field.default, bool):
        return given != field.default
    return tuple(given or ()) if isinstance(field.default, tuple) else given


def _readable(hint: Any) -> Any:
    """The type as a command line can give it: of several those that can be written, of a tuple a list."""
    if typing.get_origin(hint) is tuple:
        return list[typing.get_args(hint)[0]] | None  # type: ignore[misc]
    if typing.get_origin(hint) not in {typing.Union, types.UnionType}:
        return hint
    kinds = [kind for kind in typing.get_args(hint) if kind in _READABLE]
    return kinds[0] | None
