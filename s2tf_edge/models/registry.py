"""Names of networks, and how a name becomes a network.

A name is a form, a family, a variant and options: ``s2tf_r3d_10?width=0.25&shortcut=A``. An architecture is one module
that registers its family; ``frames`` and ``size`` are options of every network.
"""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import parse_qsl

from s2tf_edge.errors import UsageError
from s2tf_edge.file_kinds import NETWORK_NAME, check_kind
from s2tf_edge.models.blocks import Backbone, BackboneOptions
from s2tf_edge.models.s2tf import FORMS, VideoNetwork
from s2tf_edge.models.saliency import SaliencyPath
from s2tf_edge.network_table import unknown_network
from s2tf_edge.spec import ClipSpec

__all__ = ["create_model", "default_spec", "family_of", "list_backbones", "list_models", "register"]

_OptionsT = TypeVar("_OptionsT", bound=BackboneOptions, contravariant=True)

_MAX_CLASSES: Final = 100_000
_SWITCH: Final = {"true": True, "false": False, "1": True, "0": False}


class Builder(Protocol[_OptionsT]):
    """Builds the backbone ``variant`` of a family."""

    def __call__(self, variant: str, *, options: _OptionsT, frames: int, size: int, num_classes: int) -> Backbone:
        """Builds it for clips of ``frames`` frames of ``size`` × ``size`` pixels."""


@dataclass(frozen=True, kw_only=True)
class _Architecture:
    family: str
    build: Callable[..., Backbone]
    variant: str
    recipe: ClipSpec
    options: type[BackboneOptions]


@dataclass(frozen=True, kw_only=True)
class _Request:
    """A name taken apart."""

    form: str
    backbone: str
    options: BackboneOptions
    spec: ClipSpec

    @property
    def name(self) -> str:
        """The name again, with the options that are not the default; frames and size are the clip spec's."""
        chosen = {
            field.name: getattr(self.options, field.name)
            for field in dataclasses.fields(self.options)
            if getattr(self.options, field.name) != field.default
        }
        query = "&".join(f"{key}={_written(value)}" for key, value in chosen.items())
        return f"{self.form}{self.backbone}" + (f"?{query}" if query else "")


_ARCHITECTURES: dict[str, _Architecture] = {}


def register(
    family: str, *, recipes: Mapping[str, ClipSpec], options: type[_OptionsT]
) -> Callable[[Builder[_OptionsT]], Builder[_OptionsT]]:
    """Decorates the function that builds the backbones ``{family}_{variant}``, or ``family`` for a variant ``""``.

    Args:
        family: such as ``r3d``.
        recipes: for each variant, the clips of its published recipe.
        options: dataclass of the family's options; a model's name may set each.

    Raises:
        UsageError: a name is taken.
    """

    def decorate(build: Builder[_OptionsT]) -> Builder[_OptionsT]:
        for variant, recipe in recipes.items():
            name = f"{family}_{variant}" if variant else family
            if name in _ARCHITECTURES:
                msg = f"a network named {name} is registered already; choose another name"
                raise UsageError(msg)
            _ARCHITECTURES[name] = _Architecture(
                family=family, build=build, variant=variant, recipe=recipe, options=options
            )
        return build

    return decorate


def list_models(pattern: str = "*") -> list[str]:
    """Names of all networks that match a shell pattern such as ``s2tf_*``: each backbone plain, with SSF, with both."""
    names = [form + backbone for backbone in _ARCHITECTURES for form in FORMS]
    return fnmatch.filter(names, pattern)


def list_backbones(families: Sequence[str]) -> list[str]:
    """Names of all plain networks of some families, in the order of the families."""
    return [name for family in families for name, each in _ARCHITECTURES.items() if each.family == family]


def family_of(name: str) -> str:
    """The family of a network: ``r3d`` of ``s2tf_r3d_18?width=0.25``.

    Raises:
        UsageError: the name is unknown.
    """
    _, backbone = _split(name.partition("?")[0])
    return _ARCHITECTURES[backbone].family


