"""What ``s2tf-doctor`` finds out: the machine, its runtimes, what runs and is exported here, what may go wrong."""

from __future__ import annotations

import dataclasses
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from s2tf_edge.cli.probing import RuntimeState, probe_runtimes

if TYPE_CHECKING:
    from s2tf_edge.runtime.hardware import Cores

__all__ = ["RUNTIMES", "Diagnosis", "KnownRuntime", "diagnose", "runnable_targets"]

_GLIBC_OF_ARM: Final = (2, 35)
"""The oldest that OpenVINO's packages for Arm run with, since its version 2025.3."""


@dataclass(frozen=True)
class KnownRuntime:
    """A runtime as people call it."""

    title: str
    extra: str
    """What installs it."""
    target: str
    """What of ``s2tf-export --target`` it runs; model.pt is PyTorch's."""
    package: str
    """What of that extra is the runtime itself."""
    needs_gpu: bool = False
    """Whether it runs nothing without an NVIDIA GPU."""


RUNTIMES: Final[Mapping[str, KnownRuntime]] = {
    "openvino": KnownRuntime("OpenVINO", "openvino", "openvino", "openvino"),
    "onnxruntime": KnownRuntime("ONNX Runtime", "onnxruntime", "onnx", "onnxruntime"),
    "tensorrt": KnownRuntime("TensorRT", "tensorrt", "trt", "tensorrt", needs_gpu=True),
    "tensorrt-rtx": KnownRuntime("TensorRT-RTX", "trt-rtx", "trt-rtx", "tensorrt-rtx-cu12-bindings", needs_gpu=True),
    "torch": KnownRuntime("PyTorch", "train", "model.pt", "torch"),
}
"""By the name of its probe."""


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """All that was found."""

    machine: Mapping[str, Any]
    states: Mapping[str, RuntimeState]
    """By probe, those of CUDA and of video included."""
    lacking: Mapping[str, Sequence[str]]
    """By extra, the packages that are not there."""
    runs: tuple[str, ...]
    """Targets whose artifacts run here, and model.pt."""
    exports: tuple[str, ...]
    """Targets that are exported to and verified here."""
    defers: tuple[str, ...]
    """Targets whose graphs are made here, and whose engines only the device builds."""
    notes: tuple[str, ...]
    """What is known to go wrong on machines like this."""

    @property
    def runs_artifacts(self) -> bool:
        """Whether any does."""
        return any(target != "model.pt" for target in self.runs)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "machine": self.machine,
            "runtimes": {name: dataclasses.asdict(state) for name, state in self.states.items()},
            "lacking": self.lacking,
            "runs": self.runs,
            "exports": self.exports,
            "defers": self.defers,
            "notes": self.notes,
        }


def diagnose() -> Diagnosis:
    """Looks at the machine, and asks every runtime in a process of its own."""
    from s2tf_edge.extras import lacking_packages

    states, lacking = probe_runtimes(), lacking_packages()
    exports = _exports(states, can_export=not lacking.get("export"))
    engines = [known.target for known in RUNTIMES.values() if known.needs_gpu and known.target not in exports]
    return Diagnosis(
        machine=_describe_machine(),
        states=states,
        lacking=lacking,
        runs=runnable_targets(states),
        exports=exports,
        defers=tuple(engines) if "onnx" in exports else (),
        notes=tuple(_notes(states)),
    )


def runnable_targets(states: Mapping[str, RuntimeState]) -> tuple[str, ...]:
    """Targets whose artifacts run here, and model.pt, where PyTorch was asked too."""
    return tuple(known.target for name, known in RUNTIMES.items() if name in states and _can_run(name, states))


def _can_run(name: str, states: Mapping[str, RuntimeState]) -> bool:
    device = states["cuda"] if RUNTIMES[name].needs_gpu else states[name]
    return states[name].works and device.works and bool(device.devices)


def _exports(states: Mapping[str, RuntimeState], *, can_export: bool) -> tuple[str, ...]:
    # PyTorch makes every graph, and ONNX Runtime verifies.
    if not can_export or not (states["torch"].works and states["onnxruntime"].works):
        return ()
    # TensorRT-RTX builds without a GPU.
    builds = {name for name in RUNTIMES if _can_run(name, states)}
    builds |= {"tensorrt-rtx"} if states["tensorrt-rtx"].works else set()
    return tuple(known.target for name, known in RUNTIMES.items() if name in builds - {"torch"})


def _describe_machine() -> dict[str, Any]:
    from s2tf_edge import __version__
    from s2tf_edge.runtime.hardware import find_cores, find_memory, hardware_facts, instruction_sets

    cores, memory = find_cores(), find_memory()
    return {
        "s2tf-edge": __version__,
        "python": platform.python_version(),
        "executable": sys.executable,
        "system": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "libc": " ".join(platform.libc_ver()).strip(),
        "cpu": hardware_facts()["cpu"],
        "cores": dataclasses.asdict(cores) | {"usable": cores.usable},
        "memory_gb": None if memory is None else {"total": round(memory.total, 1), "free": round(memory.free, 1)},
        "instructions": instruction_sets(),
    }


def _notes(states: Mapping[str, RuntimeState]) -> Iterator[str]:
    from s2tf_edge.runtime.hardware import find_cores, is_arm, saturates_int8

    if saturates_int8():
        yield (
            "no VNNI: int8 weights of 8 bits overflow on this processor; an export here takes 7 by itself, one made "
            "elsewhere for this machine needs --weight-bits 7"
        )
    yield from _notes_on_cores(find_cores())
    if is_arm() and states["openvino"].is_installed:
        yield (
            "on Arm, OpenVINO computes 3-D convolutions by its reference kernels, which are slow; measure target onnx "
            "beside it"
        )
    if not states["openvino"].is_installed:
        yield from _notes_on_libc(*platform.libc_ver(), arm=is_arm())
    closed = [each for each in states["video"].facts.get("cameras") or [] if not each["is_allowed"]]
    for camera in closed:
        yield f"no permission to open /dev/video{camera['index']}; add this user to its group, most often video"


def _notes_on_cores(cores: Cores) -> Iterator[str]:
    if cores.quota is not None and cores.quota < cores.allowed:
        yield (
            f"a quota gives this process the time of {cores.quota:g} of {cores.allowed} cores, which runtimes do not "
            f"see; give --threads {max(1, int(cores.quota))}"
        )


def _notes_on_libc(name: str, version: str, *, arm: bool) -> Iterator[str]:
    if sys.platform == "linux" and name != "glibc":
        yield "this system's C library is not glibc: there are no packages of OpenVINO for it"
    elif arm and tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < _GLIBC_OF_ARM:
        wanted = ".".join(map(str, _GLIBC_OF_ARM))
        yield f"glibc {version}: OpenVINO's packages for Arm need {wanted}; use ONNX Runtime, target onnx"
