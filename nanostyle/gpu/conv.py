"""Floor 0: the primitives of `ops/conv.py` on a GPU, by `kernels/conv.cu` and `kernels/wgrad.cu`.

Weights and biases are float32 or of the pictures' type, and their gradients are float32: sums over many pixels that
float16 could not hold.
"""

from typing import Any

import numpy as np

from nanostyle.arrays import Array, empty
from nanostyle.gpu.launch import PAD_MODES, WORD, blocks, contiguous, launch, products, supported, vectors
from nanostyle.gpu.norm import join_moments, sums
from nanostyle.gpu.shape import enlarge_adjoint

_BM = 128  # output pixels of a block
_STAGES = 3  # as in kernels/gemm.cuh
# Blocks that a product over pixels aims for: two for each multiprocessor of a large GPU.
_BLOCKS = 264


def conv2d_forward(
    x: Array, w: Array, b: Array | None, *, at: Any, relu: bool = False, moments: bool = False
) -> Any:
    """See `ops.conv.conv2d_forward`."""
    if not supported(x, w) or at.upsample not in (1, 2, 4):
        return NotImplemented
    K, L, _, M = w.shape
    size = at.output(x.shape[1], x.shape[2], K, L)
    x = pad_channels(x, thin=True)
    y, partial = product(
        x, pack_weights(w, x), b, size, stride=at.stride, pad=(at.pad, at.pad), mode=at.mode,
        shift=at.upsample.bit_length() - 1, relu=relu, moments=moments,
    )  # fmt: skip
    return y, join_moments(partial, size[0] * size[1], _BM) if moments else None


def conv2d_dx(g: Array, w: Array, *, size: tuple[int, int], at: Any, mask: Array | None = None) -> Any:
    """See `ops.conv.conv2d_dx`."""
    if not supported(g, w) or at.stride not in (1, 2, 4):
        return NotImplemented
    K, L, _, _ = w.shape
    g = pad_channels(masked(g, mask), thin=True)
    # Zeros around the picture need no gradient; what was repeated there adds to the pixels it came from.
    cut = at.pad if at.mode == "zero" else 0
    border = at.pad - cut
    height, width = (at.upsample * n + 2 * border for n in size)
    dx, _ = product(
        g, pack_weights(w, g, adjoint=True), None, (height, width), pad=(K - 1 - cut, L - 1 - cut),
        shift=at.stride.bit_length() - 1, step=at.stride,
    )  # fmt: skip
    return enlarge_adjoint(dx, (border,) * 4, at.mode, at.upsample) if border or at.upsample > 1 else dx


def conv2d_dw(g: Array, x: Array, *, kernel: tuple[int, int], at: Any, mask: Array | None = None) -> Any:
    """See `ops.conv.conv2d_dw`."""
    if not supported(g, x) or at.upsample not in (1, 2, 4):
        return NotImplemented
    C, M = x.shape[3], g.shape[3]
    x, g = pad_channels(x), pad_channels(masked(g, mask))
    partial, macros = product_over_pixels(x, g, kernel, at.stride, at.pad, at.mode, at.upsample.bit_length() - 1)
    return join_splits(partial, 1, kernel, (C, x.shape[3]), (M, g.shape[3]), 1.0, macros)[0]


def conv2d_db(g: Array, *, mask: Array | None = None) -> Any:
    """See `ops.conv.conv2d_db`."""
    if not supported(g, mask):
        return NotImplemented
    g, mask = contiguous(g), None if mask is None else contiguous(mask, g.dtype)
    N, H, W, M = g.shape
    tall = (1, N * H, W, M)
    return sums(g.reshape(tall), None, None if mask is None else mask.reshape(tall), None, None)[0].reshape(M)


def masked(g: Array, y: Array | None) -> Array:
    """`g` where the ReLU's output `y` is above 0, else 0; `g` itself where there is no ReLU."""
    g = contiguous(g)
    if y is None:
        return g
    out = empty(g.shape, g.dtype, like=g)
    macros = vectors(g)
    words = g.size // macros["VEC"]
    launch("shape", "mask_gradient", blocks(words), g, contiguous(y, g.dtype), out, words, **macros)
    return out


def pad_channels(x: Array, *, thin: bool = False) -> Array:
    """`x` with channels of zeros after its own, up to a multiple of 16 bytes; with `thin` 4 channels will do."""
    x, unit = contiguous(x), WORD // x.dtype.itemsize
    C = x.shape[-1]
    depth = 4 if thin and C <= 4 else blocks(C, unit) * unit
    if depth == C:
        return x
    y = empty((*x.shape[:-1], depth), x.dtype, like=x)
    half = int(x.dtype == np.float16)
    launch("shape", "pad_channels", blocks(y.size), x, y, C, depth, y.size, HALF=half, VEC=1)
    return y


