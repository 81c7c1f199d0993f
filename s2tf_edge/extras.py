"""Optional packages, imported where they are used and explained where they are missing."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Mapping
from importlib import metadata
from types import ModuleType
from typing import Final

from s2tf_edge.errors import MissingExtraError

__all__ = ["lacking_packages", "pip_line", "require"]

_BEFOREHAND: Final[Mapping[str, Mapping[str, str]]] = {"onnxruntime": {"ORT_DISABLE_TELEMETRY": "1"}}
"""Variables that a package reads when it is imported, by its name: ONNX Runtime tells its makers else that it runs."""
_PACKAGE: Final = "s2tf-edge"
_REQUIREMENT: Final = re.compile(r"(?P<package>[\w.-]+)[^;]*; extra == ['\"](?P<extra>[\w-]+)['\"]")
"""What every machine needs for an extra; what only some need has more conditions."""


def lacking_packages() -> dict[str, list[str]]:
    """By extra: its packages that are not installed, in any version; extras that only put others together are left out.

    What an extra needs on some machines alone does not count.
    """
    lacking: dict[str, list[str]] = {}
    for text in metadata.requires(_PACKAGE) or []:
        found = _REQUIREMENT.fullmatch(text)
        if found is None or found["package"] == _PACKAGE:
            continue
        lacking.setdefault(found["extra"], [])
        if not _is_installed(found["package"]):
            lacking[found["extra"]].append(found["package"])
    return lacking


def _is_installed(package: str) -> bool:
    try:
        metadata.distribution(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def pip_line(extra: str) -> str:
    """What installs an extra of this package."""
    return f"pip install '{_PACKAGE}[{extra}]'"


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Imports an optional package.

    Args:
        module: what to import, such as ``"openvino"``.
        extra: the extra of this package that installs it, such as ``"openvino"``.
        purpose: what needs it, as a noun phrase for the message, such as ``"running OpenVINO artifacts"``.

    Raises:
        MissingExtraError: the package is not installed, or one of its own dependencies is not.
    """
    for name, value in _BEFOREHAND.get(module.partition(".")[0], {}).items():
        os.environ.setdefault(name, value)
    try:
        return importlib.import_module(module)
    except ImportError as error:
        msg = f"{purpose} needs the package '{module}' ({error}); install it with: {pip_line(extra)}"
        raise MissingExtraError(msg) from error
