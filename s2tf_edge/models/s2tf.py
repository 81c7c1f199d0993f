"""A network as everything else sees it: a backbone, the saliency modules where asked for, and what it was built for."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Final

from torch import Tensor, nn

from s2tf_edge.errors import UsageError
from s2tf_edge.models.blocks import Backbone
from s2tf_edge.models.causal import (
    ClipMean,
    LastFrames,
    SlidingMean,
    count_past,
    find_past_shapes,
    find_pasts,
    remembering,
)
from s2tf_edge.models.inference import fold_norms, trim_taps
from s2tf_edge.models.saliency import Saliency, SaliencyPath
from s2tf_edge.spec import ClipSpec

__all__ = ["FORMS", "VideoNetwork"]

FORMS: Final = ("", "ssf_", "s2tf_")
"""What may stand before a backbone's name: plain, with SSF, with SSF and TSFP."""


class VideoNetwork(nn.Module):
    """Maps clips to logits; with SSF or SSF + TSFP, a mask found in the first three stages weighs the last.

    Built by ``create_model`` and ``load_model``. The number of frames is fixed where there is a mask, as fusion takes
    frames as channels; height and width are free but in the inference form. A causal network takes clips of ``spec`` or
    longer ones, and classifies their last ``spec.frames`` frames; ``step`` gives the same for less, frame by frame.

    Attributes:
        name: registered name with its options, such as ``s2tf_r3d_10?width=0.25``.
        spec: the clips that the network was built for; training may replace all but ``frames``.
        labels: one name a class.
        sees_motion: whether the mean picture of a clip is taken from its frames before the backbone sees them.
        is_inference: whether ``to_inference`` made it.
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        name: str,
        spec: ClipSpec,
        labels: tuple[str, ...],
        saliency: SaliencyPath | None,
        sees_motion: bool = False,
    ) -> None:
        super().__init__()
        self.name = name
        self.spec = spec
        self.labels = labels
        self.backbone = backbone
        self.saliency = saliency
        self.sees_motion = sees_motion
        self.is_inference = False
        self.motion_mean: nn.Module | None = None
        if sees_motion:
            self.motion_mean = SlidingMean(spec.frames) if backbone.is_causal else ClipMean()
        self.window: nn.Module = LastFrames(spec.frames) if backbone.is_causal else nn.Identity()
        self._past_shapes: dict[tuple[int, int], dict[str, tuple[int, ...]]] = {}

    @property
    def num_classes(self) -> int:
        """Number of classes (K)."""
        return len(self.labels)

    def forward(self, clip: Tensor, return_saliency: bool = False) -> Tensor | tuple[Tensor, Saliency | None]:
        """Classifies clips.

        Args:
            clip: float32 [N, 3, T, H, W], normalized as ``spec`` says.
            return_saliency: also return what the saliency modules found, None for a plain backbone.

        Returns:
            Logits [N, K], before softmax; or a pair of them and the saliency.

        Raises:
            UsageError: ``clip`` has another shape.
        """
        features, saliency = self.forward_features(clip)
        logits = self.forward_head(features, saliency)
        return (logits, saliency) if return_saliency else logits

    def forward_features(self, clip: Tensor) -> tuple[Tensor, Saliency | None]:
        """The last feature map F4 [N, C4, T4, H4, W4], not yet weighed, and the saliency.

        Raises:
            UsageError: ``clip`` has another shape than the network takes, or the backbone's stages have others than it
                declares.
        """
        self._check(clip)
        return self._find_features(clip)

    def forward_head(self, features: Tensor, saliency: Saliency | None = None) -> Tensor:
        """Logits [N, K] of what ``forward_features`` returned."""
        return self.backbone.forward_head(features, None if saliency is None else saliency.mask)

    @property
    def is_causal(self) -> bool:
        """Whether it looks back only, so that it can step."""
        return self.backbone.is_causal

    @property
    def receptive_field(self) -> int:
        """How many frames decide on a prediction of a causal network: so long the past is felt.

        Raises:
            UsageError: the network is not causal.
        """
        self._check_causal()
        reach, mask = count_past(self.backbone.stem), 0
        for index, stage in enumerate(self.backbone.stages):
            reach += count_past(stage)
            if self.saliency is not None and index < len(self.saliency.miners):
                mask = max(mask, reach + count_past(self.saliency.miners[index]))
        motion = self.spec.frames - 1 if self.sees_motion else 0
        return 1 + motion + max(reach, mask) + self.spec.frames - 1

    @property
    def warm_up(self) -> int:
        """Frames after a fresh start until there is a prediction of a causal network: until its windows are full.

        Raises:
            UsageError: the network is not causal.
        """
        self._check_causal()
        return self.spec.frames

    def start_state(self, batch: int = 1, *, size: tuple[int, int] | None = None) -> dict[str, Tensor]:
        """What a causal network knows before the first frame: zeros, on its device and in its dtype.

        Args:
            batch: streams that are seen side by side (N).
            size: height and width of frames; those of ``spec`` where left out.

        Returns:
            By layer, the past of its input [N, C, taps - 1, H, W], the latest last.

        Raises:
            UsageError: the network is not causal.
        """
        self._check_causal()
        shapes = self._state_shapes(batch, size or (self.spec.size, self.spec.size))
        like = next(self.parameters())
        return {name: like.new_zeros(shape) for name, shape in shapes.items()}

    def step(self, frames: Tensor, state: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Goes on by some frames of each stream: what ``forward`` says of a clip that ends with them.

        Nothing of the network changes; who steps holds the state, and may keep it, or go back to it.

        Args:
            frames: float32 [N, 3, h, H, W], the next ones, normalized as ``spec`` says.
            state: what ``start_state`` or the step before gave; it stays as it is.

        Returns:
            Logits [N, K], of worth from the ``warm_up``-th frame on, and the next state.

        Raises:
            UsageError: the network is not causal, or frames or state have another shape than they should.
        """
        logits, _, after = self.step_with_saliency(frames, state)
        return logits, after

    def step_with_saliency(
        self, frames: Tensor, state: Mapping[str, Tensor]
    ) -> tuple[Tensor, Saliency | None, dict[str, Tensor]]:
        """``step``, with what the saliency path found between its two results."""
        self._check_causal()
        pasts = find_pasts(self)
        self._check_step(frames, state)
        with remembering({past: state[name] for name, past in pasts.items()}) as after:
            features, saliency = self._find_features(frames)
            logits = self.forward_head(features, saliency)
        return logits, saliency, {name: after[past] for name, past in pasts.items()}

    def to_inference(self) -> VideoNetwork:
        """A copy in eval mode that gives the same logits for less work, for clips of exactly ``spec``.

        What is edited is in ``s2tf_edge.models.inference``.
        """
        inference = copy.deepcopy(self).eval()
        fold_norms(inference)
        trim_taps(inference, self.spec.input_shape())
        inference.is_inference = True
        return inference.requires_grad_(False)

    def _find_features(self, clip: Tensor) -> tuple[Tensor, Saliency | None]:
        if self.motion_mean is not None:
            clip = clip - self.motion_mean(clip)
        maps = self.backbone.forward_stages(clip)
        features = self.window(maps[-1])
        if self.saliency is None:
            return features, None
        self._check_stages(maps, frames=clip.shape[2])
        return features, self.saliency(maps[:-1])

    def _check_causal(self) -> None:
        if not self.is_causal:
            msg = f"{self.name} sees whole clips and cannot step; build it with causal=true, where it has that option"
            raise UsageError(msg)

    def _check_step(self, frames: Tensor, state: Mapping[str, Tensor]) -> None:
        if frames.ndim != 5 or frames.shape[1] != 3 or not frames.shape[2]:
            msg = f"{self.name} steps by frames of shape [N, 3, h, H, W], got {list(frames.shape)}"
            raise UsageError(msg)
        wanted = self._state_shapes(len(frames), (frames.shape[3], frames.shape[4]))
        got = {name: tuple(past.shape) for name, past in state.items()}
        if got != wanted:
            name = min(name for name in got.keys() | wanted.keys() if got.get(name) != wanted.get(name))
            msg = (
                f"the state is not one of {self.name} for frames of shape {list(frames.shape)}: {name} must be "
                f"{list(wanted.get(name, ()))}, got {list(got.get(name, ()))}; begin with start_state"
            )
            raise UsageError(msg)

    def _state_shapes(self, batch: int, size: tuple[int, int]) -> dict[str, tuple[int, ...]]:
        if size not in self._past_shapes:
            self._past_shapes[size] = find_past_shapes(self, (self.spec.frames, *size))
        return {name: (batch, *shape) for name, shape in self._past_shapes[size].items()}

    def _check(self, clip: Tensor) -> None:
        spec = self.spec
        is_fixed = self.saliency is not None or self.is_inference
        frames = f"{spec.frames} or more" if self.is_causal else spec.frames if is_fixed else "T"
        sides = (spec.size, spec.size) if self.is_inference else ("H", "W")
        wanted = (3, frames, *sides)
        got = tuple(clip.shape[1:])
        is_other = len(got) != 4 or any(
            isinstance(want, int) and want != have for want, have in zip(wanted, got, strict=True)
        )
        if is_other or (self.is_causal and got[1] < spec.frames):
            msg = f"{self.name} takes clips of shape [N, {', '.join(map(str, wanted))}], got {list(clip.shape)}"
            raise UsageError(msg)

    def _check_stages(self, maps: list[Tensor], *, frames: int) -> None:
        declared = [(shape.channels, frames if self.is_causal else shape.frames) for shape in self.backbone.shapes]
        found = [tuple(features.shape[1:3]) for features in maps]
        if found != declared:
            msg = f"{self.name} declares stages of (channels, frames) {declared}, its backbone gives {found}"
            raise UsageError(msg)
