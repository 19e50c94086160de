"""The sum over shards has the same bytes on any number of ranks."""

import numpy as np
import pytest

from nanostyle.backend.comm.tree import Block, add_block, block_lengths, folded, shards_of, sum_over_ranks
from nanostyle.backend.gpu import nccl as module
from nanostyle.backend.gpu.nccl import NcclMover
from tests.support.movers import Nccl, at_once, thread_movers

P = 37  # no number of ranks up to 31 but 1 divides it


def gradients(shards, size=P, seed=0):
    """Of very different sizes, so that the order of a sum shows in its last bits; one is infinite, one NaN."""
    rng = np.random.default_rng([seed, shards])
    values = (rng.standard_normal((shards, size)) * 10.0 ** rng.integers(-4, 4, (shards, size))).astype(np.float32)
    if size == P:
        values[shards // 2, 3], values[-1, 5] = np.inf, np.nan
    return values


def blocks_of(values, rank, size):
    blocks = []
    for shard in shards_of(rank, size, len(values)):
        add_block(blocks, Block(shard, 1, values[shard].copy()))
    return blocks


def sums(values, size, movers=thread_movers):
    return at_once(lambda mover: sum_over_ranks(mover, blocks_of(values, mover.rank, size), len(values)), movers(size))


@pytest.mark.parametrize("shards", [1, 2, 3, 4, 6, 7, 8, 12, 13, 16, 24, 31])
def test_any_number_of_ranks_gives_the_bytes_of_one(shards):
    values = gradients(shards)
    one = folded(blocks_of(values, 0, 1)).tobytes()
    for size in sorted({1, 2, 3, shards // 2, shards - 1, shards} - {0}):
        if size <= shards:
            assert {total.tobytes() for total in sums(values, size)} == {one}, size


def test_ranks_without_a_number_of_their_own_take_part():
    values = gradients(5, size=3)
    one = folded(blocks_of(values, 0, 1)).tobytes()
    assert {total.tobytes() for total in sums(values, 5)} == {one}


def test_the_tree_is_that_of_pairs():
    a, b, c, d, e = gradients(5, size=8)
    assert (folded(blocks_of(np.stack([a, b, c, d, e]), 0, 1)) == ((a + b) + (c + d)) + e).all()
    assert (folded(blocks_of(np.stack([a, b, c]), 0, 1)) == (a + b) + c).all()


def test_the_order_shows_in_these_numbers():
    values = gradients(8, size=64)
    assert (folded(blocks_of(values, 0, 1)) != np.add.reduce(values[::-1])).any()


@pytest.mark.parametrize("shards", [1, 5, 8, 31])
def test_every_shard_belongs_to_one_rank_and_blocks_are_what_they_are_said_to_be(shards):
    for size in range(1, shards + 1):
        shares = [shards_of(rank, size, shards) for rank in range(size)]
        assert [shard for share in shares for shard in share] == list(range(shards))
        assert {len(share) for share in shares} <= {shards // size, shards // size + 1}
        for rank in range(size):
            blocks = blocks_of(gradients(shards), rank, size)
            assert block_lengths(rank, size, shards) == [(block.start, block.length) for block in blocks]
            assert len(blocks) <= max(1, 2 * int(np.log2(shards)))


# --- through NCCL -------------------------------------------------------------------------------------------------


@pytest.fixture
def nccl(monkeypatch):
    """NCCL as queues between threads; host memory stands for that of the GPUs."""
    monkeypatch.setattr(module, "_address", lambda values: values.ctypes.data)
    return Nccl()


def nccl_movers(nccl):
    return lambda size: [NcclMover(nccl, "key", rank, size, 0) for rank in range(size)]


@pytest.mark.parametrize("shards", [1, 2, 3, 5, 8, 13, 31])
def test_nccl_moves_the_same_bytes(nccl, shards):
    values = gradients(shards)
    one = folded(blocks_of(values, 0, 1)).tobytes()
    for size in sorted({1, 2, shards // 2, shards - 1, shards} - {0}):
        if size <= shards:
            assert {total.tobytes() for total in sums(values, size, nccl_movers(nccl))} == {one}, size
    assert nccl.is_quiet()


def test_nccl_says_nothing_of_no_numbers(nccl):
    values = gradients(5, size=3)
    one = folded(blocks_of(values, 0, 1)).tobytes()
    assert {total.tobytes() for total in sums(values, 5, nccl_movers(nccl))} == {one}
    assert nccl.is_quiet()


def test_the_stand_in_for_nccl_sees_what_would_hang(nccl):
    mover, other = nccl_movers(nccl)(2)
    numbers = np.ones(4, np.float32)
    with pytest.raises(AssertionError, match="outside of a group"):
        mover._all.send(numbers.ctypes.data, 4, nccl.NCCL_FLOAT32, 1, 0)
    with pytest.raises(AssertionError, match="was sent"):
        at_once(
            lambda rank: rank.exchange(numbers, [2, 2], np.empty(4 - rank.rank, np.float32), [2, 2 - rank.rank]),
            [mover, other],
        )
