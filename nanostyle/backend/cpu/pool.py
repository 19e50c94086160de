"""Pooling by windows that do not overlap: the primitives of `ops/pool.py`, block by block."""

import numpy as np

from nanostyle.backend.cpu.blocking import contiguous, row_slices
from nanostyle.backend.memory import empty, scratch
from nanostyle.backend.threads import parallel
from nanostyle.backend.types import Array


def _windows(x: Array, size: int) -> Array:
    """Feature maps `(N, H, W, C)` as `(N, H', size, W', size, C)`: their whole windows, a view."""
    N, H, W, C = x.shape
    h, w = H // size, W // size
    return x[:, : h * size, : w * size].reshape(N, h, size, w, size, C)


def _gradient(shape: tuple[int, ...], size: int) -> Array:
    """Room for the gradient of feature maps of `shape`, 0 where no window reaches, else uninitialized."""
    dx = empty(shape)
    dx[:, shape[1] // size * size :] = 0
    dx[:, :, shape[2] // size * size :] = 0
    return dx


def max_pool_forward(x: Array, *, size: int, stride: int) -> Array:
    """See `ops.pool.max_pool_forward`."""
    return _forward(np.maximum, x, size) if size == stride else NotImplemented


def avg_pool_forward(x: Array, *, size: int, stride: int) -> Array:
    """See `ops.pool.avg_pool_forward`."""
    return _forward(np.add, x, size, 1 / size**2) if size == stride else NotImplemented


def _forward(join: np.ufunc, x: Array, size: int, scale: float = 1) -> Array:
    """The values of every window joined two by two, down first: whole rows at a time; then times `scale`."""
    windows = _windows(x, size)
    N, h, _, w, _, C = windows.shape
    y = empty((N, h, w, C))

    def job(block: tuple[int, slice]) -> None:
        n, rows = block
        rows_of_windows = windows[n, rows]
        across = rows_of_windows[:, 0]
        for k in range(1, size):
            across = join(across, rows_of_windows[:, k], out=scratch("pool", across.shape))
        out = y[n, rows]
        np.copyto(out, across[:, :, 0])
        for j in range(1, size):
            join(out, across[:, :, j], out=out)
        if scale != 1:
            np.multiply(out, np.float32(scale), out=out)

    parallel(job, row_slices(N, h, 2 * w * C))
    return y


def max_pool_dx(g: Array, x: Array, y: Array, *, size: int, stride: int) -> Array:
    """See `ops.pool.max_pool_dx`."""
    if size != stride:
        return NotImplemented
    dx = _gradient(x.shape, size)
    values, out = _windows(x, size), _windows(dx, size)
    N, h, w, C = g.shape
    g, y = contiguous(g), contiguous(y)

    def job(block: tuple[int, slice]) -> None:
        n, rows = block
        tap, mask = (scratch(f"pool {name}", g[block].shape) for name in ("tap", "mask"))
        found, left = (scratch(f"pool {name}", g[block].shape, bool) for name in ("found", "left"))
        left[...] = True  # windows whose pixel has not been found yet
        for k, j in np.ndindex(size, size):
            if (k, j) < (size - 1, size - 1):
                np.copyto(tap, values[n, rows, k, :, j])  # one strided pass; those that follow are not
                np.equal(tap, y[block], out=found)
                np.logical_and(found, left, out=found)
                np.logical_xor(left, found, out=left)
            else:
                found = left  # it must be the last one
            np.copyto(mask, found)  # a product with bool would take twice as long as this and the next line
            np.multiply(g[block], mask, out=out[n, rows, k, :, j])

    parallel(job, row_slices(N, h, 2 * w * C))
    return dx


def avg_pool_dx(g: Array, *, shape: tuple[int, ...], size: int, stride: int) -> Array:
    """See `ops.pool.avg_pool_dx`."""
    if size != stride:
        return NotImplemented
    dx = _gradient(shape, size)
    out = _windows(dx, size)
    N, h, w, C = g.shape

    def job(block: tuple[int, slice]) -> None:
        n, rows = block
        share = np.multiply(g[block], np.float32(1 / size**2), out=scratch("pool share", g[block].shape))
        for k in range(size):
            for j in range(size):
                np.copyto(out[n, rows, k, :, j], share)

    parallel(job, row_slices(N, h, 2 * w * C))
    return dx
