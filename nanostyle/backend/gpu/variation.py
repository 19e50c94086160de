"""The primitives of `ops/variation.py` on a GPU, by `kernels/variation.cu`."""

import numpy as np

from nanostyle.backend.gpu.launch import blocks, contiguous, launch, supported
from nanostyle.backend.gpu.math import MOST_BLOCKS, join_sums
from nanostyle.backend.memory import empty
from nanostyle.backend.types import Array


def total_variation_forward(x: Array) -> Array:
    """See `ops.variation.total_variation_forward`."""
    if not supported(x):
        return NotImplemented
    x = contiguous(x)
    count = min(blocks(x.size), MOST_BLOCKS)
    partial = empty((count,), np.float32, like=x)
    launch("variation", "total_variation", count, x, partial, *x.shape[1:], x.size, HALF=int(x.dtype == np.float16))
    return join_sums(partial, 1 / x.size)


def total_variation_dx(g: Array, x: Array) -> Array:
    """See `ops.variation.total_variation_dx`."""
    if not supported(x):
        return NotImplemented
    x, g = contiguous(x), contiguous(g, np.float32)
    dx = empty(x.shape, x.dtype, like=x)
    half = int(x.dtype == np.float16)
    launch("variation", "total_variation_dx", blocks(x.size), g, x, dx, *x.shape[1:], x.size, HALF=half)
    return dx
