"""In which type a network is trained where the machine decides."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import torch

from s2tf_edge.errors import UsageError
from s2tf_edge.training.config import TrainConfig

__all__ = ["choose_precision"]

logger = logging.getLogger(__name__)


def choose_precision(config: TrainConfig) -> TrainConfig:
    """``config`` with a precision that this machine has.

    ``auto`` becomes bfloat16 where the machine computes in it, float32 elsewhere; what was asked for by name stays.

    Raises:
        UsageError: float16 is asked for, and there is no GPU to compute in it.
    """
    if config.precision == "16-mixed" and not torch.cuda.is_available():
        msg = "`precision='16-mixed'` needs a GPU, and there is none; give `precision='bf16-mixed'`, auto or fp32"
        raise UsageError(msg)
    if config.precision != "auto":
        return config
    chosen = "bf16-mixed" if _computes_in_bfloat16() else "fp32"
    logger.info("precision %s: %s", chosen, "this machine computes in it" if chosen != "fp32" else "no bfloat16 here")
    return dataclasses.replace(config, precision=chosen)


def _computes_in_bfloat16() -> bool:
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if torch.accelerator.is_available():
        return False
    found: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # of torch 2.10 and later
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))
