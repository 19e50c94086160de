"""Floor 0: the primitives of `ops/conv.py` on a GPU, by `kernels/conv.cu` and `kernels/wgrad.cu`.

Weights and biases are float32 or of the pictures' type, and their gradients are float32: sums over many pixels that
float16 could not hold.
"""

from typing import Any, NamedTuple

import numpy as np

from nanostyle.arrays import Array, empty
from nanostyle.gpu.launch import PAD_MODES, WORD, blocks, contiguous, launch, products, supported, vectors
from nanostyle.gpu.norm import join_moments, sums
from nanostyle.gpu.shape import enlarge_adjoint

_BM = 128  # output pixels of a block
_STAGES = 3  # as in kernels/gemm.cuh
# Blocks that a product over pixels aims for: two for each multiprocessor of a large GPU.
_BLOCKS = 264


class Walk(NamedTuple):
    """How the kernels find the pixel of a tap: see the head of kernels/conv.cu."""

    stride: int = 1
    pad_h: int = 0
    pad_w: int = 0
    mode: int = PAD_MODES["zero"]
    shift: int = 0

    @classmethod
    def forward(cls, at: Any) -> "Walk":
        """As `at`, a `Geometry`, says."""
        return cls(at.stride, at.pad, at.pad, PAD_MODES[at.mode], _log2(at.upsample))


def _log2(n: int) -> int:
    return n.bit_length() - 1


def conv2d_forward(x: Array, w: Array, b: Array | None, *, at: Any, relu: bool = False, moments: bool = False) -> Any:
    """See `ops.conv.conv2d_forward`."""
    if not supported(x, w) or at.upsample not in (1, 2, 4):
        return NotImplemented
    size = at.output(*x.shape[1:3], *w.shape[:2])
    x = pad_channels(x, thin=True)
    y, partial = product(x, pack_weights(w, x), b, size, Walk.forward(at), relu=relu, moments=moments)
    return y, None if partial is None else join_moments(partial, size[0] * size[1], _BM)


def conv2d_dx(g: Array, w: Array, *, size: tuple[int, int], at: Any, mask: Array | None = None) -> Any:
    """See `ops.conv.conv2d_dx`."""
    if not supported(g, w) or at.stride not in (1, 2, 4):
        return NotImplemented
    g = pad_channels(masked(g, mask), thin=True)
    # Zeros around the picture need no gradient; what was repeated there adds to the pixels it came from.
    cut = at.pad if at.mode == "zero" else 0
    border = at.pad - cut
    height, width = (at.upsample * n + 2 * border for n in size)
    walk = Walk(pad_h=w.shape[0] - 1 - cut, pad_w=w.shape[1] - 1 - cut, shift=_log2(at.stride))
    dx, _ = product(g, pack_weights(w, g, adjoint=True), None, (height, width), walk, step=at.stride)
    return enlarge_adjoint(dx, (border,) * 4, at.mode, at.upsample) if border or at.upsample > 1 else dx


def conv2d_dw(g: Array, x: Array, *, kernel: tuple[int, int], at: Any, mask: Array | None = None) -> Any:
    """See `ops.conv.conv2d_dw`."""
    if not supported(g, x) or at.upsample not in (1, 2, 4):
        return NotImplemented
    C, M = x.shape[3], g.shape[3]
    x, g = pad_channels(x), pad_channels(masked(g, mask))
    partial = product_over_pixels(x, g, kernel, Walk.forward(at))
    return join_splits(partial, 1, kernel, (C, x.shape[3]), (M, g.shape[3]))[0]


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
    x: Array,
    w: Array,
    b: Array | None,
    size: tuple[int, int],
    walk: Walk,
    *,
    step: int = 1,
    relu: bool = False,
    moments: bool = False,
    own: bool = False,
) -> tuple[Array, Array | None]:
    """Launch `conv`: `y (N, *size, M)`, and with `moments` those of its tiles, else None.

    The weights `(M, K, L, C)` are packed; with `own` they are `(N, M, K, L, C)`, each picture's own. Where the pixels
    of x stand apart with zeros between them, `step` is their distance, else 1.
    """
    N, H, W, C = x.shape
    M, K, L, _ = w.shape[-4:]
    BN = next(n for n in (8, 32, 64, 128) if n >= min(M, 128))
    tiles = blocks(blocks(size[0], step) * blocks(size[1], step), _BM)
    y = empty((N, *size, M), x.dtype, like=x)
    partial = empty((N, tiles, M, 2), np.float32, like=x) if moments else None
    b = None if b is None else contiguous(b, np.float32)
    shape = (H, W, C, *size, M, K, L)
    options = (step, int(relu), M * K * L * C if own else 0)
    macros = {**products(x), "BM": _BM, "BN": BN, "GRAIN": min(WORD, C * x.dtype.itemsize)}
    grid = (tiles, blocks(M, BN), N * step * step)
    launch("conv", "conv", grid, x, w, b, y, partial, *shape, *walk, *options, shared=_shared(_BM, BN), **macros)
    return y, partial


def product_over_pixels(x: Array, g: Array, kernel: tuple[int, int], walk: Walk, *, symmetric: bool = False) -> Array:
    """Launch `wgrad`: partial results `(N·splits, K·L·C, M)`, for `join_splits`."""
    N, H, W, C = x.shape
    _, OH, OW, M = g.shape
    KLC = kernel[0] * kernel[1] * C
    BM, BN = (64, 64) if 32 < M <= 64 else (128, next(n for n in (8, 32, 128) if n >= min(M, 128)))
    tiles = (blocks(KLC, BM), blocks(M, BN))
    piece = 64 // x.dtype.itemsize  # pixels that are multiplied at a time
    split = piece * max(8, blocks(OH * OW * N * tiles[0] * tiles[1], _BLOCKS * piece))
    splits = blocks(OH * OW, split)
    partial = empty((N * splits, KLC, M), np.float32, like=x)
    shape = (H, W, C, OH, OW, M, kernel[1], KLC)
    options = (split, splits, int(symmetric))
    macros = {**products(x), "BM": BM, "BN": BN}
    grid = (*tiles, N * splits)
    launch("wgrad", "wgrad", grid, x, g, partial, *shape, *walk, *options, shared=_shared(BM, BN), **macros)
    return partial


def join_splits(
    partial: Array,
    groups: int,
    kernel: tuple[int, int],
    C: tuple[int, int],
    M: tuple[int, int],
    *,
    scale: float = 1.0,
    symmetric: bool = False,
) -> Array:
    """`(groups, K, L, C, M)`: `scale` times the sums of partial results. C and M: without and with padding."""
    K, L = kernel
    out = empty((groups, K, L, C[0], M[0]), np.float32, like=partial)
    grid = (blocks(out.size // groups), groups)
    numbers = (len(partial) // groups, K * L, *C, *M, scale, int(symmetric))
    launch("gram", "join_splits", grid, partial, out, *numbers, HALF=0)
    return out


def _shared(BM: int, BN: int) -> int:
    return _STAGES * (BM + BN) * 64
