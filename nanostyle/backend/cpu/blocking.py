"""How matrix products are cut so that BLAS is at its best, and so that threads share them."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from nanostyle.backend.memory import empty
from nanostyle.backend.types import Array

# OpenBLAS multiplies matrices without packing them first where rows x columns x depth is at most this; packing
# costs up to a third of the time. On another BLAS the number only makes the products smaller.
UNPACKED = 1_000_000


def parts(length: int, count: int) -> list[tuple[int, int]]:
    """Begin and end of `count` consecutive parts of `length`, as equal as can be."""
    return [(length * i // count, length * (i + 1) // count) for i in range(count)]


def runs(length: int, limit: int) -> list[tuple[int, int, int]]:
    """`(begin, count, each)`: `length` rows as `count` equal pieces of at most `limit` rows, and a rest.

    Equal pieces are one strided call.
    """
    each = -(-length // -(-length // max(1, limit)))
    count = length // each
    rest = length - count * each
    return [(0, count, each)] + ([(count * each, 1, rest)] if rest else [])


# Values per strip: 2 MiB of float32. Smaller strips would fit the second-level cache, but then the calls are so
# short that threads queue for the interpreter: backward normalization of 256x256x32 on two threads took 2.9 ms with a
# quarter of this and takes 1.5; on one thread the size made no difference.
STRIP = 1 << 19

# A picture that is smaller is still cut into so many strips, or few threads would have work: normalizing 64x64x128 on
# two threads took 1.2 ms as one strip, 0.7 as four. Below the least there is nothing to share.
STRIPS, LEAST = 4, 1 << 15

# Values per row of a strip. Operands per channel are repeated to this length: NumPy's inner loop then runs over
# thousands of values and not over C of them (measured at C = 32: 1.8 times as fast).
ROW = 1 << 12


class Strip(NamedTuple):
    """Neighboring pixels of one picture: `pixels` is a whole number of rows of `tile` pixels."""

    picture: int
    pixels: slice
    tile: int

    def rows(self, x: Array) -> Array:
        """This strip of `x (N, P, C)`, as rows `(R, tile·C)` for operands per channel: a view."""
        return x[self.picture, self.pixels].reshape(-1, self.tile * x.shape[2])


def strips(N: int, P: int, C: int) -> list[Strip]:
    """The strips of N pictures of P pixels and C channels; what is left over at the end is a strip of one row."""
    tile = min(P, max(1, ROW // C))
    whole = P - P % tile
    values = min(STRIP, max(LEAST, -(-P * C // STRIPS)))
    step = max(1, values // (tile * C)) * tile
    cuts = [(slice(p, min(p + step, whole)), tile) for p in range(0, whole, step)]
    if whole < P:
        cuts.append((slice(whole, P), P - whole))
    return [Strip(n, pixels, width) for n in range(N) for pixels, width in cuts]


def chunks(size: int) -> list[slice]:
    """The strips of a flat array of `size` values."""
    return [slice(i, min(i + STRIP, size)) for i in range(0, size, STRIP)]


def row_strips(N: int, H: int, row: int) -> list[tuple[int, slice]]:
    """Picture and rows of pixels: the strips of N pictures of H rows of `row` values each."""
    step = max(1, STRIP // row)
    return [(n, slice(top, min(top + step, H))) for n in range(N) for top in range(0, H, step)]


def contiguous(x: Array) -> Array:
    """`x` itself where its values lie one after the other in memory, else a copy."""
    if x.flags.c_contiguous:
        return x
    copy = empty(x.shape, x.dtype)
    np.copyto(copy, x)
    return copy


def pixels(x: Array) -> Array:
    """Pictures `(N, H, W, C)` as `(N, H·W, C)`: a view, or of a copy where they are not contiguous."""
    N, H, W, C = x.shape
    return contiguous(x).reshape(N, H * W, C)


def channel_sum(rows: Array, C: int) -> Array:
    """The sum `(C,)` over pixels, in float64, of `rows (R, tile·C)`: as products with ones, 4 times as fast as `sum`.

    In float32 first down the R rows and then along them, so that its rounding does not grow with the picture. By `dot`:
    unlike `matmul`, it lets other threads run while it multiplies a vector (measured, NumPy 2.4).
    """
    down = np.dot(_ones(len(rows)), rows).reshape(-1, C)
    return np.dot(_ones(len(down)), down).astype(np.float64)


@lru_cache(64)
def _ones(count: int) -> Array:
    return np.ones(count, np.float32)
