"""The primitives of `ops/math.py` on a GPU, by `kernels/math.cu`. Sums are float32, always."""

import numpy as np

from nanostyle.backend.gpu.launch import blocks, contiguous, launch, supported, word_macros
from nanostyle.backend.memory import empty
from nanostyle.backend.types import Array

# Blocks of a sum over a whole array: enough for a large GPU, few enough to join quickly.
MOST_BLOCKS = 1024


def squared_distance_forward(
    a: Array, b: Array, weight: Array | None, *, relative: bool = False
) -> tuple[Array, Array]:
    """See `ops.math.squared_distance_forward`."""
    if not supported(a, b, weight):
        return NotImplemented
    (a, b), N, words, macros = _pictures(a, b)
    count = min(blocks(words), max(1, MOST_BLOCKS // N))
    partial = empty((N, count, 2), np.float32, like=a)
    launch("math", "squared_distance", (count, N), a, b, partial, words, int(relative), **macros)
    total, share = empty((), np.float32, like=a), empty((N,), np.float32, like=a)
    weight = None if weight is None else contiguous(weight, np.float32)
    launch("math", "join_distances", 1, partial, weight, total, share, N, count, int(relative), HALF=0, VEC=1)
    return total, share


def squared_distance_da(g: Array, share: Array, a: Array, b: Array) -> Array:
    """See `ops.math.squared_distance_da`."""
    if not supported(a, b):
        return NotImplemented
    (a, b), N, words, macros = _pictures(a, b)
    da = empty(a.shape, a.dtype, like=a)
    g, share = contiguous(g, np.float32), contiguous(share, np.float32)
    launch("math", "squared_distance_da", (blocks(words), N), g, share, a, b, da, words, **macros)
    return da


def join_sums(partial: Array, scale: float) -> Array:
    """`scale · Σ partial`, along the last axis."""
    total = empty(partial.shape[:-1], np.float32, like=partial)
    launch("math", "join_sums", total.size, partial, total, partial.shape[-1], scale, HALF=0, VEC=1)
    return total


def _pictures(a: Array, b: Array) -> tuple[tuple[Array, Array], int, int, dict[str, int]]:
    """Both arrays, contiguous and of the first one's type; their feature maps, and words in a feature map."""
    a = contiguous(a)
    b = contiguous(b, a.dtype)
    macros = word_macros(a.reshape(len(a), -1))
    return (a, b), len(a), a.size // len(a) // macros["VEC"], macros
