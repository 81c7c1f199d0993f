"""NVIDIA's management library, NVML: which GPUs there are, and the energy that they took."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["Nvml"]


class Nvml:
    """The GPUs that the driver shows, all of them: it knows nothing of CUDA_VISIBLE_DEVICES."""

    def __init__(self, module: Any) -> None:
        """Takes the module ``pynvml``.

        Raises:
            module.NVMLError: there is no driver.
        """
        module.nvmlInit()
        self._module = module
        self._handles = [module.nvmlDeviceGetHandleByIndex(index) for index in range(module.nvmlDeviceGetCount())]

    @classmethod
    def find(cls) -> Nvml | None:
        """That of this machine; None without a driver, without a GPU or without the package ``nvidia-ml-py``."""
        try:
            module: Any = importlib.import_module("pynvml")
        except ImportError:
            return None
        try:
            found = cls(module)
        except module.NVMLError:
            return None
        return found if found._handles else None

    @property
    def driver(self) -> str:
        """Its version."""
        return str(self._module.nvmlSystemGetDriverVersion())

    @property
    def names(self) -> tuple[str, ...]:
        """Of all GPUs, such as NVIDIA H200."""
        return tuple(str(self._module.nvmlDeviceGetName(handle)) for handle in self._handles)

    def read_joules(self) -> float | None:
        """What all GPUs took since the driver was loaded; None where one of them does not count, as before Volta."""
        try:
            millijoules = [self._module.nvmlDeviceGetTotalEnergyConsumption(handle) for handle in self._handles]
        except self._module.NVMLError:
            return None
        return float(sum(millijoules)) / 1000
