"""Batch norms need two values of a channel or more: one clip of a step may leave them a single one."""

from __future__ import annotations

import copy

import torch

from s2tf_edge.errors import UsageError
from s2tf_edge.models import VideoNetwork
from s2tf_edge.training.config import TrainConfig
from s2tf_edge.training.optimization.freezing import find_frozen_norms

__all__ = ["check_clips_of_step"]


def check_clips_of_step(network: VideoNetwork, config: TrainConfig, *, clips: int) -> None:
    """Looks whether batches are large enough for the norms of a network.

    Args:
        network: as it is trained, with frozen weights; it stays as it is.
        config: the batches.
        clips: of an epoch, on each process: they may be fewer than a batch.

    Raises:
        UsageError: a norm would get one value of a channel, whose variance is nothing.
    """
    if min(config.batch_size, clips) > 1:
        return
    # On "meta" nothing is computed but shapes.
    alone = copy.deepcopy(network).to("meta").train()
    for name in find_frozen_norms(network):
        alone.get_submodule(name).eval()
    try:
        alone(torch.empty(network.spec.input_shape(), device="meta"))
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        size = f"{network.spec.frames} frames of {network.spec.size}x{network.spec.size}"
        more = "a `batch_size` of 2 or more" if config.batch_size == 1 else "more videos or `clips_per_video`"
        msg = (
            f"a step is one clip of {size}, which leaves norms of {network.name} one value of a channel, and they need "
            f"two or more to train; give {more}, or larger clips"
        )
        raise UsageError(msg) from error
    except RuntimeError:
        # A network of the user's own may look at values; its first step shows.
        return
