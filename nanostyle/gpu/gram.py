"""Floor 0: the primitives of `ops/gram.py` on a GPU: products of `wgrad.cu` and `conv.cu`, the rest by `gram.cu`."""

from typing import Any

import numpy as np

from nanostyle.arrays import Array, empty
from nanostyle.gpu.conv import Walk, packed_rows, pad_channels, product, product_over_pixels
from nanostyle.gpu.launch import blocks, contiguous, launch, products, supported
from nanostyle.gpu.math import MOST_BLOCKS, join_sums


def total_variation_forward(x: Array) -> Any:
    """See `ops.gram.total_variation_forward`."""
    if not supported(x):
        return NotImplemented
    x = contiguous(x)
    count = min(blocks(x.size), MOST_BLOCKS)
    partial = empty((count,), np.float32, like=x)
    launch("gram", "total_variation", count, x, partial, *x.shape[1:], x.size, HALF=int(x.dtype == np.float16))
    return join_sums(partial, 1 / x.size)


def total_variation_dx(g: Array, x: Array) -> Any:
    """See `ops.gram.total_variation_dx`."""
    if not supported(x):
        return NotImplemented
    x, g = contiguous(x), contiguous(g, np.float32)
    dx = empty(x.shape, x.dtype, like=x)
    half = int(x.dtype == np.float16)
    launch("gram", "total_variation_dx", blocks(x.size), g, x, dx, *x.shape[1:], x.size, HALF=half)
    return dx


def gram_forward(x: Array) -> Any:
    """See `ops.gram.gram_forward`. It is float32, always."""
    if not supported(x):
        return NotImplemented
    N, H, W, C = x.shape
    x = pad_channels(x)
    partial = product_over_pixels(x, x, (1, 1), Walk(), symmetric=True)
    G = empty((N, C, C), np.float32, like=x)
    grid = (blocks(C, 8), blocks(C, 8), N)
    launch("gram", "join_gram", grid, partial, G, len(partial) // N, C, x.shape[3], 1 / (H * W), HALF=0)
    return G


def gram_dx(g: Array, x: Array) -> Any:
    """See `ops.gram.gram_dx`: a convolution of 1x1 whose weights, `(g + gᵀ) / (H·W)`, are each picture's own."""
    if not supported(x):
        return NotImplemented
    N, H, W, C = x.shape
    x = pad_channels(x)
    depth = x.shape[3]
    s = empty((N, packed_rows(C), 1, 1, depth), x.dtype, like=x)
    macros = products(x)
    numbers = (C, depth, s.size // N, 1 / (H * W), macros["TF32"])
    grid = (blocks(s.size // N), N)
    launch("gram", "symmetrise", grid, contiguous(g, np.float32), s, *numbers, HALF=macros["HALF"])
    return product(x, s, None, C, (H, W), Walk(), own=True)[0]
