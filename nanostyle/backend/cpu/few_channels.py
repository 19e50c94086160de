"""Convolution to or from very few channels (colors), for any kernel: there Winograd's products would be too thin.

With few inputs, the lines of pixels under the kernel are copied one below the other, so that a window is one run of
memory. With few outputs, a line of the kernel is one long product over its pixels and channels, and the K lines of the
kernel are added up afterwards, plane by plane. For the gradient to the kernel, the pixels under it are laid out as
columns, one plane per channel and weight, so that a column is a copy of whole lines.
"""

import math
from collections.abc import Iterator

import numpy as np

from nanostyle.backend.cpu.blocking import UNPACKED, parts, runs
from nanostyle.backend.cpu.epilogue import Epilogue, Measured
from nanostyle.backend.cpu.windows import Band, Patch, Picture, bands, patch, strided
from nanostyle.backend.memory import scratch
from nanostyle.backend.threads import parallel
from nanostyle.backend.types import Array

# `from_few`: the most rows of results, elements of lines, and elements of results, in one piece.
_TALL, _LINES, _PIXELS = 128, 1 << 19, 1 << 19
# `kernel_gradient`: rows per band, the border rows of which are read twice; and elements of columns at one time, so
# that they stay in the cache.
_BAND, _COLUMNS = 16, 1 << 17
# `to_few`: bytes of partial sums in a band, values of pixels at a time, and a multiple of columns that BLAS computes at
# once: products of 32 columns, 5 of them idle, take less time than those of 27.
_PLANES, _WINDOW, _COLUMNS_AT_ONCE = 1 << 23, 1 << 20, 16
# Bands whose contributions to a kernel's gradient are added up one after the other.
_SHARES = 8