def pack_weights(w: Array, x: Array, *, adjoint: bool = False) -> Array:
    """Weights `(K, L, C, M)` for pictures like `x`: `(M, K, L, C')`; or `(C, K, L, M')`, mirrored, for the gradient.

    C' or M' is the number of channels of `x`.
    """
    K, L, C, M = w.shape
    out = empty((C if adjoint else M, K, L, x.shape[3]), x.dtype, like=x)
    half = int(x.dtype == np.float16)
    numbers = (K, L, C, M, x.shape[3], int(adjoint), out.size)
    launch("shape", "pack_weights", blocks(out.size), contiguous(w, np.float32), out, *numbers, HALF=half, VEC=1)
    return out


def product(
    x: Array, w: Array, b: Array | None, size: tuple[int, int], *, stride: int = 1, pad: tuple[int, int] = (0, 0),
    mode: str = "zero", shift: int = 0, step: int = 1, relu: bool = False, moments: bool = False, own: bool = False,
) -> tuple[Array, Array | None]:  # fmt: skip
    """Launch `conv`: `y (N, *size, M)`, and with `moments` those of its tiles.

    The weights `(M, K, L, C)` are packed; with `own` they are `(N, M, K, L, C)`, each picture's own.
    """
    N, H, W, C = x.shape
    M, K, L, _ = w.shape[-4:]
    y = empty((N, *size, M), x.dtype, like=x)
    tiles = blocks(blocks(size[0], step) * blocks(size[1], step), _BM)
    BN = next(n for n in (8, 32, 64, 128) if M <= n or n == 128)
    partial = empty((N, tiles, M, 2), np.float32, like=x) if moments else None
    grain = min(WORD, C * x.dtype.itemsize)
    launch(
        "conv", "conv", (tiles, blocks(M, BN), N * step * step),
        x, w, None if b is None else contiguous(b, np.float32), y, partial,
        H, W, C, *size, M, K, L, stride, *pad, PAD_MODES[mode], shift, step, int(relu), M * K * L * C if own else 0,
        shared=_shared(_BM, BN), **products(x), BM=_BM, BN=BN, GRAIN=grain,
    )  # fmt: skip
    return y, partial


def product_over_pixels(
    x: Array, g: Array, kernel: tuple[int, int], stride: int = 1, pad: int = 0, mode: str = "zero", shift: int = 0,
    symmetric: bool = False,
) -> tuple[Array, dict[str, int]]:  # fmt: skip
    """Launch `wgrad`: partial results `(N·splits, K·L·C, M)`, and the macros it was compiled with."""
    N, H, W, C = x.shape
    _, OH, OW, M = g.shape
    KLC = kernel[0] * kernel[1] * C
    BM, BN = (64, 64) if 32 < M <= 64 else (128, next(n for n in (8, 32, 128) if M <= n or n == 128))
    tiles = blocks(KLC, BM) * blocks(M, BN)
    piece = 64 // x.dtype.itemsize
    split = piece * max(8, blocks(OH * OW * N * tiles, _BLOCKS * piece))
    splits = blocks(OH * OW, split)
    partial = empty((N * splits, KLC, M), np.float32, like=x)
    macros = {**products(x), "BM": BM, "BN": BN}
    launch(
        "wgrad", "wgrad", (blocks(KLC, BM), blocks(M, BN), N * splits), x, g, partial,
        H, W, C, OH, OW, M, kernel[1], KLC, stride, pad, PAD_MODES[mode], shift, split, splits, int(symmetric),
        shared=_shared(BM, BN), **macros,
    )  # fmt: skip
    return partial, macros


def join_splits(
    partial: Array, groups: int, kernel: tuple[int, int], C: tuple[int, int], M: tuple[int, int], scale: float,
    macros: dict[str, int], symmetric: bool = False,
) -> Array:  # fmt: skip
    """`(groups, K, L, C, M)`: `scale` times the sums of partial results. C and M: without and with padding."""
    K, L = kernel
    out = empty((groups, K, L, C[0], M[0]), np.float32, like=partial)
    launch(
        "wgrad", "wgrad_join", (blocks(out.size // groups), groups),
        partial, out, len(partial) // groups, K * L, *C, *M, scale, int(symmetric), **macros,
    )  # fmt: skip
    return out


def _shared(BM: int, BN: int) -> int:
    return _STAGES * (BM + BN) * 64
