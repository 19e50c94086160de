"""The primitives of `ops/gram.py` on a GPU: products of `wgrad.cu` and `conv.cu`, the rest by `gram.cu`."""

import numpy as np

from nanostyle.backend.gpu.constants import GRAM_SIDE
from nanostyle.backend.gpu.gemm import Walk, launch_conv, launch_wgrad, packed_rows, pad_channels
from nanostyle.backend.gpu.launch import blocks, contiguous, launch, matmul_macros, supported
from nanostyle.backend.memory import empty
from nanostyle.backend.types import Array


def gram_forward(x: Array) -> Array:
    """See `ops.gram.gram_forward`. It is float32, always."""
    if not supported(x):
        return NotImplemented
    N, H, W, C = x.shape
    x = pad_channels(x)
    partial = launch_wgrad(x, x, (1, 1), Walk(), symmetric=True)
    G = empty((N, C, C), np.float32, like=x)
    grid = (blocks(C, GRAM_SIDE), blocks(C, GRAM_SIDE), N)
    launch("gram", "join_gram", grid, partial, G, len(partial) // N, C, x.shape[3], 1 / (H * W), HALF=0)
    return G


def gram_dx(g: Array, x: Array) -> Array:
    """See `ops.gram.gram_dx`: a convolution of 1x1 whose weights, `(g + gᵀ) / (H·W)`, are each feature map's own."""
    if not supported(x):
        return NotImplemented
    N, H, W, C = x.shape
    x = pad_channels(x)
    depth = x.shape[3]
    s = empty((N, packed_rows(C), 1, 1, depth), x.dtype, like=x)
    macros = matmul_macros(x)
    numbers = (C, depth, s.size // N, 1 / (H * W), macros["TF32"])
    grid = (blocks(s.size // N), N)
    launch("gram", "symmetrize", grid, contiguous(g, np.float32), s, *numbers, HALF=macros["HALF"])
    return launch_conv(x, s, None, C, (H, W), Walk(), own=True)[0]
