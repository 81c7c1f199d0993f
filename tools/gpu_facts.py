"""What a machine has for its GPU: driver, libraries, packages."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
from typing import Any, Final

_LIBRARIES: Final = {
    "driver": ("libcuda.so.1",),
    "NVML": ("libnvidia-ml.so.1",),
    "video decoder": ("libnvcuvid.so.1",),
    "CUDA runtime": ("libcudart.so.13", "libcudart.so.12", "libcudart.so"),
    "cuDNN": ("libcudnn.so.9", "libcudnn.so"),
    "TensorRT": ("libnvinfer.so.11", "libnvinfer.so.10", "libnvinfer.so"),
}
"""By what they are: file names, of which the first that loads counts. Packages may bring others of their own."""
_PACKAGES: Final = (
    *("torch", "onnxruntime", "onnxruntime-gpu", "tensorrt", "tensorrt-rtx-cu12-bindings", "cuda-python"),
    *("cuda-bindings", "numpy", "av", "onnx", "onnx-ir", "onnxscript", "lightning", "nncf", "openvino", "pytest"),
)
_QUERY: Final = "name,driver_version,memory.total,compute_cap"
_PYTORCH: Final = "import torch; print(torch.version.cuda or 'none', torch.cuda.is_available())"
_ORT: Final = "import onnxruntime; print(*onnxruntime.get_available_providers())"
_VERSIONS: Final = f"""
from importlib import metadata
for name in {_PACKAGES!r}:
    if any(metadata.distributions(name=name)):
        print(name, metadata.version(name))
"""
_SLOW_SECONDS: Final = 90


def find_facts(env: dict[str, str]) -> dict[str, Any]:
    """All of it, as plain JSON values; what is not there is None.

    Args:
        env: variables of the processes that look at packages.
    """
    found = dict(line.split() for line in _ask(_VERSIONS, env).splitlines())
    return {
        "python": sys.version.split()[0],
        "gpu": _ask_smi(),
        "gpus": count_gpus(),
        "libraries": {what: _first_that_loads(names) for what, names in _LIBRARIES.items()},
        "packages": found,
        "pytorch_cuda": _ask(_PYTORCH, env) or None,
        "onnxruntime_providers": _ask(_ORT, env) or None,
    }


def count_gpus() -> int:
    """NVIDIA's, as the driver counts them; 0 without one."""
    try:
        cuda = ctypes.CDLL(_LIBRARIES["driver"][0])
    except OSError:
        return 0
    count = ctypes.c_int()
    return count.value if not cuda.cuInit(0) and not cuda.cuDeviceGetCount(ctypes.byref(count)) else 0


def _first_that_loads(names: tuple[str, ...]) -> str | None:
    for name in names:
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return name
    return None


def _ask_smi() -> str | None:
    if shutil.which("nvidia-smi") is None:
        return None
    words = ["nvidia-smi", f"--query-gpu={_QUERY}", "--format=csv,noheader"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=_SLOW_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def _ask(code: str, env: dict[str, str]) -> str:
    """What a few lines of Python print, in a process of their own: some packages crash where they do not fit."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=_SLOW_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
