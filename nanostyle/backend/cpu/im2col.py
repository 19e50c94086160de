"""Convolution as it is written: the pixels under the kernel side by side, times the weights. For any kernel."""

import numpy as np

from nanostyle.backend.cpu.blocking import UNPACKED, parts, runs
from nanostyle.backend.cpu.epilogue import Epilogue, Measured
from nanostyle.backend.cpu.windows import Band, Picture, bands, patch, strided
from nanostyle.backend.memory import scratch
from nanostyle.backend.threads import parallel
from nanostyle.backend.types import Array

# Elements of pixels under the kernel at one time.
_COLUMNS = 1 << 18
# Rows of a product, at least.
_ROWS = 32
# Partial gradients of the kernel, each over a share of the bands.
_SHARES = 8


def convolve(
    picture: Picture, w: Array, b: Array | None, start: int, stride: int, y: Array, finish: Epilogue
) -> list[Measured]:
    """Write the convolution of `picture` by `w (K, L, C, M)`, plus b, into the contiguous y `(N, H, W, M)`.

    The window of output 0 begins at pixel `start` of the picture. Returns what `finish` returned, band by band.
    """
    K, L, C, M = w.shape
    N, H, W, _ = y.shape
    weights = w.reshape(K * L * C, M)
    bias = None if b is None else np.tile(b, W)

    depth = len(weights)
    # Products that small only where that leaves enough rows for them.
    each = UNPACKED // (depth * M)
    most = each if each >= _ROWS else H * W

    def job(band: Band) -> Measured:
        target, rows = patch(y, band.n, band.top, 0), band.bottom - band.top
        columns = _columns(picture, band, start, stride, (K, L), W)
        for begin, count, size in runs(rows * W, most):
            np.matmul(
                columns[begin : begin + count * size].reshape(count, size, depth),
                weights,
                out=target.matrix(rows, W)[begin : begin + count * size].reshape(count, size, M),
            )
        if bias is not None:
            lines = target.lines(rows, W)
            lines += bias
        return finish(band.n, target, target, rows, W)

    return parallel(job, _bands(N, H, W, K * L * C))


def kernel_gradient(x: Picture, g: Picture, start: int, stride: int, kernel: tuple[int, int]) -> Array:
    """dL/dw `(K, L, C, M)` of that convolution over `x`, from the gradient `g` of its result."""
    N, H, W, M = g.shape
    depth = kernel[0] * kernel[1] * x.shape[3]
    todo = _bands(N, H, W, depth)

    def job(share: tuple[int, int]) -> Array:
        total = np.zeros((depth, M), np.float32)
        for band in todo[slice(*share)]:
            rows = band.bottom - band.top
            columns = _columns(x, band, start, stride, kernel, W)
            total += columns.T @ g.window(band.n, band.top, 0, rows, W, name="gradient").matrix(rows, W)
        return total

    total, *rest = parallel(job, parts(len(todo), min(len(todo), _SHARES)))
    for part in rest:
        total += part
    return total.reshape(*kernel, x.shape[3], M)


def channel_sums(g: Picture) -> Array:
    """The sum of each channel over all pixels of all pictures: `(M,)`."""
    N, H, W, M = g.shape

    def job(band: Band) -> Array:
        rows = band.bottom - band.top
        return np.ones(rows * W, np.float32) @ g.window(band.n, band.top, 0, rows, W).matrix(rows, W)

    return np.sum(parallel(job, _bands(N, H, W, M)), axis=0)


def _bands(N: int, H: int, width: int, depth: int) -> list[Band]:
    return bands(N, H, max(1, min(_COLUMNS // (width * depth), -(-H // 2))))


def _columns(picture: Picture, band: Band, start: int, stride: int, kernel: tuple[int, int], width: int) -> Array:
    """The pixels under the kernel at each output of the band: `(rows·width, K·L·C)`."""
    (K, L), C, rows = kernel, picture.shape[3], band.bottom - band.top
    tall, wide = stride * (rows - 1) + K, stride * (width - 1) + L
    window = picture.window(band.n, start + stride * band.top, start, tall, wide)
    if K == L == stride == 1 and window.pitch == width * C:
        return window.matrix(rows, width)
    columns = scratch("columns", (rows, width, K, L * C))
    columns[...] = strided(
        window.root, window.offset, columns.shape, (stride * window.pitch, stride * C, window.pitch, 1)
    )
    return columns.reshape(rows * width, K * L * C)
