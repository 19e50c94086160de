"""The primitives of `ops/conv.py` on a GPU, by `kernels/conv.cu` and `kernels/wgrad.cu`.

Weights and biases are float32 or of the pictures' type, and their gradients are float32: sums over many pixels that
float16 could not hold.
"""

from functools import reduce
from operator import add
from typing import Any

import numpy as np

from nanostyle.backend.geometry import Geometry
from nanostyle.backend.gpu.constants import PAD_MODES, SUMS, WORD
from nanostyle.backend.gpu.gemm import Walk, _log2, pack_weights, pad_channels, product, product_over_pixels
from nanostyle.backend.gpu.launch import blocks, contiguous, launch, products, supported, vectors
from nanostyle.backend.gpu.norm import Tiles, sums
from nanostyle.backend.gpu.shape import enlarge, enlarge_adjoint, fold, unfold
from nanostyle.backend.gpu.weight_cache import derived
from nanostyle.backend.memory import empty
from nanostyle.backend.types import Array

# Up to so many channels at all taps of a column together, a convolution is cheaper with these taps as channels.
_THIN = 32


def conv2d_forward(
    x: Array, w: Array, b: Array | None, *, at: Geometry, relu: bool = False, moments: bool = False
) -> Any:
    """See `ops.conv.conv2d_forward`."""
    if not supported(x, w) or at.upsample not in (1, 2, 4) or at.stride > 4:
        return NotImplemented
    size = at.output(*x.shape[1:3], *w.shape[:2])
    if _sparse(at):
        up = at.upsample
        mode = PAD_MODES["zero" if at.mode == "zero" else "edge"]
        walk = Walk(1, at.pad + up - 1, at.pad + up - 1, mode, _log2(up))
        return convolve(x, w, b, size, walk, step=up, spread=up, relu=relu, moments=moments)
    x, at = _within_reach(x, at)
    return convolve(x, w, b, size, Walk.forward(at), relu=relu, moments=moments)


def _sparse(at: Geometry) -> bool:
    """Whether an upsampling convolution is the fractionally strided one by weights that are spread.

    Nearest upsampling by 2 puts each pixel in four places, which is to put it in one, zeros in three, and add up the
    weights of the taps that meet these four: of 36 products 16 are left. Mirrored pixels must be the border's own. (The
    gradient of upsampling by 4 would be a product with stride 4, too wide for the shared memory of small GPUs.)
    """
    return at.upsample == 2 and at.stride == 1 and (at.mode != "reflect" or at.pad < at.upsample)


def _adjoint_walk(kernel: tuple[int, int], at: Geometry) -> tuple[Walk, int]:
    """Where the gradient of a `_sparse` one finds the taps of a pixel, from so many pixels before the first on."""
    up = at.upsample
    border = 0 if at.mode == "zero" else blocks(at.pad, up)
    return Walk(up, *(n - 1 - at.pad + up * border for n in kernel)), border


def _within_reach(x: Array, at: Geometry) -> tuple[Array, Geometry]:
    """A picture narrower than its border, padded already: the products mirror once alone."""
    if at.mode == "zero" or at.pad < at.upsample * min(x.shape[1:3]):
        return x, at
    return enlarge(x, (at.pad,) * 4, at.mode, at.upsample), Geometry(at.stride)


def conv2d_dx(g: Array, w: Array, *, size: tuple[int, int], at: Geometry, mask: Array | None = None) -> Any:
    """See `ops.conv.conv2d_dx`."""
    if not supported(g, w) or at.stride not in (1, 2, 4):
        return NotImplemented
    if _sparse(at):
        walk, border = _adjoint_walk(w.shape[:2], at)
        height, width = (n + 2 * border for n in size)
        dx, _ = convolve(masked(g, mask), w, None, (height, width), walk, adjoint=True, spread=at.upsample)
        return enlarge_adjoint(dx, (border,) * 4, "edge", 1) if border else dx
    # Zeros around the picture need no gradient; what was repeated there adds to the pixels it came from.
    cut = at.pad if at.mode == "zero" else 0
    border = at.pad - cut
    height, width = (at.upsample * n + 2 * border for n in size)
    walk = Walk(pad_h=w.shape[0] - 1 - cut, pad_w=w.shape[1] - 1 - cut, shift=_log2(at.stride))
    dx, _ = convolve(masked(g, mask), w, None, (height, width), walk, adjoint=True, step=at.stride)
    return enlarge_adjoint(dx, (border,) * 4, at.mode, at.upsample) if border or at.upsample > 1 else dx


