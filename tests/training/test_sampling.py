"""Which clips a process reads, and in which order."""

from __future__ import annotations

import pytest

from s2tf_edge.training.sampling import EpochSampler, ShareSampler


@pytest.mark.parametrize("world_size", [1, 3])
def test_processes_share_an_epoch_without_overlap(world_size: int) -> None:
    samplers = [EpochSampler(10, seed=5, rank=rank, world_size=world_size) for rank in range(world_size)]
    for sampler in samplers:
        sampler.set_epoch(2)
    seen = [index for sampler in samplers for index in sampler]
    assert len(seen) == len(set(seen)) == sum(map(len, samplers))
    assert all(20 <= index < 30 for index in seen)


def test_each_epoch_has_an_order_of_its_own() -> None:
    sampler = EpochSampler(50, seed=5)
    first = list(sampler)
    assert list(sampler) == first
    sampler.set_epoch(1)
    assert [index - 50 for index in sampler] != first


@pytest.mark.parametrize("length", [20, 21, 23])
def test_steps_of_all_processes_together_are_those_of_one_with_their_batches(length: int) -> None:
    one = list(EpochSampler(length, seed=5))
    shares = [list(EpochSampler(length, seed=5, rank=rank, world_size=2)) for rank in (0, 1)]
    steps = [set(one[start : start + 6]) for start in range(0, length - 5, 6)]
    assert [set(shares[0][at : at + 3] + shares[1][at : at + 3]) for at in range(0, length // 2 - 2, 3)] == steps


def test_a_run_that_resumes_skips_once_what_it_has_behind_it() -> None:
    whole, resumed = EpochSampler(10, seed=5, epoch=3), EpochSampler(10, seed=5, epoch=3, skip=4)
    resumed.set_epoch(3)
    assert list(resumed) == list(whole)[4:]
    assert len(resumed) == 10
    assert list(resumed) == list(whole)


def test_validation_clips_are_each_read_once() -> None:
    shares = [list(ShareSampler(10, rank=rank, world_size=4)) for rank in range(4)]
    assert sorted(index for share in shares for index in share) == list(range(10))
    assert [len(ShareSampler(10, rank=rank, world_size=4)) for rank in range(4)] == [3, 3, 2, 2]


def test_fewer_validation_clips_than_processes_are_read_by_all() -> None:
    assert [list(ShareSampler(2, rank=rank, world_size=3)) for rank in range(3)] == [[0, 1]] * 3
