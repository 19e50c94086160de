"""The primitives of `ops/conv.py` on a GPU, by `kernels/conv.cu`, `wgrad.cu`, `gram.cu` and `shape.cu`.

Weights and biases are float32 or of the feature maps' type, and their gradients are float32: they are sums over
many pixels, which float16 could not hold.
"""

from functools import reduce
from operator import add

import numpy as np

from nanostyle.backend.geometry import Geometry
from nanostyle.backend.gpu.constants import PAD_MODES, SUMS, WORD
from nanostyle.backend.gpu.gemm import Walk, launch_conv, launch_wgrad, log2, pack_weights, pad_channels
from nanostyle.backend.gpu.launch import blocks, contiguous, launch, matmul_macros, supported, word_macros
from nanostyle.backend.gpu.norm import TileStatistics, sums
from nanostyle.backend.gpu.shape import fold, unfold, upsample_pad, upsample_pad_dx
from nanostyle.backend.gpu.weight_cache import cached
from nanostyle.backend.memory import empty
from nanostyle.backend.types import Array, Statistics

# A convolution with at most so many channels at all taps of a column together is cheaper with these taps as channels.
_FEW = 32


def conv2d_forward(
    x: Array, w: Array, b: Array | None, *, at: Geometry, relu: bool = False, statistics: bool = False
) -> tuple[Array, Statistics | None]:
    """See `ops.conv.conv2d_forward`."""
    if not supported(x, w) or at.upsample not in (1, 2, 4) or at.stride > 4:
        return NotImplemented
    size = at.output(*x.shape[1:3], *w.shape[:2])
    if _sparse(at):
        up = at.upsample
        mode = PAD_MODES["zero" if at.mode == "zero" else "edge"]
        walk = Walk(1, at.pad + up - 1, at.pad + up - 1, mode, log2(up))
        return _convolve(x, w, b, size, walk, step=up, spread=up, relu=relu, statistics=statistics)
    x, at = _within_reach(x, at)
    return _convolve(x, w, b, size, Walk.forward(at), relu=relu, statistics=statistics)


def _sparse(at: Geometry) -> bool:
    """Whether an upsampling convolution is the fractionally strided one by weights that are spread.

    Nearest upsampling by 2 puts each pixel in four places, which is to put it in one, zeros in three, and add up the
    weights of the taps that meet these four: of 36 products 16 are left. Mirrored pixels must be the border's own. (The
    gradient of upsampling by 4 would be a product with stride 4, too wide for the shared memory of small GPUs.)
    """
    return at.upsample == 2 and at.stride == 1 and (at.mode != "reflect" or at.pad < at.upsample)


def _gradient_walk(kernel: tuple[int, int], at: Geometry) -> tuple[Walk, int]:
    """The walk for the input gradient of an upsampling convolution, and the width of its border."""
    up = at.upsample
    border = 0 if at.mode == "zero" else blocks(at.pad, up)
    return Walk(up, *(n - 1 - at.pad + up * border for n in kernel)), border


def _within_reach(x: Array, at: Geometry) -> tuple[Array, Geometry]:
    """`x`, and how to walk over it: padded here if it is narrower than its border, as the kernels mirror once."""
    if at.mode == "zero" or at.pad < at.upsample * min(x.shape[1:3]):
        return x, at
    return upsample_pad(x, (at.pad,) * 4, at.mode, at.upsample), Geometry(at.stride)


def conv2d_dx(g: Array, w: Array, *, size: tuple[int, int], at: Geometry, mask: Array | None = None) -> Array:
    """See `ops.conv.conv2d_dx`."""
    if not supported(g, w) or at.stride not in (1, 2, 4):
        return NotImplemented
    if _sparse(at):
        walk, border = _gradient_walk(w.shape[:2], at)
        height, width = (n + 2 * border for n in size)
        dx, _ = _convolve(_masked(g, mask), w, None, (height, width), walk, for_dx=True, spread=at.upsample)
        return upsample_pad_dx(dx, (border,) * 4, "edge", 1) if border else dx
    # Zeros around the feature map need no gradient; what was repeated there adds to the pixels it came from.
    cut = at.pad if at.mode == "zero" else 0
    border = at.pad - cut
    height, width = (at.upsample * n + 2 * border for n in size)
    walk = Walk(pad_h=w.shape[0] - 1 - cut, pad_w=w.shape[1] - 1 - cut, shift=log2(at.stride))
    dx, _ = _convolve(_masked(g, mask), w, None, (height, width), walk, for_dx=True, step=at.stride)
    return upsample_pad_dx(dx, (border,) * 4, at.mode, at.upsample) if border or at.upsample > 1 else dx