def conv2d_dw(g: Array, x: Array, *, kernel: tuple[int, int], at: Geometry, mask: Array | None = None) -> Any:
    """See `ops.conv.conv2d_dw`."""
    if not supported(g, x) or at.upsample not in (1, 2, 4):
        return NotImplemented
    (K, L), C, M, g = kernel, x.shape[3], g.shape[3], masked(g, mask)
    if _sparse(at):
        up, (walk, border) = at.upsample, _adjoint_walk(kernel, at)
        x = enlarge(x, (border,) * 4, "edge", 1) if border else x
        spread = _weight_gradient(g, x, (K + up - 1, L + up - 1, M, C), walk)[::-1, ::-1].swapaxes(2, 3)
        parts = [spread[r : r + K, s : s + L] for r in range(up) for s in range(up)]
        return contiguous(reduce(add, parts))
    x, at = _within_reach(x, at)
    walk = Walk.forward(at)
    along = _taps_as_channels(walk, K, C, M)
    if along == "in":
        x = unfold(x, K, walk.pad_h, walk.mode, g.shape[1])
        dw = _weight_gradient(x, g, (1, L, K * C, M), walk._replace(pad_h=0))
        return contiguous(dw.reshape(L, K, C, M).swapaxes(0, 1))
    if along == "out":  # every tap meets every row of the padded picture, if it has the gradient that lies there
        g = unfold(g, K, K - 1, PAD_MODES["zero"], x.shape[1] + 2 * at.pad)
        dw = _weight_gradient(x, g, (1, L, C, K * M), walk).reshape(L, C, K, M)
        return contiguous(dw[:, :, ::-1].transpose(2, 0, 1, 3))
    return _weight_gradient(x, g, (K, L, C, M), walk)


def _weight_gradient(x: Array, g: Array, shape: tuple[int, int, int, int], walk: Walk) -> Array:
    """Of weights `(K, L, C, M)`; x and g may have channels of zeros after C and M."""
    K, L, C, M = shape
    x, g = pad_channels(x), pad_channels(g)
    partial = product_over_pixels(x, g, (K, L), walk)
    dw = empty(shape, np.float32, like=x)
    numbers = (len(partial), K * L, C, x.shape[3], M, g.shape[3])
    launch("gram", "join_splits", blocks(dw.size, SUMS), partial, dw, *numbers, HALF=0)
    return dw


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


def _taps_as_channels(walk: Walk, K: int, C: int, M: int) -> str | None:
    """Whether the taps of a column become channels of what goes in, or of what comes out."""
    if K == 1 or walk.stride > 1 or walk.shift:
        return None
    return "in" if K * C <= _THIN else "out" if K * M <= _THIN else None


def convolve(
    x: Array,
    w: Array,
    b: Array | None,
    size: tuple[int, int],
    walk: Walk,
    *,
    adjoint: bool = False,
    step: int = 1,
    spread: int = 1,
    relu: bool = False,
    moments: bool = False,
) -> tuple[Array, Any]:
    """`y (N, *size, M)` by weights `(K, L, C, M)`, and with `moments` the statistics of its channels, else None.

    With `adjoint` by the weights of the gradient: mirrored, C and M exchanged. `spread`: see `pack_weights`; `step`:
    see `product`.
    """
    K, L, C, M = (*w.shape[:2], w.shape[3], w.shape[2]) if adjoint else w.shape
    along = _taps_as_channels(walk, K, C, M)
    x = unfold(x, K, walk.pad_h, walk.mode, size[0]) if along == "in" else pad_channels(x)

    def pack() -> Array:
        if along is None:
            return pack_weights(w, x, adjoint=adjoint, spread=spread)
        forward = w[::-1, ::-1].swapaxes(2, 3) if adjoint else w
        if along == "in":
            return pack_weights(forward.swapaxes(0, 1).reshape(1, L, K * C, M), x)
        return pack_weights(forward.transpose(1, 2, 0, 3).reshape(1, L, C, K * M), x)

    packed = derived(w, pack, along, adjoint, spread, *products(x).values())
    if along is None:
        return product(x, packed, b, M, size, walk, step=step, relu=relu, moments=moments)
    flat = walk._replace(pad_h=0)
    if along == "in":
        return product(x, packed, b, M, size, flat, relu=relu, moments=moments)
    unit = WORD // x.dtype.itemsize
    z, _ = product(x, packed, None, blocks(K * M, unit) * unit, (x.shape[1], size[1]), flat)
    y = fold(z, b, M, K, walk.pad_h, walk.mode, size[0], relu=relu)
    return y, Tiles.of(y) if moments else None
