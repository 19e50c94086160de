"""Convolution and its transpose, on feature maps `(N, H, W, C)` and weights `(K, K, C, M)`.

The references cut the feature map into blocks of rows and turn each block into columns, one GEMM per block: the
columns of a whole feature map would take K² times its memory.
"""

from collections.abc import Iterator
from typing import Any

from nanostyle.autograd.ops.norm import statistics_of
from nanostyle.autograd.ops.shape import pad_dx, pad_forward, upsample_dx, upsample_forward
from nanostyle.autograd.tensor import Forward, op, op_with_byproduct
from nanostyle.backend.device import module_of
from nanostyle.backend.dispatch import primitive
from nanostyle.backend.geometry import Geometry, PadMode
from nanostyle.backend.memory import empty
from nanostyle.backend.types import Array, Statistics

# Bytes of columns per block: large enough for the GEMM, small enough for the memory of a 512 px feature map.
_BLOCK = 1 << 24


def _padded(x: Array, at: Geometry) -> Array:
    x = upsample_forward(x, factor=at.upsample)
    return pad_forward(x, pad=at.pad, mode=at.mode) if at.pad else x


def _blocks(xp: Array, K: int, L: int, stride: int) -> Iterator[tuple[int, slice, Array]]:
    """For each block of output rows: image, rows, and the columns `(rows·W', K·L·C)` of the padded `xp`."""
    view = module_of(xp).lib.stride_tricks.sliding_window_view(xp, (K, L), axis=(1, 2))
    view = view[:, ::stride, ::stride].transpose(0, 1, 2, 4, 5, 3)
    N, H, W = view.shape[:3]
    step = max(1, _BLOCK // (W * K * L * xp.shape[3] * xp.dtype.itemsize))
    for n in range(N):
        for top in range(0, H, step):
            rows = slice(top, min(H, top + step))
            yield n, rows, view[n, rows].reshape(-1, K * L * xp.shape[3])


@primitive
def conv2d_forward(
    x: Array, w: Array, b: Array | None, *, at: Geometry, relu: bool = False, statistics: bool = False
) -> tuple[Array, Statistics | None]:
    """`y = x * w + b`, then ReLU if asked for.

    Returns `(y, found)`. With `statistics`, `found` is the mean and the (biased) variance `(N, M)` of every channel of
    every feature map of `y`; otherwise None. An implementation may return what `scale_and_shift` makes them of.
    """
    K, L, _, M = w.shape
    H, W = at.output(x.shape[1], x.shape[2], K, L)
    y = empty((x.shape[0], H, W, M), x.dtype, like=x)
    for n, rows, columns in _blocks(_padded(x, at), K, L, at.stride):
        y[n, rows] = (columns @ w.reshape(-1, M)).reshape(-1, W, M)
    if b is not None:
        y += b
    if relu:
        module_of(y).maximum(y, 0, out=y)
    return y, statistics_of(y) if statistics else None


@primitive
def conv2d_dx(g: Array, w: Array, *, size: tuple[int, int], at: Geometry, mask: Array | None = None) -> Array:
    """dL/dx `(N, H, W, C)` for feature maps of `size` (H, W), from `g` = dL/dy.

    `mask` is y itself where the forward pass ended in a ReLU: `g` counts only where y > 0.
    """
    K, L, C, _ = w.shape
    g = masked(g, mask)
    N, Hy, Wy, _ = g.shape
    s = at.stride
    height, width = (at.upsample * n + 2 * at.pad for n in size)
    dxp = module_of(g).zeros((N, height, width, C), g.dtype)
    for k in range(K):
        for j in range(L):
            dxp[:, k : k + s * Hy : s, j : j + s * Wy : s] += g @ w[k, j].T
    dx = pad_dx(dxp, pad=at.pad, mode=at.mode) if at.pad else dxp
    return upsample_dx(dx, factor=at.upsample)


@primitive
def conv2d_dw(g: Array, x: Array, *, kernel: tuple[int, int], at: Geometry, mask: Array | None = None) -> Array:
    """dL/dw `(K, L, C, M)` for a `kernel` (K, L), from `g` = dL/dy and the input x; `mask` as in `conv2d_dx`."""
    g = masked(g, mask)
    K, L = kernel
    C, M = x.shape[3], g.shape[3]
    dw: Array = module_of(g).zeros((K * L * C, M), g.dtype)
    for n, rows, columns in _blocks(_padded(x, at), K, L, at.stride):
        # The last block of x may hold rows that no output uses.
        dw += columns.T @ g[n, rows].reshape(-1, M)
    return dw.reshape(K, L, C, M)


def masked(g: Array, y: Array | None) -> Array:
    """`g` where the ReLU's output `y` is above 0, else 0; `g` itself where there is no ReLU."""
    return g if y is None else g * (y > 0)


@primitive
def conv2d_db(g: Array, *, mask: Array | None = None) -> Array:
    """dL/db `(M,)`: the sum of `g` over feature maps and pixels; `mask` as in `conv2d_dx`."""
    db: Array = masked(g, mask).sum(axis=(0, 1, 2))
    return db


@op_with_byproduct
def conv2d(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    stride: int = 1,
    pad: int = 0,
    mode: PadMode = "zero",
    upsample: int = 1,
    relu: bool = False,
    statistics: bool = False,
) -> tuple[Any, ...]:
    """Convolution (cross-correlation, as everywhere in the field) of `x (N, H, W, C)` with `w (K, L, C, M)`.

    The feature map is first upsampled by `upsample` (nearest), then padded by `pad` pixels filled by `mode`
    (`zero`, `reflect`, `edge`); `b (M,)` is added; `relu` sets what is below 0 to 0. The result is
    `(N, H', W', M)` with `H' = (upsample·H + 2·pad - K) // stride + 1`.

    With `statistics=True` the op returns `(y, statistics)`, for `cin`: mean and variance `(N, M)` of each channel of
    each feature map, computed while the result is still in the cache; on a GPU, what they are made of.

    Raises
    ------
    ValueError
        Shapes do not fit, or the feature map is smaller than the kernel.
    """
    at = Geometry(stride, pad, mode, upsample)
    _check("conv2d", x, w, b)
    if min(at.output(x.shape[1], x.shape[2], *w.shape[:2])) < 1:
        raise ValueError(
            f"conv2d: a picture of {x.shape[1]}x{x.shape[2]} (upsample {upsample}, pad {pad}) is smaller than"
            f" the kernel of {w.shape[0]}x{w.shape[1]}"
        )
    y, found = conv2d_forward(x, w, b, at=at, relu=relu, statistics=statistics)
    mask = y if relu else None

    def dx(g: Array) -> Array:
        return conv2d_dx(g, w, size=x.shape[1:3], at=at, mask=mask)

    def dw(g: Array) -> Array:
        return conv2d_dw(g, x, kernel=w.shape[:2], at=at, mask=mask)

    def db(g: Array) -> Array:
        return conv2d_db(g, mask=mask)

    return (y, (dx, dw, db), found) if statistics else (y, (dx, dw, db))


@op
def conv_transpose2d(
    x: Array, w: Array, b: Array | None = None, *, stride: int = 1, pad: int = 0, output_pad: int = 0
) -> Forward:
    """Fractionally strided convolution of `x (N, H, W, C)` with `w (K, L, C, M)`.

    It is the gradient of `conv2d(stride, pad)` with respect to its input, used forwards: every pixel of `x`
    paints the kernel, `stride` pixels apart. The result is `(N, H', W', M)` with
    `H' = (H - 1)·stride - 2·pad + K + output_pad`. Johnson 2016 upsamples with stride 2, pad 1, output_pad 1.

    Raises
    ------
    ValueError
        Shapes do not fit, `output_pad` is not below `stride`, or the result would be empty.
    """
    _check("conv_transpose2d", x, w, b)
    if not 0 <= output_pad < max(stride, 1):
        raise ValueError(f"conv_transpose2d: expected output_pad from 0 to stride - 1, got {output_pad}")
    K, L = w.shape[:2]
    size = tuple((n - 1) * stride - 2 * pad + k + output_pad for n, k in zip(x.shape[1:3], (K, L), strict=True))
    if min(size) < 1:
        raise ValueError(f"conv_transpose2d: a picture of {x.shape[1]}x{x.shape[2]} leaves {size[0]}x{size[1]}")
    at = Geometry(stride, pad)
    swapped = w.swapaxes(2, 3)
    y = conv2d_dx(x, swapped, size=size, at=at)
    if b is not None:
        y = y + b.astype(y.dtype, copy=False)
    return y, (
        lambda g: conv2d_forward(g, swapped, None, at=at)[0],
        lambda g: conv2d_dw(x, g, kernel=(K, L), at=at).swapaxes(2, 3),
        lambda g: conv2d_db(g),
    )


def _check(name: str, x: Array, w: Array, b: Array | None) -> None:
    if x.ndim != 4 or w.ndim != 4 or x.shape[3] != w.shape[2] or (b is not None and b.shape != w.shape[3:]):
        raise ValueError(
            f"{name}: expected x (N, H, W, C), w (K, K, C, M) and b (M,),"
            f" got {x.shape}, {w.shape} and {None if b is None else b.shape}"
        )
