"""Reshaping, joining, cropping, padding and upsampling of feature maps `(N, H, W, C)`."""

import numpy as np

from nanostyle.autograd.tensor import Forward, Vjp, op
from nanostyle.backend.device import module_of
from nanostyle.backend.dispatch import primitive
from nanostyle.backend.geometry import Pad, PadMode, border_index, pad_sides
from nanostyle.backend.memory import empty
from nanostyle.backend.types import Array


@op
def reshape(x: Array, *, shape: tuple[int, ...]) -> Forward:
    """The same values in another shape."""
    return x.reshape(shape), (lambda g: g.reshape(x.shape),)


@op
def concat(*parts: Array, axis: int = -1) -> Forward:
    """`parts` one behind the other along `axis`; their other axes are of one length.

    Raises
    ------
    ValueError
        The shapes do not fit.
    """
    lengths = {(part.ndim, *part.shape[:axis], *part.shape[axis:][1:]) for part in parts}
    if len(lengths) != 1:
        raise ValueError(f"concat: expected shapes that differ in axis {axis} alone, got {[p.shape for p in parts]}")
    ends = np.cumsum([part.shape[axis] for part in parts])

    def vjp(i: int) -> Vjp:
        window = [slice(None)] * parts[i].ndim
        window[axis] = slice(ends[i] - parts[i].shape[axis], ends[i])
        return lambda g: g[tuple(window)]

    return module_of(parts[0]).concatenate(parts, axis=axis), tuple(vjp(i) for i in range(len(parts)))


@op
def narrow(x: Array, *, start: int, length: int) -> Forward:
    """The values from `start` to `start + length` of the last axis.

    Raises
    ------
    ValueError
        There are not as many.
    """
    if not 0 <= start <= start + length <= x.shape[-1]:
        raise ValueError(f"narrow: {length} values from {start} on are not among {x.shape[-1]}")

    def dx(g: Array) -> Array:
        out: Array = module_of(g).zeros(x.shape, g.dtype)
        out[..., start : start + length] = g
        return out

    return x[..., start : start + length], (dx,)


@op
def crop(x: Array, *, top: int, left: int, height: int, width: int) -> Forward:
    """The window of `height` x `width` pixels at `(top, left)` of every feature map.

    Raises
    ------
    ValueError
        The window reaches outside the feature map.
    """
    _, H, W, _ = x.shape
    if not (0 <= top <= top + height <= H and 0 <= left <= left + width <= W):
        raise ValueError(f"crop: a window of {height}x{width} at ({top}, {left}) is not inside {H}x{W} pixels")

    def dx(g: Array) -> Array:
        out: Array = module_of(g).zeros(x.shape, g.dtype)
        out[:, top : top + height, left : left + width] = g
        return out

    return x[:, top : top + height, left : left + width], (dx,)


@primitive
def pad_forward(x: Array, *, pad: Pad, mode: PadMode) -> Array:
    """`x` with `pad` pixels more on each side (or top, bottom, left, right), filled by `mode`."""
    top, bottom, left, right = pad_sides(pad)
    N, H, W, C = x.shape
    y = empty((N, top + H + bottom, left + W + right, C), x.dtype, like=x)
    y[:, top : top + H, left : left + W] = x
    # Rows first, over the feature map's columns; then columns, over all rows: so the corners come out right.
    for i, source in enumerate(border_index(H, top, bottom, mode)):
        if not top <= i < top + H:
            y[:, i, left : left + W] = 0 if source < 0 else x[:, source]
    for j, source in enumerate(border_index(W, left, right, mode)):
        if not left <= j < left + W:
            y[:, :, j] = 0 if source < 0 else y[:, :, left + source]
    return y


@primitive
def pad_dx(g: Array, *, pad: Pad, mode: PadMode) -> Array:
    """The transpose of `pad_forward`: every padded pixel's gradient is added to the pixel it repeats."""
    top, bottom, left, right = pad_sides(pad)
    H, W = g.shape[1] - top - bottom, g.shape[2] - left - right
    if mode == "zero":
        return g[:, top : top + H, left : left + W]
    rows = g[:, top : top + H].copy()
    for i, source in enumerate(border_index(H, top, bottom, mode)):
        if not top <= i < top + H:
            rows[:, source] += g[:, i]
    dx: Array = rows[:, :, left : left + W].copy()
    for j, source in enumerate(border_index(W, left, right, mode)):
        if not left <= j < left + W:
            dx[:, :, source] += rows[:, :, j]
    return dx


@op
def pad(x: Array, *, pad: Pad, mode: PadMode = "zero") -> Forward:
    """Feature maps with a border of `pad` pixels (one number, or top, bottom, left, right).

    `mode`: `zero`, `edge` (repeats the border pixel) or `reflect` (mirrors at the border pixel).
    """
    return pad_forward(x, pad=pad, mode=mode), (lambda g: pad_dx(g, pad=pad, mode=mode),)


@primitive
def upsample_forward(x: Array, *, factor: int) -> Array:
    """Nearest-neighbor upsampling: every pixel becomes a square of `factor` x `factor`."""
    if factor == 1:
        return x
    N, H, W, C = x.shape
    y = empty((N, H, factor, W, factor, C), x.dtype, like=x)
    y[...] = x[:, :, None, :, None]
    return y.reshape(N, factor * H, factor * W, C)


@primitive
def upsample_dx(g: Array, *, factor: int) -> Array:
    """The transpose of `upsample_forward`: the sum over every square."""
    if factor == 1:
        return g
    N, H, W, C = g.shape
    dx: Array = g.reshape(N, H // factor, factor, W // factor, factor, C).sum(axis=(2, 4))
    return dx


@op
def upsample(x: Array, *, factor: int = 2) -> Forward:
    """Nearest-neighbor upsampling `(N, H, W, C) -> (N, factor·H, factor·W, C)`."""
    return upsample_forward(x, factor=factor), (lambda g: upsample_dx(g, factor=factor),)
