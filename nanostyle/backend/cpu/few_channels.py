"""Few-channel convolution, from or to colors, by any kernel: Winograd's products would have too few rows there.

With few inputs, the lines of pixels under the kernel are copied one below the other, so that a window is one run of
memory. With few outputs, a line of the kernel is one long product over its pixels and channels, and the K lines of the
kernel are added up afterwards, plane by plane. For the gradient to the kernel, the pixels under it are laid out as
columns, one plane per channel and weight, so that a column is a copy of whole lines.
"""

import math
from collections.abc import Iterator

import numpy as np

from nanostyle.backend.cpu.blocking import UNPACKED, RowBlock, equal_blocks, even_blocks, row_blocks
from nanostyle.backend.cpu.epilogue import Epilogue, Measured
from nanostyle.backend.cpu.windows import PaddedMap, Patch, patch, strided
from nanostyle.backend.memory import scratch
from nanostyle.backend.threads import parallel
from nanostyle.backend.types import Array

# `few_inputs`: the most rows of results, elements of lines, and elements of results, in one block.
_TALL, _LINES, _PIXELS = 128, 1 << 19, 1 << 19
# The most columns of weights of two outputs that are computed together.
_PAIRED = 32
# `kernel_gradient`: rows per block, the border rows of which are read twice; and elements of columns at one time, so
# that they stay in the cache.
_ROWS, _COLUMNS = 16, 1 << 17
# `few_outputs`: bytes of partial sums in a block, values of pixels at a time, and a multiple of columns that BLAS
# computes at once: products of 32 columns, 5 of them idle, take less time than those of 27.
_PLANES, _WINDOW, _COLUMNS_AT_ONCE = 1 << 23, 1 << 18, 16
# Partial gradients of the kernel, each over several blocks.
_PARTIALS = 8


