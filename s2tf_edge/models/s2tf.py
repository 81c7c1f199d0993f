"""A network as everything else sees it: a backbone, the saliency modules where asked for, and what it was built for."""

from __future__ import annotations

import copy
from typing import Final

from torch import Tensor, nn

from s2tf_edge.errors import UsageError
from s2tf_edge.models.blocks import Backbone
from s2tf_edge.models.inference import fold_norms, trim_taps
from s2tf_edge.models.saliency import Saliency, SaliencyPath
from s2tf_edge.spec import ClipSpec

__all__ = ["FORMS", "VideoNetwork"]

FORMS: Final = ("", "ssf_", "s2tf_")
"""What may stand before a backbone's name: plain, with SSF, with SSF and TSFP."""


class VideoNetwork(nn.Module):
    """Maps clips to logits; with SSF or SSF + TSFP, a mask found in the first three stages weighs the last.

    Built by ``create_model`` and ``load_model``. The number of frames is fixed where there is a mask, as fusion takes
    frames as channels; height and width are free but in the inference form.

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
        if self.sees_motion:
            clip = clip - clip.mean(2, keepdim=True)
        maps = self.backbone.forward_stages(clip)
        if self.saliency is None:
            return maps[-1], None
        self._check_stages(maps)
        return maps[-1], self.saliency(maps[:-1])

    def forward_head(self, features: Tensor, saliency: Saliency | None = None) -> Tensor:
        """Logits [N, K] of what ``forward_features`` returned."""
        return self.backbone.forward_head(features, None if saliency is None else saliency.mask)

    def to_inference(self) -> VideoNetwork:
        """A copy in eval mode that gives the same logits for less work, for clips of exactly ``spec``.

        What is edited is in ``s2tf_edge.models.inference``.
        """
        inference = copy.deepcopy(self).eval()
        fold_norms(inference)
        trim_taps(inference, self.spec.input_shape())
        inference.is_inference = True
        return inference.requires_grad_(False)

    def _check(self, clip: Tensor) -> None:
        spec = self.spec
        frames = spec.frames if self.saliency is not None or self.is_inference else "T"
        sides = (spec.size, spec.size) if self.is_inference else ("H", "W")
        wanted = (3, frames, *sides)
        got = tuple(clip.shape[1:])
        if len(got) != 4 or any(isinstance(want, int) and want != have for want, have in zip(wanted, got, strict=True)):
            msg = f"{self.name} takes clips of shape [N, {', '.join(map(str, wanted))}], got {list(clip.shape)}"
            raise UsageError(msg)

    def _check_stages(self, maps: list[Tensor]) -> None:
        declared = [(shape.channels, shape.frames) for shape in self.backbone.shapes]
        found = [tuple(features.shape[1:3]) for features in maps]
        if found != declared:
            msg = f"{self.name} declares stages of (channels, frames) {declared}, its backbone gives {found}"
            raise UsageError(msg)
