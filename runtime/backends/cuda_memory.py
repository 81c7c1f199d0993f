"""NVIDIA's CUDA runtime through ``cuda-python``: the GPU, a stream, and memory on both sides of the bus."""

from __future__ import annotations

import ctypes
import importlib
import logging
import weakref
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

from s2tf_edge.errors import MissingExtraError, UnsupportedError
from s2tf_edge.words import counted

__all__ = ["CudaBuffer", "CudaRuntime", "CudaSlice", "Gpu", "load_cuda"]

logger = logging.getLogger(__name__)

_MODULES: Final = ("cuda.bindings.runtime", "cuda.cudart")
"""Where the bindings are: since cuda-python 12.6, and before, as with JetPack 6."""


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """An NVIDIA GPU: its name, and what it can run."""

    index: int
    name: str
    compute_capability: str
    """Such as 8.7."""


class CudaRuntime:
    """The calls that running an engine takes, each checked."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def call(self, function: str, *arguments: Any) -> Any:
        """Calls a function of the CUDA runtime.

        Returns:
            What it returns beside its status: nothing, one value, or a tuple.

        Raises:
            UnsupportedError: the status is not success.
        """
        status, *values = getattr(self._module, function)(*arguments)
        if int(status):
            msg = f"{function} failed: {self._text(status)}; free the GPU's memory, or check its driver with nvidia-smi"
            raise UnsupportedError(msg)
        return values[0] if len(values) == 1 else tuple(values)

    def release(self, function: str, handle: Any) -> None:
        """Frees something; a GPU that has failed fails here too, which is not to hide what failed first."""
        status, *_ = getattr(self._module, function)(handle)
        if int(status):
            logger.debug("%s failed: %s", function, self._text(status))

    def kind(self, name: str) -> Any:
        """A direction of copying, such as ``cudaMemcpyHostToDevice``."""
        return getattr(self._module.cudaMemcpyKind, name)

    def find_gpu(self, index: int = 0) -> Gpu:
        """GPU ``index`` of this machine.

        Raises:
            UnsupportedError: there is no such GPU, or no driver.
        """
        status, *found = self._module.cudaGetDeviceCount()
        count = 0 if int(status) else found[0]
        if index >= count:
            reason = f" ({self._text(status)})" if int(status) else ""
            there = counted(count, "NVIDIA GPU") if count else "no NVIDIA GPU"
            msg = f"there is {there} here{reason}, GPU {index} was asked for; run it where there is one"
            raise UnsupportedError(msg)
        properties = self.call("cudaGetDeviceProperties", index)
        return Gpu(
            index=index,
            name=properties.name.decode(errors="replace").strip("\0 "),
            compute_capability=f"{properties.major}.{properties.minor}",
        )

    def _text(self, status: Any) -> str:
        _, text = self._module.cudaGetErrorString(status)
        return str(text.decode(errors="replace"))


class CudaBuffer:
    """Memory for one tensor: page-locked on the host, which copies fastest, and on the GPU."""

    def __init__(self, cuda: CudaRuntime, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self._cuda = cuda
        self._bytes_per_row = int(np.prod(shape[1:])) * np.dtype(dtype).itemsize
        size_bytes = shape[0] * self._bytes_per_row
        self.device: int = int(cuda.call("cudaMalloc", size_bytes))
        """Address on the GPU."""
        try:
            self._address = int(cuda.call("cudaMallocHost", size_bytes))
        except UnsupportedError:
            cuda.release("cudaFree", self.device)
            raise
        memory = (ctypes.c_byte * size_bytes).from_address(self._address)
        self.host: NDArray[Any] = np.ctypeslib.as_array(memory).view(dtype).reshape(shape)
        """The host's side; not to be used after ``free``."""

    def upload(self, rows: int, *, stream: Any) -> None:
        """Begins to copy the first rows to the GPU."""
        kind = self._cuda.kind("cudaMemcpyHostToDevice")
        self._cuda.call("cudaMemcpyAsync", self.device, self._address, rows * self._bytes_per_row, kind, stream)

    def download(self, rows: int, *, stream: Any) -> None:
        """Begins to copy the first rows from the GPU."""
        kind = self._cuda.kind("cudaMemcpyDeviceToHost")
        self._cuda.call("cudaMemcpyAsync", self._address, self.device, rows * self._bytes_per_row, kind, stream)

    def free(self) -> None:
        """Gives both sides back."""
        self._cuda.release("cudaFreeHost", self._address)
        self._cuda.release("cudaFree", self.device)


class CudaSlice:
    """Memory on the GPU for a slice of a state, which no host looks at; given back with the object."""

    def __init__(self, cuda: CudaRuntime, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self._cuda = cuda
        self._rows, self._bytes_per_row = shape[0], int(np.prod(shape[1:])) * np.dtype(dtype).itemsize
        self.handle: int = int(cuda.call("cudaMalloc", self._rows * self._bytes_per_row))
        """Its address."""
        weakref.finalize(self, cuda.release, "cudaFree", self.handle)

    def clear(self, stream: int | None) -> None:
        """Fills it with zeros, for one of the streams of video or for all."""
        start, rows = (0, self._rows) if stream is None else (stream, 1)
        self._cuda.call("cudaMemset", self.handle + start * self._bytes_per_row, 0, rows * self._bytes_per_row)


def load_cuda(*, extra: str, purpose: str) -> CudaRuntime:
    """Loads the CUDA runtime's bindings.

    Args:
        extra: the extra of this package that installs them.
        purpose: what needs them, as a noun phrase for the message.

    Raises:
        MissingExtraError: ``cuda-python`` is not installed.
    """
    module = next(filter(None, map(_import, _MODULES)), None)
    if module is None:
        msg = f"{purpose} needs the package 'cuda-python'; install it with: pip install 's2tf-edge[{extra}]'"
        raise MissingExtraError(msg)
    return CudaRuntime(module)


def _import(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None