def few_inputs(
    x: PaddedMap, w: Array, b: Array | None, start: int, stride: int, y: Array, finish: Epilogue
) -> list[Measured]:
    """Write the convolution of `x` by `w (K, L, C, M)`, plus b, into y `(N, H, W, M)`.

    The window of output 0 begins at pixel `start` of x. Returns what `finish` returned, block by block.
    """
    K, L, C, M = w.shape
    N, H, W, _ = y.shape
    # Outputs of few channels are computed in pairs: BLAS computes 32 columns in less than twice the time of 16.
    side = 2 if stride == 1 and 2 * M <= _PAIRED else 1
    weights = {each: _side_by_side(w, b, each) for each in {1, side}}
    # A window is K lines of a column, one below the other. Windows a multiple of K lines apart do not overlap, and so
    # are the rows of a matrix: `phases` matrices take in all of them.
    phases = K // math.gcd(K, stride)

    def job(block: tuple[int, int, int, int, int, int]) -> Measured:
        n, top, bottom, left, right, each = block
        rows, width = bottom - top, right - left
        tall = stride * (rows - 1) + K
        window = x.window(n, start + stride * top, start + stride * left, tall, stride * (width - 1) + L)
        # A column of lines: at every line of it the pixels under the kernel for `each` outputs, and a 1 for the bias.
        count, D = width // each, (L + each - 1) * C + 1
        lines = scratch("lines", (count, tall, D))
        lines[:, :, :-1] = strided(
            window.root, window.offset, (count, tall, D - 1), (each * stride * C, window.pitch, 1)
        )
        lines[:, :, -1] = 1
        pixels = target = patch(y, n, top, left)
        if finish.relu:  # on the way to y it is cheaper than in y
            pixels = Patch(scratch("pixels", (rows, width, M)), 0, width * M, M)
        for phase in range(min(phases, rows)):
            high = -(-(rows - phase) // phases)
            np.matmul(
                strided(lines, phase * stride * D, (count, high, K * D), (tall * D, phases * stride * D, 1)),
                weights[each],
                out=strided(
                    pixels.root,
                    pixels.offset + phase * pixels.pitch,
                    (count, high, each * M),
                    (each * M, phases * pixels.pitch, 1),
                ),
            )
        return finish(n, pixels, target, rows, width)

    tall = -(-H // -(-H // _TALL))
    across = max(-(-W * (stride * tall + K) * (L * C + 1) // _LINES), -(-W * tall * M // _PIXELS))
    columns = [(begin * side, end * side, side) for begin, end in even_blocks(W // side, min(W // side, across))]
    if W % side:
        columns.append((W - 1, W, 1))
    blocks = [(n, *rows, *some) for n in range(N) for rows in even_blocks(H, -(-H // _TALL)) for some in columns]
    return parallel(job, blocks)


def _side_by_side(w: Array, b: Array | None, each: int) -> Array:
    """The weights `(K·D, each·M)` of `each` neighboring outputs, for K lines of `each + L - 1` pixels and a 1."""
    K, L, C, M = w.shape
    weights = np.zeros((K, (L + each - 1) * C + 1, each, M), np.float32)
    for i in range(each):
        weights[:, i * C : (i + L) * C, i] = w.reshape(K, L * C, M)
    if b is not None:
        weights[0, -1] = b
    return weights.reshape(-1, each * M)


def _columns(
    x: PaddedMap, block: RowBlock, start: int, kernel: tuple[int, int], width: int, stride: int, at_once: int
) -> Iterator[tuple[int, int, Array]]:
    """For `at_once` rows of the block at a time: first, last, and the pixels under each weight of the kernel, and a 1.

    The last are `(C·K·L + 1, rows·width)`, in scratch.
    """
    (K, L), C = kernel, x.shape[3]
    height = block.bottom - block.top
    tall, wide = stride * (height - 1) + K, stride * (width - 1) + L
    window = x.window(block.n, start + stride * block.top, start, tall, wide)
    planes = scratch("planes", (C, tall, wide))
    planes[...] = strided(window.root, window.offset, (C, tall, wide), (1, window.pitch, C))
    for first, last in even_blocks(height, -(-height // max(1, at_once))):
        columns = scratch("columns", (C * K * L + 1, last - first, width))
        columns[:-1].reshape(C, K, L, last - first, width)[...] = strided(
            planes,
            stride * first * wide,
            (C, K, L, last - first, width),
            (tall * wide, wide, 1, stride * wide, stride),
        )
        columns[-1] = 1
        yield block.top + first, block.top + last, columns.reshape(len(columns), -1)


def few_outputs(x: PaddedMap, w: Array, b: Array | None, start: int, y: Array, finish: Epilogue) -> list[Measured]:
    """As `few_inputs`, with stride 1, for `w (K, L, C, M)` with few outputs M."""
    K, L, C, M = w.shape
    N, H, W, _ = y.shape
    columns = -(-K * M // _COLUMNS_AT_ONCE) * _COLUMNS_AT_ONCE
    weights = np.zeros((L * C, columns), np.float32)
    weights[:, : K * M] = w.transpose(1, 2, 0, 3).reshape(L * C, K * M)
    # A line of L pixels begins at every pixel. Those that begin L pixels apart do not overlap, and so are the rows
    # of a matrix, over all lines of a window whose width is a multiple of L: L matrices, one for each phase.
    length = -(-(W + L - 1) // L)

    def job(block: RowBlock) -> Measured:
        n, top, bottom = block
        rows = bottom - top
        tall = rows + K - 1
        planes = scratch("planes", (K, M, L, tall, length))
        for first, last in even_blocks(tall, -(-tall * length * L * C // _WINDOW)):
            window = x.window(n, start + top + first, start, last - first, length * L)
            lines = scratch("lines", ((last - first) * length, columns))
            for phase in range(L):
                # The last line, but of phase 0, would reach over the window, and belongs to no output.
                count = len(lines) - (phase > 0)
                lines[-1] = 0
                for begin, count_of, each in equal_blocks(count, UNPACKED // weights.size):
                    np.matmul(
                        strided(
                            window.root,
                            window.offset + (phase + begin * L) * C,
                            (count_of, each, L * C),
                            (each * L * C, L * C, 1),
                        ),
                        weights,
                        out=lines[begin : begin + count_of * each].reshape(count_of, each, columns),
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

    return parallel(job, row_blocks(N, H, max(2 * K, min(-(-H // 2), _PLANES // (4 * K * M * length * L)))))


def kernel_gradient(
    few: PaddedMap, many: PaddedMap, start: int, stride: int, kernel: tuple[int, int], area: tuple[int, int, int, int]
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
    todo = row_blocks(N, height, _ROWS)
    at_once = _COLUMNS // (c * K * L * width)

    def job(blocks: tuple[int, int]) -> Array:
        total = np.zeros((c * K * L + 1, m), np.float32)
        for block in todo[slice(*blocks)]:
            for first, last, columns in _columns(few, block, start, kernel, width, stride, at_once):
                pixels = many.window(block.n, top + first, left, last - first, width).matrix(last - first, width)
                total += columns @ pixels
        return total

    first, *rest = parallel(job, even_blocks(len(todo), min(len(todo), _PARTIALS)))
    for other in rest:
        first += other
    return first[:-1].reshape(c, K, L, m).transpose(1, 2, 0, 3)