def from_few(
    picture: Picture, w: Array, b: Array | None, start: int, stride: int, y: Array, finish: Epilogue
) -> list[Measured]:
    """Write the convolution of `picture` by `w (K, L, C, M)`, plus b, into y `(N, H, W, M)`.

    The window of output 0 begins at pixel `start` of the picture. Returns what `finish` returned, piece by piece.
    """
    K, L, C, M = w.shape
    N, H, W, _ = y.shape
    # A column of lines: at every pixel of it the L pixels to its right, and a 1 for the bias.
    D = L * C + 1
    weights = np.zeros((K, D, M), np.float32)
    weights[:, :-1] = w.reshape(K, L * C, M)
    if b is not None:
        weights[0, -1] = b
    weights = weights.reshape(K * D, M)
    # A window is K lines of a column, one below the other. Windows a multiple of K lines apart do not overlap, and so
    # are the rows of a matrix: `phases` matrices take in all of them.
    phases = K // math.gcd(K, stride)

    def job(piece: tuple[int, int, int, int, int]) -> Measured:
        n, top, bottom, left, right = piece
        rows, width = bottom - top, right - left
        tall = stride * (rows - 1) + K
        window = picture.window(n, start + stride * top, start + stride * left, tall, stride * (width - 1) + L)
        lines = scratch("lines", (width, tall, D))
        lines[:, :, :-1] = strided(window.root, window.offset, (width, tall, L * C), (stride * C, window.pitch, 1))
        lines[:, :, -1] = 1
        pixels = target = patch(y, n, top, left)
        if finish.relu:  # on the way to y it is cheaper than in y
            pixels = Patch(scratch("pixels", (rows, width, M)), 0, width * M, M)
        for phase in range(min(phases, rows)):
            count = -(-(rows - phase) // phases)
            np.matmul(
                strided(lines, phase * stride * D, (width, count, K * D), (tall * D, phases * stride * D, 1)),
                weights,
                out=strided(
                    pixels.root,
                    pixels.offset + phase * pixels.pitch,
                    (width, count, M),
                    (M, phases * pixels.pitch, 1),
                ),
            )
        return finish(n, pixels, target, rows, width)

    tall = -(-H // -(-H // _TALL))
    across = min(W, max(-(-W * (stride * tall + K) * D // _LINES), -(-W * tall * M // _PIXELS)))
    cuts = [(n, *rows, *columns) for n in range(N) for rows in parts(H, -(-H // _TALL)) for columns in parts(W, across)]
    return parallel(job, cuts)


def _columns(
    picture: Picture, band: Band, start: int, kernel: tuple[int, int], width: int, stride: int, at_once: int
) -> Iterator[tuple[int, int, Array]]:
    """For `at_once` rows of the band at a time: first, last, and the pixels under each weight of the kernel, and a 1.

    Those are `(C·K·L + 1, rows·width)`, in scratch.
    """
    (K, L), C = kernel, picture.shape[3]
    height = band.bottom - band.top
    tall, wide = stride * (height - 1) + K, stride * (width - 1) + L
    window = picture.window(band.n, start + stride * band.top, start, tall, wide)
    planes = scratch("planes", (C, tall, wide))
    planes[...] = strided(window.root, window.offset, (C, tall, wide), (1, window.pitch, C))
    for first, last in parts(height, -(-height // max(1, at_once))):
        columns = scratch("columns", (C * K * L + 1, last - first, width))
        columns[:-1].reshape(C, K, L, last - first, width)[...] = strided(
            planes,
            stride * first * wide,
            (C, K, L, last - first, width),
            (tall * wide, wide, 1, stride * wide, stride),
        )
        columns[-1] = 1
        yield band.top + first, band.top + last, columns.reshape(len(columns), -1)


def to_few(picture: Picture, w: Array, b: Array | None, start: int, y: Array, finish: Epilogue) -> list[Measured]:
    """As `from_few`, with stride 1, for `w (K, L, C, M)` with few outputs M."""
    K, L, C, M = w.shape
    N, H, W, _ = y.shape
    columns = -(-K * M // _COLUMNS_AT_ONCE) * _COLUMNS_AT_ONCE
    weights = np.zeros((L * C, columns), np.float32)
    weights[:, : K * M] = w.transpose(1, 2, 0, 3).reshape(L * C, K * M)
    # A line of L pixels begins at every pixel. Those that begin L pixels apart do not overlap, and so are the rows
    # of a matrix, over all lines of a window whose width is a multiple of L: L matrices, one for each phase.
    length = -(-(W + L - 1) // L)

    def job(band: Band) -> Measured:
        n, top, bottom = band
        rows = bottom - top
        tall = rows + K - 1
        planes = scratch("planes", (K, M, L, tall, length))
        for first, last in parts(tall, -(-tall * length * L * C // _WINDOW)):
            window = picture.window(n, start + top + first, start, last - first, length * L)
            lines = scratch("lines", ((last - first) * length, columns))
            for phase in range(L):
                # The last line, but of phase 0, would reach over the window, and belongs to no output.
                count = len(lines) - (phase > 0)
                lines[-1] = 0
                for begin, pieces, each in runs(count, UNPACKED // weights.size):
                    np.matmul(
                        strided(
                            window.root,
                            window.offset + (phase + begin * L) * C,
                            (pieces, each, L * C),
                            (each * L * C, L * C, 1),
                        ),
                        weights,
                        out=lines[begin : begin + pieces * each].reshape(pieces, each, columns),
                    )
                planes[:, :, phase, first:last] = lines[:, : K * M].T.reshape(K, M, last - first, length)
        total = planes[0, :, :, :rows]
        for k in range(1, K):
            total += planes[k, :, :, k : k + rows]
        if b is not None:
            total += b[:, None, None, None]
        for phase in range(L):
            pixels = y[n, top:bottom, phase::L]
            pixels[...] = total[:, phase].transpose(1, 2, 0)[:, : pixels.shape[1]]
        target = patch(y, n, top, 0)
        return finish(n, target, target, rows, W)

    return parallel(job, bands(N, H, max(2 * K, min(-(-H // 2), _PLANES // (4 * K * M * length * L)))))


def kernel_gradient(
    few: Picture, many: Picture, start: int, stride: int, kernel: tuple[int, int], area: tuple[int, int, int, int]
) -> Array:
    """Σ over the pixels of `many` in an area: the pixels of `few` under the kernel, times the pixel of `many`.

    `area` is (top, left, height, width); its first pixel meets `few` from pixel `start` on.

    Returns
    -------
    Array
        `(K, L, c, m)`, for c channels of `few` and m of `many`.
    """
    K, L = kernel
    N, _, _, c = few.shape
    m = many.shape[3]
    top, left, height, width = area
    todo = bands(N, height, _BAND)
    at_once = _COLUMNS // (c * K * L * width)

    def job(share: tuple[int, int]) -> Array:
        total = np.zeros((c * K * L + 1, m), np.float32)
        for band in todo[slice(*share)]:
            for first, last, columns in _columns(few, band, start, kernel, width, stride, at_once):
                pixels = many.window(band.n, top + first, left, last - first, width).matrix(last - first, width)
                total += columns @ pixels
        return total

    first, *rest = parallel(job, parts(len(todo), min(len(todo), _SHARES)))
    for part in rest:
        first += part
    return first[:-1].reshape(c, K, L, m).transpose(1, 2, 0, 3)
