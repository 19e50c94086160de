"""Total variation: the primitives of `ops/variation.py`, block by block."""

import numpy as np

from nanostyle.backend.cpu.blocking import contiguous, row_slices
from nanostyle.backend.memory import empty, scratch
from nanostyle.backend.threads import parallel
from nanostyle.backend.types import Array


def total_variation_forward(x: Array) -> Array:
    """See `ops.variation.total_variation_forward`."""
    N, H, W, C = x.shape
    x = contiguous(x)

    def job(block: tuple[int, slice]) -> float:
        n, rows = block
        lines = x[n, rows.start : rows.stop + 1]  # and the first row of the next block
        d = np.subtract(lines[1:], lines[:-1], out=scratch("variation", (len(lines) - 1, W, C))).reshape(-1)
        down = float(np.dot(d, d))
        lines = x[n, rows]
        d = np.subtract(lines[:, 1:], lines[:, :-1], out=scratch("variation", (len(lines), W - 1, C))).reshape(-1)
        return down + float(np.dot(d, d))

    return np.array(sum(parallel(job, row_slices(N, H, W * C))) / x.size, np.float32)


def total_variation_dx(g: Array, x: Array) -> Array:
    """See `ops.variation.total_variation_dx`."""
    N, H, W, C = x.shape
    x, dx = contiguous(x), empty(x.shape)
    scale = np.float32(2 * float(g) / x.size)

    def job(block: tuple[int, slice]) -> None:
        n, rows = block
        out = dx[n, rows]
        out[...] = 0
        right = np.subtract(x[n, rows, 1:], x[n, rows, :-1], out=scratch("variation", (len(out), W - 1, C)))
        out[:, 1:] += right
        out[:, :-1] -= right
        # The steps down from every row that touches this block: from the one above it to its last.
        top = max(rows.start - 1, 0)
        lines = x[n, top : rows.stop + 1]
        down = np.subtract(lines[1:], lines[:-1], out=scratch("variation", (len(lines) - 1, W, C)))
        above = rows.start - top
        out[1 - above :] += down[: len(out) - 1 + above]
        out[: len(down) - above] -= down[above:]
        out *= scale

    parallel(job, row_slices(N, H, W * C))
    return dx
