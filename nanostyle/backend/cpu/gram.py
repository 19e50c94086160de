"""Gram matrices: the primitives of `ops/gram.py`, block by block."""

import numpy as np

from nanostyle.backend.cpu.blocking import pixels
from nanostyle.backend.memory import empty
from nanostyle.backend.threads import parallel
from nanostyle.backend.types import Array

# Values of a feature map that make a product worth a thread: more where products are added up afterwards.
_SUMMED, _WRITTEN = 1 << 18, 1 << 17


def gram_forward(x: Array) -> Array:
    """See `ops.gram.gram_forward`. Float32 products over blocks of pixels, added up in float64."""
    x = pixels(x)
    N, P, C = x.shape
    blocks = _blocks(N, P, _SUMMED // C)
    total = np.zeros((N, C, C))
    for (n, _), product in zip(blocks, parallel(lambda block: x[block].T @ x[block], blocks), strict=True):
        total[n] += product
    total *= 1 / P
    return total.astype(np.float32)


def gram_dx(g: Array, x: Array) -> Array:
    """See `ops.gram.gram_dx`."""
    xs, dx = pixels(x), empty(x.shape)
    N, P, C = xs.shape
    dxs, both = pixels(dx), (g + g.swapaxes(1, 2)) * np.float32(1 / P)
    parallel(lambda block: np.matmul(xs[block], both[block[0]], out=dxs[block]), _blocks(N, P, _WRITTEN // C))
    return dx


def _blocks(N: int, P: int, least: int) -> list[tuple[int, slice]]:
    """Feature map and pixels of each product: at most 8 of a map, of `least` to 8192 pixels."""
    step = min(max(least, -(-P // 8)), 8192)
    return [(n, slice(p, min(p + step, P))) for n in range(N) for p in range(0, P, step)]
