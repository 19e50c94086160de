"""Statistics and normalization: the primitives of `ops/norm.py`, block by block."""

from collections.abc import Sequence

import numpy as np

from nanostyle.backend.cpu.blocking import PixelBlock, channel_sum, pixel_blocks, pixels, repeated
from nanostyle.backend.memory import empty, scratch
from nanostyle.backend.threads import parallel
from nanostyle.backend.types import Array, Statistics

# Pixels, and mean and sum of squares around it of every channel `(C,)` in float64, over one block of a feature map.
Partial = tuple[int, Array, Array]

# Variance, as a share of a layer's largest mean square: 3e-6 of the largest value, squared.
FLAT = np.float32(1e-11)


def partial_statistics(rows: Array, C: int) -> Partial:
    """The partial statistics of pixels, as `rows (R, width·C)`, by the corrected two-pass algorithm (Chan 1983, 1.7).

    The deviations from a number near the mean are small, and so is their rounding: their sum corrects both results.
    The mean of a few of the rows is near enough: off by D deviations, the rounding grows by 1 + D².
    """
    P = rows.size // C
    some = rows[:: max(1, len(rows) // 4)]
    center = (channel_sum(some, C) * (C / some.size)).astype(np.float32)
    # In the memory of a convolution's stages, which are over for these pixels.
    d = np.subtract(rows, repeated(center, rows.shape[1] // C), out=scratch("half", rows.shape))
    off = channel_sum(d, C)
    squares = channel_sum(np.multiply(d, d, out=d), C)
    return P, center + off / P, np.maximum(squares - off * off / P, 0)


def merge_statistics(partials: Sequence[Partial]) -> tuple[Array, Array]:
    """Mean and (biased) variance `(C,)` in float32 of all blocks together (Chan 1979): no E[x²] - E[x]²."""
    count, mean, squares = (np.array(column, np.float64) for column in zip(*partials, strict=True))
    whole = count @ mean / count.sum()
    variance = (squares.sum(axis=0) + count @ (mean - whole) ** 2) / count.sum()
    return whole.astype(np.float32), variance.astype(np.float32)


def statistics_of(x: Array) -> tuple[Array, Array]:
    """See `ops.norm.statistics_of`."""
    x = pixels(x)
    N, P, C = x.shape
    blocks = pixel_blocks(N, P, C)
    partials = parallel(lambda block: partial_statistics(block.rows(x), C), blocks)
    each = [
        merge_statistics([partial for block, partial in zip(blocks, partials, strict=True) if block.n == n])
        for n in range(N)
    ]
    means, variances = zip(*each, strict=True)
    return np.array(means), np.array(variances)


def scale_and_shift(
    statistics: Statistics, gamma: Array, beta: Array, *, eps: float
) -> tuple[Array, Array, Array, Array]:
    """See `ops.norm.scale_and_shift`. What varies by no more than rounding is taken for constant.

    Winograd's algorithm rounds unlike at the places of a tile. In a feature map of one color that is all there is, and
    three norms in a row, which enlarge it 300 times each, would make a pattern of it.
    """
    mean, variance = statistics if isinstance(statistics, tuple) else statistics.joined()
    largest = (mean * mean + variance).max(axis=1, keepdims=True)
    rstd = np.where(variance > FLAT * largest, 1 / np.sqrt(variance + np.float32(eps)), np.float32(0))
    scale = gamma * rstd
    return mean, rstd, scale, beta - scale * mean


def normalize_forward(
    x: Array, scale: Array, shift: Array, residual: Array | None, *, relu: bool = False, spent: bool = False
) -> Array:
    """See `ops.norm.normalize_forward`."""
    # In its place the result is in the cache already.
    y = x if spent and x.flags.c_contiguous and x.flags.writeable else empty(x.shape)
    xs, ys = pixels(x), pixels(y)
    rs = None if residual is None else pixels(residual)
    blocks = pixel_blocks(*xs.shape)
    scales, shifts = _repeated(scale, blocks), _repeated(shift, blocks)
    zeros = np.zeros_like(shifts[0])

    def job(block: PixelBlock) -> None:
        out = block.rows(ys)
        width = out.shape[1]
        np.multiply(block.rows(xs), scales[block.n, :width], out=out)
        np.add(out, shifts[block.n, :width], out=out)
        if rs is not None:
            np.add(out, block.rows(rs), out=out)
        if relu:
            np.maximum(out, zeros[:width], out=out)

    parallel(job, blocks)
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
    blocks = pixel_blocks(N, P, C)
    means = _repeated(mean, blocks)

    def reduce(block: PixelBlock) -> tuple[Array, Array]:
        gm = block.rows(ms)
        t = scratch("normalize", gm.shape)
        if ys is not None:
            positive = np.greater(block.rows(ys), 0, out=scratch("positive", gm.shape, bool))
            np.copyto(t, positive)  # a product with bool takes twice as long as this and a product with float32
            np.multiply(block.rows(gs), t, out=gm)
        np.subtract(block.rows(xs), means[block.n, : gm.shape[1]], out=t)
        np.multiply(t, gm, out=t)
        return channel_sum(gm, C), channel_sum(t, C)

    dbeta, dgamma = np.zeros((2, N, C))
    for block, (sum_g, sum_gx) in zip(blocks, parallel(reduce, blocks), strict=True):
        dbeta[block.n] += sum_g
        dgamma[block.n] += sum_gx
    dgamma *= rstd

    # dx = (g - (dbeta + (x - mean)·rstd·dgamma)/P)·gamma·rstd = (g - (slope·x + offset))·scale
    slope = rstd * dgamma / P
    offset = dbeta / P - slope * mean
    slopes, offsets, scales = (_repeated(k, blocks) for k in (slope, offset, gamma * rstd))

    def apply(block: PixelBlock) -> None:
        out = block.rows(dxs)
        width = out.shape[1]
        t = np.multiply(block.rows(xs), slopes[block.n, :width], out=scratch("normalize", out.shape))
        np.add(t, offsets[block.n, :width], out=t)
        np.subtract(block.rows(ms), t, out=out)
        np.multiply(out, scales[block.n, :width], out=out)

    parallel(apply, blocks)
    return dx, dgamma.astype(np.float32), dbeta.astype(np.float32), masked_g if need_g else None


def _repeated(rows: Array, blocks: Sequence[PixelBlock]) -> Array:
    """The operand per channel `rows (N, C)`, repeated for a row of the widest block."""
    return repeated(rows, max(block.width for block in blocks))
