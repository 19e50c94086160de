"""The primitives of `ops/shape.py` on a GPU, by `kernels/shape.cu`."""

import numpy as np

from nanostyle.backend.geometry import Pad, PadMode, pad_sides
from nanostyle.backend.gpu.constants import PAD_MODES, WORD
from nanostyle.backend.gpu.launch import blocks, contiguous, launch, supported, word_macros
from nanostyle.backend.memory import empty
from nanostyle.backend.types import Array


def pad_forward(x: Array, *, pad: Pad, mode: PadMode) -> Array:
    """See `ops.shape.pad_forward`."""
    return upsample_pad(x, pad_sides(pad), mode, 1) if supported(x) else NotImplemented


def pad_dx(g: Array, *, pad: Pad, mode: PadMode) -> Array:
    """See `ops.shape.pad_dx`."""
    return upsample_pad_dx(g, pad_sides(pad), mode, 1) if supported(g) else NotImplemented


def upsample_forward(x: Array, *, factor: int) -> Array:
    """See `ops.shape.upsample_forward`."""
    if not supported(x):
        return NotImplemented
    return x if factor == 1 else upsample_pad(x, (0, 0, 0, 0), "zero", factor)


def upsample_dx(g: Array, *, factor: int) -> Array:
    """See `ops.shape.upsample_dx`."""
    if not supported(g):
        return NotImplemented
    return g if factor == 1 else upsample_pad_dx(g, (0, 0, 0, 0), "zero", factor)


def upsample_pad(x: Array, pad: tuple[int, int, int, int], mode: PadMode, up: int) -> Array:
    """`x` upsampled by `up`, then padded by (top, bottom, left, right)."""
    x, words = contiguous(x), word_macros(x)
    top, bottom, left, right = pad
    N, H, W, C = x.shape
    y = empty((N, top + up * H + bottom, left + up * W + right, C), x.dtype, like=x)
    grid = (blocks(y.size // words["VEC"] // N), N)
    launch("shape", "upsample_pad", grid, x, y, H, W, C, *y.shape[1:3], top, left, up, PAD_MODES[mode], **words)
    return y


def upsample_pad_dx(g: Array, pad: tuple[int, int, int, int], mode: PadMode, up: int) -> Array:
    """The transpose of upsampling by `up` and padding by (top, bottom, left, right), in one pass."""
    g, words = contiguous(g), word_macros(g)
    top, bottom, left, right = pad
    N, OH, OW, C = g.shape
    dx = empty((N, (OH - top - bottom) // up, (OW - left - right) // up, C), g.dtype, like=g)
    grid = (blocks(dx.size // words["VEC"] // N), N)
    launch("shape", "upsample_pad_dx", grid, g, dx, *dx.shape[1:], OH, OW, top, left, up, PAD_MODES[mode], **words)
    return dx


def unfold(x: Array, K: int, top: int, mode: int, height: int) -> Array:
    """`(N, height, W, depth)`: at each row the channels of K rows of `x` from `top` before it on, then zeros.

    `depth` is a multiple of 16 bytes; `mode` says what lies outside, as in kernels/common.cuh.
    """
    x = contiguous(x)
    N, H, W, C = x.shape
    unit = WORD // x.dtype.itemsize
    y = empty((N, height, W, blocks(K * C, unit) * unit), x.dtype, like=x)
    grid = (blocks(y.size // unit // N), N)
    numbers = (H, W, C, height, K, top, mode, y.shape[3])
    launch("shape", "unfold", grid, x, y, *numbers, HALF=int(x.dtype == np.float16), VEC=unit)
    return y


def fold(z: Array, b: Array | None, M: int, K: int, top: int, mode: int, height: int, *, relu: bool = False) -> Array:
    """`(N, height, W, M)`: the bias and what K rows of `z`, from `top` before it on, hold for a row; then ReLU.

    Channel `r·M + m` of `z` is for channel m of the row that is `r - top` before it.
    """
    N, H, W, depth = z.shape
    y = empty((N, height, W, M), z.dtype, like=z)
    b = None if b is None else contiguous(b, np.float32)
    numbers = (H, W, depth, height, M, K, top, mode, int(relu))
    launch("shape", "fold", (blocks(y.size // N), N), z, b, y, *numbers, HALF=int(z.dtype == np.float16), VEC=1)
    return y
