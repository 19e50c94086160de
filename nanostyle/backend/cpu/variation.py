"""Total variation on the CPU."""

import numpy as np

from nanostyle.backend.cpu.blocking import contiguous, row_strips
from nanostyle.backend.memory import empty, scratch
from nanostyle.backend.threads import parallel
from nanostyle.backend.types import Array


def total_variation_forward(x: Array) -> Array:
    """See `ops.gram.total_variation_forward`."""
    N, H, W, C = x.shape
    x = contiguous(x)

    def job(strip: tuple[int, slice]) -> float:
        n, rows = strip
        part = x[n, rows.start : rows.stop + 1]  # and the first row of the next strip
        d = np.subtract(part[1:], part[:-1], out=scratch("variation", (len(part) - 1, W, C))).reshape(-1)
        down = float(np.dot(d, d))
        part = x[n, rows]
        d = np.subtract(part[:, 1:], part[:, :-1], out=scratch("variation", (len(part), W - 1, C))).reshape(-1)
        return down + float(np.dot(d, d))

    return np.array(sum(parallel(job, row_strips(N, H, W * C))) / x.size, np.float32)


def total_variation_dx(g: Array, x: Array) -> Array:
    """See `ops.gram.total_variation_dx`."""
    N, H, W, C = x.shape
    x, dx = contiguous(x), empty(x.shape)
    scale = np.float32(2 * float(g) / x.size)

    def job(strip: tuple[int, slice]) -> None:
        n, rows = strip
        out = dx[n, rows]
        out[...] = 0
        right = np.subtract(x[n, rows, 1:], x[n, rows, :-1], out=scratch("variation", (len(out), W - 1, C)))
        out[:, 1:] += right
        out[:, :-1] -= right
        # The steps down from every row that touches this strip: from the one above it to its last.
        top = max(rows.start - 1, 0)
        part = x[n, top : rows.stop + 1]
        down = np.subtract(part[1:], part[:-1], out=scratch("variation", (len(part) - 1, W, C)))
        above = rows.start - top
        out[1 - above :] += down[: len(out) - 1 + above]
        out[: len(down) - above] -= down[above:]
        out *= scale

    parallel(job, row_strips(N, H, W * C))
    return dx
