"""Floor 0: the primitives of `ops/math.py` on a GPU, by `kernels/math.cu`. Sums are float32, always."""

from typing import Any

import numpy as np

from nanostyle.arrays import Array, empty
from nanostyle.gpu.launch import WORD, blocks, contiguous, launch, supported

# Blocks of a sum over a whole array: enough for a large GPU, few enough to join quickly.
MOST_BLOCKS = 1024


def squared_distance_forward(a: Array, b: Array) -> Any:
    """See `ops.math.squared_distance_forward`."""
    if not supported(a, b):
        return NotImplemented
    a, b = contiguous(a), contiguous(b, a.dtype)
    per_word = WORD // a.dtype.itemsize
    vec = per_word if a.size % per_word == 0 else 1
    count = min(blocks(a.size // vec), MOST_BLOCKS)
    partial = empty((count,), np.float32, like=a)
    half = int(a.dtype == np.float16)
    launch("math", "squared_distance", count, a, b, partial, a.size // vec, HALF=half, VEC=vec)
    return join_sums(partial, 1.0)


def join_sums(partial: Array, scale: float) -> Array:
    """`scale · Σ partial`, as an array with no axes."""
    total = empty((), np.float32, like=partial)
    launch("math", "join_sums", 1, partial, total, partial.size, scale, HALF=0, VEC=1)
    return total
