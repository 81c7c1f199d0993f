"""What each runtime says of itself on this machine.

``main`` is run in a process of its own (see ``probing``), as a library that does not fit the machine may end the
process that loads it. A line of JSON goes to stdout as soon as something is known, so that what was known before a
crash is not lost.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from s2tf_edge.errors import MissingExtraError, UnsupportedError
from s2tf_edge.words import json_text, one_line

__all__ = ["BROKEN", "DEVICES", "FACTS", "INSTALLED", "LACKS", "PROBES", "STEP", "VERSION", "Probe", "main"]

VERSION: Final = "version"
DEVICES: Final = "devices"
"""What it can run on."""
LACKS: Final = "lacks"
"""Why there is no device."""
FACTS: Final = "facts"
STEP: Final = "step"
"""What goes on now."""
INSTALLED: Final = "installed"
BROKEN: Final = "broken"
"""What is wrong with it."""

_Tell = Callable[[Mapping[str, Any]], None]
_PURPOSE: Final = "looking at it"


def _torch(tell: _Tell) -> None:
    from s2tf_edge.extras import require

    torch: Any = require("torch", extra="train", purpose=_PURPOSE)
    tell({VERSION: str(torch.__version__), STEP: "listing its devices"})
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    tell({DEVICES: ["CPU", *gpus]})


def _onnxruntime(tell: _Tell) -> None:
    from s2tf_edge.extras import require

    runtime: Any = require("onnxruntime", extra="onnxruntime", purpose=_PURPOSE)
    tell({VERSION: str(runtime.__version__), STEP: "listing its providers"})
    names = [name.removesuffix("ExecutionProvider") for name in runtime.get_available_providers()]
    # Azure runs networks elsewhere.
    tell({DEVICES: [name for name in names if name != "Azure"]})


def _openvino(tell: _Tell) -> None:
    from s2tf_edge.runtime.backends.telemetry import require_without_telemetry

    openvino: Any = require_without_telemetry("openvino", extra="openvino", purpose=_PURPOSE)
    tell({VERSION: str(openvino.__version__).partition("-")[0], STEP: "listing its devices"})
    core = openvino.Core()
    names = {device: core.get_property(device, "FULL_DEVICE_NAME") for device in core.available_devices}
    tell({DEVICES: [device if device == "CPU" else f"{device} ({name})" for device, name in names.items()]})


def _tensorrt(tell: _Tell) -> None:
    _load_engine_library("trt", tell)


def _tensorrt_rtx(tell: _Tell) -> None:
    _load_engine_library("trt-rtx", tell)


def _load_engine_library(target: str, tell: _Tell) -> None:
    from s2tf_edge.runtime.backends.tensorrt_library import load_tensorrt

    tell({VERSION: load_tensorrt(target, purpose=_PURPOSE).version})


def _cuda(tell: _Tell) -> None:
    from s2tf_edge.runtime.backends.cuda_memory import load_cuda

    cuda = load_cuda(extra="tensorrt", purpose=_PURPOSE)
    tell({STEP: "looking for a GPU"})
    try:
        gpu = cuda.find_gpu()
    except UnsupportedError as error:
        # The rest is what to do where one was asked for.
        tell({LACKS: one_line(error).removeprefix("there is ").partition(", GPU ")[0]})
        return
    tell({DEVICES: [f"{gpu.name}, compute capability {gpu.compute_capability}"]})


def _video(tell: _Tell) -> None:
    import av

    tell({VERSION: str(av.__version__), FACTS: {"ffmpeg": av.ffmpeg_version_info}, STEP: "listing cameras"})
    from s2tf_edge.runtime.sources.cameras import find_cameras

    cameras = find_cameras()
    told = None if cameras is None else [dataclasses.asdict(each) for each in cameras]
    tell({FACTS: {"cameras": told}, STEP: "trying hardware decoders"})
    from s2tf_edge.runtime.sources.hardware_decoding import working_hwaccels

    tell({DEVICES: working_hwaccels()})


@dataclass(frozen=True)
class Probe:
    """How a runtime is asked."""

    ask: Callable[[_Tell], None]
    modules: tuple[str, ...]
    """Any of them is the package."""

    def is_installed(self) -> bool:
        """Whether the package is there; nothing is imported but what a module lies in."""
        return any(map(_is_there, self.modules))


PROBES: Final[Mapping[str, Probe]] = {
    "openvino": Probe(_openvino, ("openvino",)),
    "onnxruntime": Probe(_onnxruntime, ("onnxruntime",)),
    "torch": Probe(_torch, ("torch",)),
    "tensorrt": Probe(_tensorrt, ("tensorrt",)),
    "tensorrt-rtx": Probe(_tensorrt_rtx, ("tensorrt_rtx", "tensorrt_rtx_bindings")),
    "cuda": Probe(_cuda, ("cuda.bindings", "cuda.cudart")),
    "video": Probe(_video, ("av",)),
}


def main() -> None:
    """Asks the runtime that the command line names."""
    # Whatever a library prints is not what is asked for here.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def tell(facts: Mapping[str, Any]) -> None:
        answers.write(json_text(facts) + "\n")
        answers.flush()

    probe = PROBES[sys.argv[1]]
    tell({INSTALLED: probe.is_installed(), STEP: "importing it"})
    if not probe.is_installed():
        return
    try:
        probe.ask(tell)
    except Exception as error:
        # What a user of the runtime would be told is what was wrong, and not how to install it.
        told = error.__cause__ if isinstance(error, MissingExtraError) and error.__cause__ else error
        tell({BROKEN: one_line(f"{type(told).__name__}: {told}")})


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False
