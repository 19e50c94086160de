"""The sum over shards has the same bytes on any number of ranks."""

import numpy as np
import pytest

from nanostyle.backend.comm.tree import Block, add_block, block_lengths, folded, shards_of, sum_over_ranks
from tests.support.movers import at_once, thread_movers

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


def sums(values, size):
    return at_once(
        lambda mover: sum_over_ranks(mover, blocks_of(values, mover.rank, size), len(values)), thread_movers(size)
    )


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
