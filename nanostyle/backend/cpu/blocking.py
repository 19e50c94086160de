"""Divide work into blocks: for the threads, for the cache, and for matrix products at the speed of BLAS.

Every unit of work on the CPU is a block. The kinds are: pixels of a feature map, rows of it, tiles of it (Winograd),
and parts of a flat array.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from nanostyle.backend.memory import empty
from nanostyle.backend.types import Array

# OpenBLAS multiplies matrices without packing them first where rows x columns x depth is at most this; packing
# costs up to a third of the time. On another BLAS the number only makes the products smaller.
UNPACKED = 1_000_000


def even_blocks(length: int, count: int) -> list[tuple[int, int]]:
    """Begin and end of `count` consecutive blocks of `length`, as equal as can be."""
    return [(length * i // count, length * (i + 1) // count) for i in range(count)]


def equal_blocks(length: int, limit: int) -> list[tuple[int, int, int]]:
    """`(begin, count, each)`: `length` rows as `count` equal blocks of at most `limit` rows, and a rest.

    Equal blocks are one strided call.
    """
    each = -(-length // -(-length // max(1, limit)))
    count = length // each
    rest = length - count * each
    return [(0, count, each)] + ([(count * each, 1, rest)] if rest else [])


# --- blocks of pixels, of rows, and of flat arrays ----------------------------------------------------------

# Values per block: 2 MiB of float32. Smaller blocks would fit the second-level cache, but then the calls are so
# short that threads queue for the interpreter: backward normalization of 256x256x32 on two threads took 2.9 ms with a
# quarter of this and takes 1.5; on one thread the size made no difference.
BLOCK = 1 << 19

# A feature map that is smaller is still cut into so many blocks, or few threads would have work: normalizing 64x64x128
# on two threads took 1.2 ms as one block, 0.7 as four. Below the least there is nothing to share.
BLOCKS, LEAST = 4, 1 << 15

# Values per row of a block. Operands per channel are repeated to this length: NumPy's inner loop then runs over
# thousands of values and not over C of them (measured at C = 32: 1.8 times as fast).
ROW = 1 << 12


class PixelBlock(NamedTuple):
    """Neighboring pixels of feature map `n`: `pixels` is a whole number of rows of `width` pixels."""

    n: int
    pixels: slice
    width: int

    def rows(self, x: Array) -> Array:
        """This block of `x (N, P, C)`, as rows `(R, width·C)` for operands per channel: a view."""
        return x[self.n, self.pixels].reshape(-1, self.width * x.shape[2])


def pixel_blocks(N: int, P: int, C: int) -> list[PixelBlock]:
    """The blocks of N feature maps of P pixels and C channels; what is left over at the end is a block of one row."""
    width = min(P, max(1, ROW // C))
    whole = P - P % width
    values = min(BLOCK, max(LEAST, -(-P * C // BLOCKS)))
    step = max(1, values // (width * C)) * width
    blocks = [(slice(p, min(p + step, whole)), width) for p in range(0, whole, step)]
    if whole < P:
        blocks.append((slice(whole, P), P - whole))
    return [PixelBlock(n, pixels, width) for n in range(N) for pixels, width in blocks]


def flat_blocks(size: int) -> list[slice]:
    """The blocks of a flat array of `size` values."""
    return [slice(i, min(i + BLOCK, size)) for i in range(0, size, BLOCK)]


def row_slices(N: int, H: int, row: int) -> list[tuple[int, slice]]:
    """Feature map and rows of pixels: the blocks of N feature maps of H rows of `row` values each."""
    step = max(1, BLOCK // row)
    return [(n, slice(top, min(top + step, H))) for n in range(N) for top in range(0, H, step)]


class RowBlock(NamedTuple):
    """Rows `top` to `bottom` of feature map `n`."""

    n: int
    top: int
    bottom: int


def row_blocks(N: int, H: int, rows: int) -> list[RowBlock]:
    """Cut N feature maps of H rows into blocks of at most `rows`, as equal as can be."""
    return [RowBlock(n, top, bottom) for n in range(N) for top, bottom in even_blocks(H, -(-H // rows))]


# --- blocks of Winograd's tiles -----------------------------------------------------------------------------

# Bytes of pixels and products at their points in one block, the tiles that it is wide, and the most and the fewest
# that it has: small enough for the cache, large enough for the products, and for the threads, which queue for the
# interpreter between calls. (Sapphire Rapids: half the bytes are 3 % slower on one thread, and 5 to 10 % on two.)
TILE_BYTES, WIDE, MOST, FEWEST = 9 << 19, 32, 512, 48


class TileBlock(NamedTuple):
    """`rows` x `columns` tiles of feature map `n`, from tile `(top, left)` on."""

    n: int
    top: int
    rows: int
    left: int
    columns: int


def tile_blocks(N: int, rows: int, columns: int, bytes_per_tile: int, most: int = MOST) -> list[TileBlock]:
    """Cut N grids of `rows` x `columns` tiles into blocks of at most about `most`, as equal as can be."""
    half = -(-N * rows * columns // 2)  # for a second thread
    tiles = max(FEWEST, min(TILE_BYTES // bytes_per_tile, most, half))
    across = -(-columns // WIDE)
    down = -(-rows // max(1, tiles * across // columns))
    if 1 < down < rows:
        down += N * across * down % 2  # or the last one would be one thread's alone
    return [
        TileBlock(n, top, bottom - top, left, right - left)
        for n in range(N)
        for top, bottom in even_blocks(rows, down)
        for left, right in even_blocks(columns, across)
    ]


# --- arrays as the passes over blocks read them -------------------------------------------------------------


def contiguous(x: Array) -> Array:
    """`x` itself where its values lie one after the other in memory, else a copy."""
    if x.flags.c_contiguous:
        return x
    copy = empty(x.shape, x.dtype)
    np.copyto(copy, x)
    return copy


def pixels(x: Array) -> Array:
    """Feature maps `(N, H, W, C)` as `(N, H·W, C)`: a view, or of a copy where they are not contiguous."""
    N, H, W, C = x.shape
    return contiguous(x).reshape(N, H * W, C)


def repeated(values: Array, times: int) -> Array:
    """An operand per channel `(…, C)` as one per value of a row of `times` pixels: `(…, times·C)`, float32.

    As `np.tile`, in a half to a quarter of its time (measured): a pass asks for about fifty.
    """
    wide = np.empty((*values.shape[:-1], times, values.shape[-1]), np.float32)
    wide[...] = values[..., None, :]
    return wide.reshape(*values.shape[:-1], -1)


def channel_sum(rows: Array, C: int) -> Array:
    """The sum `(C,)` over pixels, in float64, of `rows (R, width·C)`: as products with ones, 4 times as fast as `sum`.

    In float32 first down the R rows and then along them, so that its rounding does not grow with the feature map. By
    `dot`: unlike `matmul`, it lets other threads run while it multiplies a vector (measured, NumPy 2.4).
    """
    down = np.dot(_ones(len(rows)), rows).reshape(-1, C)
    return np.dot(_ones(len(down)), down).astype(np.float64)


@lru_cache(64)
def _ones(count: int) -> Array:
    return np.ones(count, np.float32)
