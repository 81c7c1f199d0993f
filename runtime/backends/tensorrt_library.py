"""TensorRT and TensorRT-RTX: one way to load either, and to hear what it says.

Both have the same Python API. ``trt`` is the module ``tensorrt`` (10 and 11), installed by pip or by JetPack.
``trt-rtx`` is TensorRT-RTX, which builds engines without a GPU. Its bindings and its libraries are two packages: the
libraries come with ONNX Runtime's provider, under file names that the bindings do not ask for. What is already loaded
is found by the name inside it, so that loading them by their paths first is enough: no link, no LD_LIBRARY_PATH.
"""

from __future__ import annotations

import ctypes
import importlib.util
import logging
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from s2tf_edge.errors import MissingExtraError, UnsupportedError, UsageError
from s2tf_edge.extras import require
from s2tf_edge.runtime.backends.cuda_memory import load_cuda
from s2tf_edge.words import one_line

__all__ = ["EXTRAS", "EngineLog", "TensorRt", "drop_noise", "has_gpu", "load_tensorrt"]

logger = logging.getLogger(__name__)

EXTRAS: Final = {"trt": "tensorrt", "trt-rtx": "trt-rtx"}
"""The extra of this package that installs each target's library."""
_NAMES: Final = {"trt": "TensorRT", "trt-rtx": "TensorRT-RTX"}
_RTX_PACKAGES: Final = {
    "tensorrt-rtx-cu12-bindings": "onnxruntime-ep-nv-tensorrt-rtx-cu12",
    "tensorrt-rtx-cu13-bindings": "onnxruntime-ep-nv-tensorrt-rtx-cu13",
}
"""Packages of bindings, and those that hold their libraries."""
_RTX_LIBRARIES: Final = ("libtensorrt_rtx.so.", "libtensorrt_onnxparser_rtx.so.")
"""Beginnings of file names, in the order in which they are loaded."""
_CUDA_NOISE: Final = "[checkMacros.cpp::catchCudaError"
"""TensorRT-RTX follows every error with one that says that there is no GPU, whether or not it wanted one."""
_PIP_LINE: Final = "install it with: pip install 's2tf-edge[trt-rtx]'"


@dataclass(frozen=True, kw_only=True)
class TensorRt:
    """A loaded library."""

    module: Any
    """``tensorrt`` or a module with the same API."""
    target: str
    """trt or trt-rtx."""

    @property
    def name(self) -> str:
        """As its vendor spells it."""
        return _NAMES[self.target]

    @property
    def version(self) -> str:
        """Such as 10.3.0 or 1.7.1.116."""
        return str(self.module.__version__)

    @property
    def is_rtx(self) -> bool:
        """Whether it is TensorRT-RTX, whose engines are portable and finished on the GPU that runs them."""
        return self.target == "trt-rtx"

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def load_tensorrt(target: str, *, purpose: str) -> TensorRt:
    """Loads the library of a target.

    Args:
        target: trt or trt-rtx.
        purpose: what needs it, as a noun phrase for the message.

    Raises:
        MissingExtraError: it is not installed, or its parts do not fit together.
        UsageError: ``target`` is neither.
    """
    if target not in EXTRAS:
        msg = f"target must be {' or '.join(EXTRAS)}, got {target!r}"
        raise UsageError(msg)
    module = _load_rtx(purpose) if target == "trt-rtx" else require("tensorrt", extra=EXTRAS[target], purpose=purpose)
    library = TensorRt(module=module, target=target)
    logger.debug("loaded %s", library)
    return library


def has_gpu() -> bool:
    """Whether there is an NVIDIA GPU here, with a driver and the bindings that reach it."""
    try:
        load_cuda(extra=EXTRAS["trt"], purpose="looking for a GPU").find_gpu()
    except (MissingExtraError, UnsupportedError):
        return False
    return True


class EngineLog:
    """What the library says while it works: errors are kept for messages, the rest goes to this module's log.

    The library holds on to ``listener`` for as long as any of its objects lives; keep this object beside them.
    """

    def __init__(self, library: TensorRt) -> None:
        self.errors: list[str] = []
        """Oldest first."""
        self.listener: Any = _listener(library.module, self._take)
        """What the library's constructors take as their logger."""
        self._name = library.name

    @property
    def last_error(self) -> str:
        """The last error on one line; says so where there is none."""
        telling = [text for text in self.errors if not text.startswith(_CUDA_NOISE)] or self.errors
        return drop_noise(telling[-1]) if telling else f"{self._name} gave no reason"

    def _take(self, severity: str, message: str) -> None:
        if severity in {"ERROR", "INTERNAL_ERROR"}:
            self.errors.append(message)
        # Thousands of lines about single kernels are of use to nobody but the library's authors.
        if severity != "VERBOSE":
            logger.debug("%s: %s", self._name, message)


def _listener(module: Any, take: Callable[[str, str], None]) -> Any:
    """An object of the library's own class, which Python knows only once the library is loaded."""

    class Listener(module.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            # Bindings made by pybind11 insist on their own constructor: super() would skip it.
            module.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            take(severity.name, message)

    return Listener()


def drop_noise(text: str) -> str:
    """What the library says, without the lines that only say that there is no GPU, unless it says nothing else."""
    lines = text.splitlines()
    return one_line(" ".join([line for line in lines if not line.startswith(_CUDA_NOISE)] or lines))


def _load_rtx(purpose: str) -> ModuleType:
    extra = EXTRAS["trt-rtx"]
    # NVIDIA's own package finds its libraries by itself.
    if importlib.util.find_spec("tensorrt_rtx") is not None:
        return require("tensorrt_rtx", extra=extra, purpose=purpose)
    for bindings, libraries in _RTX_PACKAGES.items():
        if (distribution := _installed(bindings)) is not None:
            _preload(libraries, version=distribution.version, purpose=purpose)
    return require("tensorrt_rtx_bindings", extra=extra, purpose=purpose)


def _preload(package: str, *, version: str, purpose: str) -> None:
    """Loads the libraries for bindings of ``version``; leaves it to the system's where the package is not there."""
    distribution = _installed(package)
    files = (distribution.files if distribution else None) or []
    for beginning in _RTX_LIBRARIES:
        for path in (Path(str(file.locate())) for file in files if file.name.startswith(beginning)):
            _check_version(path, version=version, purpose=purpose)
            _load_library(path, purpose=purpose)


def _check_version(path: Path, *, version: str, purpose: str) -> None:
    """Bindings of one version over libraries of another would crash the process."""
    if not f"{version}.".startswith(path.name.rpartition(".so.")[2] + "."):
        msg = f"{purpose} needs TensorRT-RTX in one version, got bindings {version} and {path.name}; {_PIP_LINE}"
        raise MissingExtraError(msg)


def _load_library(path: Path, *, purpose: str) -> None:
    try:
        ctypes.CDLL(str(path))
    except OSError as error:
        msg = f"{purpose} needs {path.name}, which does not load ({error}); {_PIP_LINE}"
        raise MissingExtraError(msg) from error


def _installed(package: str) -> metadata.Distribution | None:
    try:
        return metadata.distribution(package)
    except metadata.PackageNotFoundError:
        return None