def create_model(
    name: str,
    *,
    num_classes: int,
    frames: int | None = None,
    size: int | None = None,
    labels: Sequence[str] | None = None,
    **options: Any,
) -> VideoNetwork:
    """Builds a network with fresh weights.

    Args:
        name: a name of ``list_models``, with options as a query where wanted: ``s2tf_r3d_10?width=0.25&frames=8``.
        num_classes: number of classes (K).
        frames: frames in a clip; that of the published recipe where neither this nor the name says it.
        size: side of the crop in pixels, likewise.
        labels: names of the classes; ``class 0``, ``class 1``, … where left out.
        options: further options, which go before those in the name.

    Raises:
        UsageError: the name, an option or a value is unknown or out of range, or the network cannot take such clips.
    """
    if not 1 <= num_classes <= _MAX_CLASSES:
        msg = f"num_classes must lie in [1, {_MAX_CLASSES}], got {num_classes}"
        raise UsageError(msg)
    classes = tuple(labels) if labels is not None else numbered_classes(num_classes)
    if len(classes) != num_classes:
        msg = f"labels must name {num_classes} classes, got {len(classes)}"
        raise UsageError(msg)
    request = _parse(name, frames=frames, size=size, options=options)
    backbone = _backbone(request, num_classes)
    path = {"tsfp": request.form == "s2tf_", "causal": backbone.is_causal}
    saliency = SaliencyPath(backbone.shapes, **path) if request.form else None
    return VideoNetwork(
        backbone,
        name=request.name,
        spec=request.spec,
        labels=classes,
        saliency=saliency,
        sees_motion=request.options.motion,
    )


def numbered_classes(count: int) -> tuple[str, ...]:
    """What classes are called that nobody has named."""
    return tuple(f"class {index}" for index in range(count))


def default_spec(name: str, *, frames: int | None = None, size: int | None = None) -> ClipSpec:
    """The clips of a network's published recipe, with the frames and size of the arguments or the name's options.

    The short side is scaled to 8/7 of the crop, as 256 is of 224.

    Raises:
        UsageError: the name or an option is unknown, or a value is out of range.
    """
    return _parse(name, frames=frames, size=size, options={}).spec


def _backbone(request: _Request, num_classes: int) -> Backbone:
    architecture = _ARCHITECTURES[request.backbone]
    spec = request.spec
    return architecture.build(
        architecture.variant, options=request.options, frames=spec.frames, size=spec.size, num_classes=num_classes
    )


def _parse(name: str, *, frames: int | None, size: int | None, options: Mapping[str, Any]) -> _Request:
    base, _, query = name.partition("?")
    form, backbone = _split(base)
    architecture = _ARCHITECTURES[backbone]
    given = {"frames": frames, "size": size, **options}
    values = _query(query) | {key: value for key, value in given.items() if value is not None}
    chosen = {key: _whole(key, values.pop(key)) for key in ("frames", "size") if key in values}
    return _Request(
        form=form, backbone=backbone, options=_options(base, architecture, values), spec=_spec(architecture, **chosen)
    )


def _split(base: str) -> tuple[str, str]:
    for form in FORMS:
        if base.startswith(form) and base.removeprefix(form) in _ARCHITECTURES:
            return form, base.removeprefix(form)
    check_kind(base, NETWORK_NAME)
    raise unknown_network(base, list(_ARCHITECTURES))


def _query(query: str) -> dict[str, Any]:
    try:
        return dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
    except ValueError as error:
        msg = f"options must read key=value, joined by &, got {query!r}"
        raise UsageError(msg) from error


def _options(base: str, architecture: _Architecture, values: Mapping[str, Any]) -> BackboneOptions:
    fields = {field.name: field for field in dataclasses.fields(architecture.options)}
    unknown = sorted(set(values) - set(fields))
    if "causal" in unknown:
        msg = (
            f"{base} cannot look back only: it strides in time or attends to all frames at once, so each frame makes a "
            "clip of its own; causal is an option of "
            f"{', '.join(_with_option('causal'))}, each also with ssf_ or s2tf_ before it"
        )
        raise UsageError(msg)
    if unknown:
        msg = f"{base} has no option {', '.join(unknown)}; it has {', '.join([*fields, 'frames', 'size'])}"
        raise UsageError(msg)
    typed = {key: _typed(key, value, type(fields[key].default)) for key, value in values.items()}
    return architecture.options(**typed)


def _with_option(name: str) -> list[str]:
    """The backbones that have an option of that name."""
    return [
        each for each, found in _ARCHITECTURES.items() if any(f.name == name for f in dataclasses.fields(found.options))
    ]


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _typed(key: str, value: Any, kind: type) -> Any:
    if kind is bool and not isinstance(value, bool):
        if str(value).lower() in _SWITCH:
            return _SWITCH[str(value).lower()]
        msg = f"option {key} must be true or false, got {value!r}"
        raise UsageError(msg)
    try:
        return kind(value)
    except (TypeError, ValueError) as error:
        msg = f"option {key} must be of type {kind.__name__}, got {value!r}"
        raise UsageError(msg) from error


def _whole(key: str, value: Any) -> int:
    return int(_typed(key, value, int))


def _spec(architecture: _Architecture, *, frames: int | None = None, size: int | None = None) -> ClipSpec:
    recipe = architecture.recipe
    frames = recipe.frames if frames is None else frames
    size = recipe.size if size is None else size
    return dataclasses.replace(recipe, frames=frames, size=size, resize_short_side=size * 8 // 7)
