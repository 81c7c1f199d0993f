"""Imports OpenVINO and NNCF without the telemetry that both start when they are imported.

By default ``import openvino`` writes an identifier into the user's home and reports the import to its makers over the
network. Their packages offer two ways out: a file in the home, which is the user's to write, and variables that say
that a build machine runs them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Final

from s2tf_edge.extras import require

__all__ = ["require_without_telemetry"]

_NO_TELEMETRY: Final = {"CI": "true", "NNCF_CI": "1"}


def require_without_telemetry(module: str, *, extra: str, purpose: str) -> ModuleType:
    """``s2tf_edge.extras.require`` for packages of the OpenVINO family.

    Raises:
        MissingExtraError: the package is not installed.
    """
    with _environment_of_a_build_machine():
        return require(module, extra=extra, purpose=purpose)


@contextmanager
def _environment_of_a_build_machine() -> Iterator[None]:
    before = {name: os.environ[name] for name in _NO_TELEMETRY if name in os.environ}
    os.environ.update(_NO_TELEMETRY)
    try:
        yield
    finally:
        for name in _NO_TELEMETRY:
            del os.environ[name]
        os.environ.update(before)