def conv2d_dw(g: Array, x: Array, *, kernel: tuple[int, int], at: Geometry, mask: Array | None = None) -> Array:
    """See `ops.conv.conv2d_dw`."""
    if not supported(g, x) or at.upsample not in (1, 2, 4):
        return NotImplemented
    (K, L), C, M, g = kernel, x.shape[3], g.shape[3], _masked(g, mask)
    if _sparse(at):
        up, (walk, border) = at.upsample, _gradient_walk(kernel, at)
        x = upsample_pad(x, (border,) * 4, "edge", 1) if border else x
        spread = _weight_gradient(g, x, (K + up - 1, L + up - 1, M, C), walk)[::-1, ::-1].swapaxes(2, 3)
        taps = [spread[r : r + K, s : s + L] for r in range(up) for s in range(up)]
        return contiguous(reduce(add, taps))
    x, at = _within_reach(x, at)
    walk = Walk.forward(at)
    along = _taps_as_channels(walk, K, C, M)
    if along == "in":
        x = unfold(x, K, walk.pad_h, walk.mode, g.shape[1])
        dw = _weight_gradient(x, g, (1, L, K * C, M), walk._replace(pad_h=0))
        return contiguous(dw.reshape(L, K, C, M).swapaxes(0, 1))
    if along == "out":  # every tap meets every row of the padded feature map, if it has the gradient that lies there
        g = unfold(g, K, K - 1, PAD_MODES["zero"], x.shape[1] + 2 * at.pad)
        dw = _weight_gradient(x, g, (1, L, C, K * M), walk).reshape(L, C, K, M)
        return contiguous(dw[:, :, ::-1].transpose(2, 0, 1, 3))
    return _weight_gradient(x, g, (K, L, C, M), walk)


def _weight_gradient(x: Array, g: Array, shape: tuple[int, int, int, int], walk: Walk) -> Array:
    """The gradient of weights `(K, L, C, M)`; x and g may have channels of zeros after C and M."""
    K, L, C, M = shape
    x, g = pad_channels(x), pad_channels(g)
    partial = launch_wgrad(x, g, (K, L), walk)
    dw = empty(shape, np.float32, like=x)
    numbers = (len(partial), K * L, C, x.shape[3], M, g.shape[3])
    launch("gram", "join_splits", blocks(dw.size, SUMS), partial, dw, *numbers, HALF=0)
    return dw


def conv2d_db(g: Array, *, mask: Array | None = None) -> Array:
    """See `ops.conv.conv2d_db`."""
    if not supported(g, mask):
        return NotImplemented
    g, mask = contiguous(g), None if mask is None else contiguous(mask, g.dtype)
    N, H, W, M = g.shape
    tall = (1, N * H, W, M)
    return sums(g.reshape(tall), None, None if mask is None else mask.reshape(tall), None, None)[0].reshape(M)


def _masked(g: Array, y: Array | None) -> Array:
    """`g` where the ReLU's output `y` is above 0, else 0; `g` itself where there is no ReLU."""
    g = contiguous(g)
    if y is None:
        return g
    out = empty(g.shape, g.dtype, like=g)
    macros = word_macros(g)
    words = g.size // macros["VEC"]
    launch("shape", "mask_gradient", blocks(words), g, contiguous(y, g.dtype), out, words, **macros)
    return out


def _taps_as_channels(walk: Walk, K: int, C: int, M: int) -> str | None:
    """Whether the taps of a column become channels of the input (`in`) or of the output (`out`)."""
    if K == 1 or walk.stride > 1 or walk.shift:
        return None
    return "in" if K * C <= _FEW else "out" if K * M <= _FEW else None


def _convolve(
    x: Array,
    w: Array,
    b: Array | None,
    size: tuple[int, int],
    walk: Walk,
    *,
    for_dx: bool = False,
    step: int = 1,
    spread: int = 1,
    relu: bool = False,
    statistics: bool = False,
) -> tuple[Array, Statistics | None]:
    """`y (N, *size, M)` by weights `(K, L, C, M)`, and with `statistics` the statistics of its channels, else None.

    With `for_dx` by the weights of the gradient to the input: mirrored, C and M exchanged.
    `spread`: see `pack_weights`; `step`: see `launch_conv`.
    """
    K, L, C, M = (*w.shape[:2], w.shape[3], w.shape[2]) if for_dx else w.shape
    along = _taps_as_channels(walk, K, C, M)
    x = unfold(x, K, walk.pad_h, walk.mode, size[0]) if along == "in" else pad_channels(x)

    def pack() -> Array:
        if along is None:
            return pack_weights(w, x, for_dx=for_dx, spread=spread)
        forward = w[::-1, ::-1].swapaxes(2, 3) if for_dx else w
        if along == "in":
            return pack_weights(forward.swapaxes(0, 1).reshape(1, L, K * C, M), x)
        return pack_weights(forward.transpose(1, 2, 0, 3).reshape(1, L, C, K * M), x)

    packed = cached(w, pack, along, for_dx, spread, *matmul_macros(x).values())
    if along is None:
        return launch_conv(x, packed, b, M, size, walk, step=step, relu=relu, statistics=statistics)
    flat = walk._replace(pad_h=0)
    if along == "in":
        return launch_conv(x, packed, b, M, size, flat, relu=relu, statistics=statistics)
    unit = WORD // x.dtype.itemsize
    z, _ = launch_conv(x, packed, None, blocks(K * M, unit) * unit, (x.shape[1], size[1]), flat)
    y = fold(z, b, M, K, walk.pad_h, walk.mode, size[0], relu=relu)
    return y, TileStatistics.of(y) if statistics else None
