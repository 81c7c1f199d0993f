from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from s2tf_edge.training.augmentation import mix_batch
from s2tf_edge.training.settings.augmentation import AugmentationSettings

N = 6


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    """Clips whose frames are of one value each, 10 · clip + frame, and classes that tell them apart."""
    values = 10.0 * torch.arange(N)[:, None] + torch.arange(4)
    clips = values[:, None, :, None, None].expand(N, 3, 4, 8, 8).clone()
    return clips, functional.one_hot(torch.arange(N), N).float()


def _mix(batch: tuple[Tensor, Tensor], seed: int = 0, **settings: float) -> tuple[Tensor, Tensor]:
    before = [each.clone() for each in batch]
    mixed = mix_batch(*batch, AugmentationSettings(**settings), np.random.default_rng(seed))  # type: ignore[arg-type]
    assert all(torch.equal(given, kept) for given, kept in zip(batch, before, strict=True))
    return mixed


def test_without_mixing_the_batch_comes_back(batch: tuple[Tensor, Tensor]) -> None:
    clips, targets = _mix(batch)
    assert clips is batch[0]
    assert targets is batch[1]


def test_a_clip_alone_has_nothing_to_be_mixed_with(batch: tuple[Tensor, Tensor]) -> None:
    clips, _ = _mix((batch[0][:1], batch[1][:1]), mixup=1.0, cutmix=1.0, background=0.5)
    assert torch.equal(clips, batch[0][:1])


@pytest.mark.parametrize("kind", ["mixup", "cutmix", "background"])
def test_the_generator_decides_alone(batch: tuple[Tensor, Tensor], kind: str) -> None:
    settings = {kind: 0.5}
    first, again, other = (_mix(batch, seed, **settings)[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_mixup_blends_two_clips_and_their_labels_alike(batch: tuple[Tensor, Tensor]) -> None:
    clips, targets = _mix(batch, mixup=1.0)
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(N))
    assert ((targets > 0).sum(dim=1) == 2).all()
    torch.testing.assert_close(clips, torch.einsum("nk,kctyx->nctyx", targets, batch[0]))


def test_cutmix_shows_another_clip_in_a_box_and_counts_its_area(batch: tuple[Tensor, Tensor]) -> None:
    clips, targets = _mix(batch, seed=5, cutmix=1.0)
    for index in range(N):
        is_own = clips[index] == batch[0][index]
        assert bool((is_own == is_own[:1, :1]).all()), "the same box in every frame and channel"
        assert 0 < is_own.float().mean() < 1
        assert targets[index, index] == pytest.approx(float(is_own.float().mean()))
        (partner,) = (k for k in range(N) if k != index and targets[index, k] > 0)
        torch.testing.assert_close(torch.where(is_own, batch[0][index], batch[0][partner]), clips[index])


def test_both_take_turns(batch: tuple[Tensor, Tensor]) -> None:
    kinds = set()
    for seed in range(20):
        clips, _ = _mix(batch, seed, mixup=1.0, cutmix=1.0)
        kinds.add("cutmix" if bool((clips[0, 0, 0] != clips[0, 0, 0, 0, 0]).any()) else "mixup")
    assert kinds == {"mixup", "cutmix"}


def test_background_is_one_frame_of_another_clip_behind_all_frames(batch: tuple[Tensor, Tensor]) -> None:
    clips, targets = _mix(batch, background=0.5)
    assert torch.equal(targets, batch[1])
    shares = []
    for index in range(N):
        mixed, own = clips[index, 0, :, 0, 0].numpy(), batch[0][index, 0, :, 0, 0].numpy()
        # Frames differ by 1, and so much less as the still one has a share.
        share = 1 - float(mixed[1] - mixed[0])
        still = (mixed - (1 - share) * own) / share
        assert still.max() - still.min() < 1e-2
        assert abs(float(still[0]) - round(float(still[0]))) < 1e-2
        assert round(float(still[0])) // 10 != index
        shares.append(share)
    assert 0 < min(shares) < max(shares) < 0.5


def test_types_and_layout_stay(batch: tuple[Tensor, Tensor]) -> None:
    clips = batch[0].bfloat16().to(memory_format=torch.channels_last_3d)
    mixed, targets = _mix((clips, batch[1]), background=0.3, mixup=0.8, cutmix=1.0)
    assert mixed.dtype == torch.bfloat16
    assert mixed.is_contiguous(memory_format=torch.channels_last_3d)
    assert targets.dtype == torch.float32
