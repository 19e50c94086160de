"""Sums over the shards of a batch that are the same to the bit on any number of ranks.

The shards are the leaves of a tree that their number fixes: shards 2i and 2i + 1 are added first, then pairs of pairs,
and so on; what is left over at the end, where the number is no power of two, is added from the right. Every addition is
between the same two numbers whichever rank does it, and the sum of two floats has one value (IEEE 754).

A rank holds shards that are neighbors. So it finishes whole subtrees before anything is sent: its `Block`s.
"""

import itertools
from typing import NamedTuple, Protocol

from nanostyle.backend.device import module_of
from nanostyle.backend.types import Array


class Block(NamedTuple):
    """The sum `values` `(P,)`, float32, over the shards `start` to `start + length - 1`."""

    start: int
    length: int
    values: Array


class Mover(Protocol):
    """What moves numbers between ranks for `sum_over_ranks`; it adds nothing up."""

    @property
    def rank(self) -> int:
        """The number of this rank, from 0."""

    @property
    def size(self) -> int:
        """The number of ranks."""

    def exchange(self, sent: Array, lengths: list[int], received: Array, coming: list[int]) -> None:
        """Send rank r the r-th part of `sent`; put what each rank sends one behind the other into `received`.

        `lengths` and `coming` are how many numbers go to, and come from, each rank.
        """

    def collect(self, part: Array, result: Array, lengths: list[int]) -> None:
        """Put the `part` of every rank, which are so long, one behind the other into `result`, on every rank."""


def shards_of(rank: int, size: int, shards: int) -> range:
    """Which of the `shards` are those of `rank` among `size` ranks: neighbors, as many as the others' or one more."""
    return range(rank * shards // size, (rank + 1) * shards // size)


def add_block(blocks: list[Block], block: Block) -> None:
    """Put `block` behind those in `blocks`; blocks that are two halves of a node of the tree become one.

    The arrays of values are written to.
    """
    start, length, values = block
    while blocks and blocks[-1].length == length and blocks[-1].start % (2 * length) == 0:
        start, _, left = blocks.pop()
        values += left
        length *= 2
    blocks.append(Block(start, length, values))


def folded(blocks: list[Block]) -> Array:
    """The sum over all `blocks`, added from the right; their arrays are written to."""
    *rest, (_, _, total) = blocks
    for _, _, values in reversed(rest):
        total += values
    return total


def block_lengths(rank: int, size: int, shards: int) -> list[tuple[int, int]]:
    """First shard and length of the blocks into which `add_block` joins the shards of `rank`."""
    found: list[tuple[int, int]] = []
    for start in shards_of(rank, size, shards):
        length = 1
        while found and found[-1][1] == length and found[-1][0] % (2 * length) == 0:
            start, _ = found.pop()
            length *= 2
        found.append((start, length))
    return found


def sum_over_ranks(mover: Mover, blocks: list[Block], shards: int) -> Array:
    """The sum `(P,)` over all `shards`, on every rank; `blocks` are those of this rank's own shards.

    Each rank adds up an equal part of the numbers, over all blocks of all ranks. A number travels twice, as in the
    best all-reduce: 2 P (R - 1) / R numbers leave each of R ranks, if each holds one block.
    """
    P, size = blocks[0].values.size, mover.size
    xp = module_of(blocks[0].values)
    cuts = [P * r // size for r in range(size + 1)]
    lengths = [end - start for start, end in itertools.pairwise(cuts)]
    parts = [block.values[start:end] for start, end in itertools.pairwise(cuts) for block in blocks]
    sent = blocks[0].values if len(blocks) == 1 else xp.concatenate(parts)
    theirs = [block_lengths(rank, size, shards) for rank in range(size)]
    own = lengths[mover.rank]
    coming = [len(each) * own for each in theirs]
    received = xp.empty(sum(coming), xp.float32)
    mover.exchange(sent, [n * len(blocks) for n in lengths], received, coming)
    tree: list[Block] = []
    for i, (start, length) in enumerate(itertools.chain(*theirs)):
        add_block(tree, Block(start, length, received[i * own : (i + 1) * own]))
    result: Array = xp.empty(P, xp.float32)
    mover.collect(folded(tree), result, lengths)
    return result
