"""The distillation loss against its formula."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from s2tf_edge.training.distillation.loss import DistillationLoss, TargetLayout

HEAT, WEIGHT = 3.0, 0.25
APART = TargetLayout(classes=3, taught=5, shares_head=False)
SHARED = TargetLayout(classes=4, taught=4, shares_head=True)


def _loss(layout: TargetLayout) -> DistillationLoss:
    return DistillationLoss(layout, weight=WEIGHT, temperature=HEAT, label_smoothing=0.1)


def _draw(layout: TargetLayout, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(count, layout.logits, generator=generator)
    scores = torch.softmax(torch.randn(count, layout.taught, generator=generator) / HEAT, dim=1)
    return logits, scores


@pytest.mark.parametrize("layout", [APART, SHARED])
def test_both_terms_by_their_shares(layout: TargetLayout) -> None:
    logits, scores = _draw(layout, 2)
    targets = torch.stack([layout.row(2, scores[0]), layout.row(0, scores[1])])
    total, parts = _loss(layout)(logits, None, targets)
    own, said = logits[:, : layout.classes], logits[:, -layout.taught :]
    expected_ce = functional.cross_entropy(own, torch.tensor([2, 0]), label_smoothing=0.1)
    quotient = scores.log() - functional.log_softmax(said / HEAT, dim=1)
    expected_kl = HEAT**2 * (scores * quotient).sum(1).mean()
    torch.testing.assert_close(parts["cross_entropy"], (1 - WEIGHT) * expected_ce)
    torch.testing.assert_close(parts["distillation"], WEIGHT * expected_kl)
    torch.testing.assert_close(total, parts["cross_entropy"] + parts["distillation"])


def test_without_a_label_the_teacher_alone_counts() -> None:
    logits, scores = _draw(APART, 1)
    total, parts = _loss(APART)(logits, None, APART.row(-1, scores[0])[None])
    assert float(parts["cross_entropy"]) == 0
    quotient = scores[0].log() - functional.log_softmax(logits[0, 3:] / HEAT, dim=0)
    torch.testing.assert_close(total, HEAT**2 * (scores[0] * quotient).sum())


def test_a_clip_mixed_with_one_without_a_label_follows_its_label_by_its_share() -> None:
    logits, scores = _draw(APART, 2)
    known, bare = APART.row(1, scores[0]), APART.row(-1, scores[1])
    _, parts = _loss(APART)(logits[:1], None, (0.6 * known + 0.4 * bare)[None])
    expected = functional.cross_entropy(logits[:1, :3], torch.tensor([1]), label_smoothing=0.1)
    torch.testing.assert_close(parts["cross_entropy"], 0.6 * (1 - WEIGHT) * expected)


def test_a_student_that_says_what_the_teacher_says_has_nothing_to_learn_from_it() -> None:
    logits, _ = _draw(SHARED, 1)
    target = SHARED.row(-1, torch.softmax(logits[0] / HEAT, dim=0))[None]
    total, _ = _loss(SHARED)(logits, None, target)
    torch.testing.assert_close(total, torch.tensor(0.0), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("layout", "unlabeled"), [(APART, -1), (SHARED, 2)])
def test_the_right_answer_is_the_label_s_and_else_the_teacher_s(layout: TargetLayout, unlabeled: int) -> None:
    scores = torch.nn.functional.one_hot(torch.tensor(2), layout.taught).float()
    rows = torch.stack([layout.row(1, scores), layout.row(-1, scores)])
    mixed = 0.3 * rows[:1] + 0.7 * rows[1:]
    heaviest = 1 if unlabeled == -1 else unlabeled
    assert layout.answers(torch.cat([rows, mixed])).tolist() == [1, unlabeled, heaviest]
