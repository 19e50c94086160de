"""Floor 0: Gram matrices and total variation in strips: the twins of `ops/gram.py`."""

import numpy as np

from nanostyle.arrays import Array, empty, parallel, scratch
from nanostyle.cpu.strips import contiguous, pixels, row_strips

# Values of a picture that make a product worth a thread: more where products are added up afterwards.
_SUMMED, _WRITTEN = 1 << 18, 1 << 17


def gram_forward(x: Array) -> Array:
    """See `ops.gram.gram_forward`. Float32 products over parts of the picture, added up in float64."""
    x = pixels(x)
    N, P, C = x.shape
    parts = _parts(N, P, _SUMMED // C)
    total = np.zeros((N, C, C))
    for (n, _), product in zip(parts, parallel(lambda part: x[part].T @ x[part], parts), strict=True):
        total[n] += product
    total *= 1 / P
    return total.astype(np.float32)


def gram_dx(g: Array, x: Array) -> Array:
    """See `ops.gram.gram_dx`."""
    xs, dx = pixels(x), empty(x.shape)
    N, P, C = xs.shape
    dxs, both = pixels(dx), (g + g.swapaxes(1, 2)) * np.float32(1 / P)
    parallel(lambda part: np.matmul(xs[part], both[part[0]], out=dxs[part]), _parts(N, P, _WRITTEN // C))
    return dx


def _parts(N: int, P: int, least: int) -> list[tuple[int, slice]]:
    """Picture and pixels of each product: at most 8 of a picture, of `least` to 8192 pixels."""
    step = min(max(least, -(-P // 8)), 8192)
    return [(n, slice(p, min(p + step, P))) for n in range(N) for p in range(0, P, step)]


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
