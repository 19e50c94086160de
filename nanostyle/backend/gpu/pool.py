"""The primitives of `ops/pool.py` on a GPU, by `kernels/pool.cu`."""

import numpy.typing as npt

from nanostyle.backend.gpu.launch import blocks, contiguous, launch, supported, word_macros
from nanostyle.backend.memory import empty
from nanostyle.backend.types import Array


def max_pool_forward(x: Array, *, size: int, stride: int) -> Array:
    """See `ops.pool.max_pool_forward`."""
    return _forward("max_pool", x, size, stride)


def max_pool_dx(g: Array, x: Array, y: Array, *, size: int, stride: int) -> Array:
    """See `ops.pool.max_pool_dx`."""
    if not supported(g, x, y):
        return NotImplemented
    x = contiguous(x)
    if size > stride:
        return _dx("max_pool_dx", g, x.shape, size, stride, x, contiguous(y, x.dtype), dtype=x.dtype)
    return _dx("max_pool_dx_apart", g, x.shape, size, stride, x, dtype=x.dtype, each=stride)


def avg_pool_forward(x: Array, *, size: int, stride: int) -> Array:
    """See `ops.pool.avg_pool_forward`."""
    return _forward("avg_pool", x, size, stride)


def avg_pool_dx(g: Array, *, shape: tuple[int, ...], size: int, stride: int) -> Array:
    """See `ops.pool.avg_pool_dx`."""
    return _dx("avg_pool_dx", g, shape, size, stride, dtype=g.dtype) if supported(g) else NotImplemented


def _forward(kernel: str, x: Array, size: int, stride: int) -> Array:
    if not supported(x):
        return NotImplemented
    x, words = contiguous(x), word_macros(x)
    N, H, W, C = x.shape
    y = empty((N, (H - size) // stride + 1, (W - size) // stride + 1, C), x.dtype, like=x)
    grid = (blocks(y.size // words["VEC"] // N), N)
    launch("pool", kernel, grid, x, y, H, W, C, *y.shape[1:3], size, stride, **words)
    return y


def _dx(
    kernel: str,
    g: Array,
    shape: tuple[int, ...],
    size: int,
    stride: int,
    *forward: Array,
    dtype: npt.DTypeLike,
    each: int = 1,
) -> Array:
    """Launch `kernel`, in which a thread makes a word of `each` x `each` pixels."""
    g, words = contiguous(g, dtype), word_macros(g)
    N, H, W, C = shape
    dx = empty(shape, dtype, like=g)
    grid = (blocks(blocks(H, each) * blocks(W, each) * C // words["VEC"]), N)
    launch("pool", kernel, grid, g, *forward, dx, H, W, C, *g.shape[1:3], size, stride, **words)
    return dx
