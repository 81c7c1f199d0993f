"""The loss of S2TF-Net: cross-entropy, a sparse mask, and edge maps that agree with what they preserve.

    CE(logits, y) + λ · ‖mask‖₁ + γ · mean((P1 - E1)²) + θ · mean((P2 - E2)²)

``CE``, ``CE_L1`` and ``CE_L1_L2`` in the authors' release. The norm is a sum over all clips and positions, not a mean:
where gradients are averaged over several batches, of as many processes, ``batches`` makes it the sum over all of them.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from s2tf_edge.errors import UsageError
from s2tf_edge.models.saliency import Saliency

__all__ = ["S2TFLoss"]


class S2TFLoss(nn.Module):
    """The sum above, of the terms that the network has: cross-entropy alone for a plain backbone.

    Args:
        lambda_: weight of the mask's L1 norm (λ).
        gamma: weight of the first TSFP-Module's squared error (γ).
        theta: weight of the second's (θ).
        label_smoothing: share of the target that is spread over all classes, in [0, 1).

    Attributes:
        batches: how many batches gradients are averaged over; 1 unless it is set.

    Raises:
        UsageError: a value is out of its range.
    """

    def __init__(
        self, *, lambda_: float = 1e-4, gamma: float = 1e-4, theta: float = 1e-4, label_smoothing: float = 0.0
    ) -> None:
        super().__init__()
        weights = {"lambda_": lambda_, "gamma": gamma, "theta": theta, "label_smoothing": label_smoothing}
        for name, value in weights.items():
            if not 0 <= value < float("inf") or (name == "label_smoothing" and value >= 1):
                msg = f"{name} must be {'in [0, 1)' if name == 'label_smoothing' else 'zero or more'}, got {value}"
                raise UsageError(msg)
        self.batches = 1
        self.label_smoothing = label_smoothing
        self.weights = {"cross_entropy": 1.0, "mask_l1": lambda_, "tsfp1_mse": gamma, "tsfp2_mse": theta}

    def forward(self, logits: Tensor, saliency: Saliency | None, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss and its parts.

        Args:
            logits: [N, K], of any float type; the loss itself is computed in float32.
            saliency: as the network returned it.
            target: int64 [N], or float [N, K] with a probability for each class; whatever ``classify`` takes.

        Returns:
            The total, and the parts before weighting, all scalars: ``cross_entropy``, with SSF ``mask_l1``, with TSFP
            ``tsfp1_mse`` and ``tsfp2_mse``.
        """
        parts = self.classify(logits.float(), target)
        if saliency is not None:
            parts["mask_l1"] = self.batches * saliency.mask.float().abs().sum()
            for index, edge in enumerate(saliency.edges):
                parts[f"tsfp{index + 1}_mse"] = functional.mse_loss(saliency.pooled[index].float(), edge.float())
        total = sum((self.weights[name] * part for name, part in parts.items()), start=logits.new_zeros(()))
        return total, parts

    def classify(self, logits: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The parts that compare logits [N, K] with targets, by name."""
        return {"cross_entropy": functional.cross_entropy(logits, target, label_smoothing=self.label_smoothing)}
