import pytest
import torch
from torch import Tensor

from s2tf_edge.errors import UsageError
from s2tf_edge.models.saliency import Saliency
from s2tf_edge.training.losses import S2TFLoss

LOGITS = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
TARGET = torch.tensor([0, 1])
CROSS_ENTROPY = (torch.log1p(torch.exp(torch.tensor(-2.0))) + torch.log1p(torch.exp(torch.tensor(-1.0)))).item() / 2


def saliency(*, edges: bool = True) -> Saliency:
    def filled(value: float, size: int) -> Tensor:
        return torch.full((2, 1, 3, size, size), value)

    mask = torch.tensor([0.5, -1.5]).view(2, 1, 1, 1, 1).expand(2, 1, 1, 2, 2)
    return Saliency(mask, (filled(0.25, 4), filled(0.125, 2)), (filled(0.5, 4), filled(0.5, 2)) if edges else ())


def test_is_the_papers_sum() -> None:
    total, parts = S2TFLoss(lambda_=0.1, gamma=0.2, theta=0.3)(LOGITS, saliency(), TARGET)
    assert {name: part.item() for name, part in parts.items()} == pytest.approx(
        {"cross_entropy": CROSS_ENTROPY, "mask_l1": 8.0, "tsfp1_mse": 0.25**2, "tsfp2_mse": 0.375**2}
    )
    assert total.item() == pytest.approx(CROSS_ENTROPY + 0.1 * 8 + 0.2 * 0.25**2 + 0.3 * 0.375**2)


def test_without_tsfp_has_no_squared_errors() -> None:
    total, parts = S2TFLoss()(LOGITS, saliency(edges=False), TARGET)
    assert list(parts) == ["cross_entropy", "mask_l1"]
    assert total.item() == pytest.approx(CROSS_ENTROPY + 8e-4)


def test_of_a_plain_backbone_is_cross_entropy() -> None:
    total, parts = S2TFLoss()(LOGITS, None, TARGET)
    assert list(parts) == ["cross_entropy"]
    assert total.item() == pytest.approx(CROSS_ENTROPY)


def test_smooths_labels() -> None:
    smooth = S2TFLoss(label_smoothing=0.2)(LOGITS, None, TARGET)[0]
    spread = S2TFLoss()(LOGITS, None, torch.tensor([[0.9, 0.1], [0.1, 0.9]]))[0]
    torch.testing.assert_close(smooth, spread)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("lambda_", -1.0, "lambda_ must be zero or more, got -1"),
        ("theta", float("nan"), "theta must be zero or more, got nan"),
        ("label_smoothing", 1.0, r"label_smoothing must be in \[0, 1\), got 1"),
    ],
)
def test_refuses_weights_out_of_range(name: str, value: float, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        S2TFLoss(**{name: value})


def test_the_mask_s_norm_is_the_sum_over_all_batches_that_gradients_are_averaged_over() -> None:
    loss = S2TFLoss(lambda_=0.1, gamma=0.0, theta=0.0)
    whole, _ = loss(LOGITS, saliency(), TARGET)
    loss.batches = 2
    halves = [
        loss(LOGITS[half], Saliency(saliency().mask[half], (), ()), TARGET[half])[0]
        for half in (slice(0, 1), slice(1, 2))
    ]
    assert torch.stack(halves).mean().item() == pytest.approx(whole.item())
