"""Optional packages, imported where they are used and explained where they are missing."""

from __future__ import annotations

import importlib
from types import ModuleType

from s2tf_edge.errors import MissingExtraError

__all__ = ["require"]


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Imports an optional package.

    Args:
        module: what to import, such as ``"openvino"``.
        extra: the extra of this package that installs it, such as ``"openvino"``.
        purpose: what needs it, as a noun phrase for the message, such as ``"running OpenVINO artifacts"``.

    Raises:
        MissingExtraError: the package is not installed, or one of its own dependencies is not.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        msg = f"{purpose} needs the package '{module}' ({error}); install it with: pip install 's2tf-edge[{extra}]'"
        raise MissingExtraError(msg) from error
