"""Statistics and normalization in strips: the twins of `ops/norm.py`."""

from collections.abc import Sequence

import numpy as np

from nanostyle.backend.cpu.blocking import Strip, channel_sum, pixels, strips
from nanostyle.backend.memory import empty, scratch
from nanostyle.backend.threads import parallel
from nanostyle.backend.types import Array

# Pixels, and mean and sum of squares around it of every channel `(C,)` in float64, over one part of a picture.
Partial = tuple[int, Array, Array]

# Variance, in parts of a layer's largest mean square: 3e-6 of the largest value, squared.
FLAT = np.float32(1e-11)


def partial_moments(rows: Array, C: int) -> Partial:
    """The partial statistics of pixels, as `rows (R, tile·C)`, by the corrected two-pass algorithm (Chan 1983, 1.7).

    The deviations from a number near the mean are small, and so is their rounding: their sum corrects both results.
    The mean of a few of the rows is near enough: off by D deviations, the rounding grows by 1 + D².
    """
    P = rows.size // C
    some = rows[:: max(1, len(rows) // 4)]
    center = (channel_sum(some, C) * (C / some.size)).astype(np.float32)
    # In the memory of a convolution's stages, which are over for these pixels.
    d = np.subtract(rows, np.tile(center, rows.shape[1] // C), out=scratch("half", rows.shape))
    off = channel_sum(d, C)
    squares = channel_sum(np.multiply(d, d, out=d), C)
    return P, center + off / P, np.maximum(squares - off * off / P, 0)


def merge_moments(partials: Sequence[Partial]) -> tuple[Array, Array]:
    """Mean and (biased) variance `(C,)` in float32 of the parts together (Chan 1979): no E[x²] - E[x]²."""
    count, mean, squares = (np.array(part, np.float64) for part in zip(*partials, strict=True))
    whole = count @ mean / count.sum()
    variance = (squares.sum(axis=0) + count @ (mean - whole) ** 2) / count.sum()
    return whole.astype(np.float32), variance.astype(np.float32)


def moments_of(x: Array) -> tuple[Array, Array]:
    """See `ops.norm.moments_of`."""
    x = pixels(x)
    N, P, C = x.shape
    cut = strips(N, P, C)
    partials = parallel(lambda s: partial_moments(s.rows(x), C), cut)
    each = [merge_moments([part for s, part in zip(cut, partials, strict=True) if s.picture == n]) for n in range(N)]
    means, variances = zip(*each, strict=True)
    return np.stack(means), np.stack(variances)


def scale_and_shift(
    moments: tuple[Array, Array], gamma: Array, beta: Array, *, eps: float
) -> tuple[Array, Array, Array, Array]:
    """See `ops.norm.scale_and_shift`. What varies by no more than rounding is taken for constant.

    Winograd's algorithm rounds unlike at the places of a tile. Of a picture of one color that is all there is, and
    three norms in a row, which enlarge it 300 times each, would make a pattern of it.
    """
    mean, variance = moments
    largest = (mean * mean + variance).max(axis=1, keepdims=True)
    rstd = np.where(variance > FLAT * largest, 1 / np.sqrt(variance + np.float32(eps)), np.float32(0))
    scale = gamma * rstd
    return mean, rstd, scale, beta - scale * mean


def normalize_forward(x: Array, scale: Array, shift: Array, residual: Array | None, *, relu: bool = False) -> Array:
    """See `ops.norm.normalize_forward`."""
    y = empty(x.shape)
    xs, ys = pixels(x), pixels(y)
    rs = None if residual is None else pixels(residual)
    cut = strips(*xs.shape)
    scales, shifts = _tiles(scale, cut), _tiles(shift, cut)
    zeros = np.zeros_like(shifts[0])

    def job(s: Strip) -> None:
        out = s.rows(ys)
        width = out.shape[1]
        np.multiply(s.rows(xs), scales[s.picture, :width], out=out)
        np.add(out, shifts[s.picture, :width], out=out)
        if rs is not None:
            np.add(out, s.rows(rs), out=out)
        if relu:
            np.maximum(out, zeros[:width], out=out)

    parallel(job, cut)
    return y


def normalize_backward(
    g: Array, x: Array, y: Array | None, mean: Array, rstd: Array, gamma: Array, *, need_g: bool
) -> tuple[Array, Array, Array, Array | None]:
    """See `ops.norm.normalize_backward`. Two passes: the sums, then dx; no full-size array besides the results."""
    dx = empty(x.shape)
    masked_g = g if y is None else empty(x.shape) if need_g else dx  # dx is free until the second pass
    xs, gs, dxs, ms = pixels(x), pixels(g), pixels(dx), pixels(masked_g)
    ys = None if y is None else pixels(y)
    N, P, C = xs.shape
    cut = strips(N, P, C)
    means = _tiles(mean, cut)

    def reduce(s: Strip) -> tuple[Array, Array]:
        gm = s.rows(ms)
        t = scratch("normalize", gm.shape)
        if ys is not None:
            positive = np.greater(s.rows(ys), 0, out=scratch("positive", gm.shape, bool))
            np.copyto(t, positive)  # a product with bool takes twice as long as this and a product with float32
            np.multiply(s.rows(gs), t, out=gm)
        np.subtract(s.rows(xs), means[s.picture, : gm.shape[1]], out=t)
        np.multiply(t, gm, out=t)
        return channel_sum(gm, C), channel_sum(t, C)

    dbeta, dgamma = np.zeros((2, N, C))
    for s, (sum_g, sum_gx) in zip(cut, parallel(reduce, cut), strict=True):
        dbeta[s.picture] += sum_g
        dgamma[s.picture] += sum_gx
    dgamma *= rstd

    # dx = (g - (dbeta + (x - mean)·rstd·dgamma)/P)·gamma·rstd = (g - (slope·x + offset))·scale
    slope = rstd * dgamma / P
    offset = dbeta / P - slope * mean
    slopes, offsets, scales = (_tiles(k, cut) for k in (slope, offset, gamma * rstd))

    def apply(s: Strip) -> None:
        out = s.rows(dxs)
        width = out.shape[1]
        t = np.multiply(s.rows(xs), slopes[s.picture, :width], out=scratch("normalize", out.shape))
        np.add(t, offsets[s.picture, :width], out=t)
        np.subtract(s.rows(ms), t, out=out)
        np.multiply(out, scales[s.picture, :width], out=out)

    parallel(apply, cut)
    return dx, dgamma.astype(np.float32), dbeta.astype(np.float32), masked_g if need_g else None


def _tiles(rows: Array, cut: Sequence[Strip]) -> Array:
    """The operand per channel `rows (N, C)`, repeated for a row of the widest strip."""
    return np.tile(rows.astype(np.float32), max(s.tile for s in cut))
