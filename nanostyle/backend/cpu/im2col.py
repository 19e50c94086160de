"""Convolution by im2col: the pixels under the kernel side by side, times the weights. For any kernel."""

import numpy as np

from nanostyle.backend.cpu.blocking import UNPACKED, RowBlock, equal_blocks, even_blocks, repeated, row_blocks
from nanostyle.backend.cpu.epilogue import Epilogue, Measured
from nanostyle.backend.cpu.windows import PaddedMap, patch, strided
from nanostyle.backend.memory import scratch
from nanostyle.backend.threads import parallel
from nanostyle.backend.types import Array

# Elements of pixels under the kernel at one time.
_COLUMNS = 1 << 18
# Rows of a product, at least.
_ROWS = 32
# Partial gradients of the kernel, each over several blocks.
_PARTIALS = 8


def convolve(
    x: PaddedMap, w: Array, b: Array | None, start: int, stride: int, y: Array, finish: Epilogue
) -> list[Measured]:
    """Write the convolution of `x` by `w (K, L, C, M)`, plus b, into the contiguous y `(N, H, W, M)`.

    The window of output 0 begins at pixel `start` of x. Returns what `finish` returned, block by block.
    """
    K, L, C, M = w.shape
    N, H, W, _ = y.shape
    weights = w.reshape(K * L * C, M)
    bias = None if b is None else repeated(b, W)

    depth = len(weights)
    # Products that small only where that leaves enough rows for them.
    each = UNPACKED // (depth * M)
    most = each if each >= _ROWS else H * W

    def job(block: RowBlock) -> Measured:
        target, rows = patch(y, block.n, block.top, 0), block.bottom - block.top
        columns = _columns(x, block, start, stride, (K, L), W)
        for begin, count, size in equal_blocks(rows * W, most):
            np.matmul(
                columns[begin : begin + count * size].reshape(count, size, depth),
                weights,
                out=target.matrix(rows, W)[begin : begin + count * size].reshape(count, size, M),
            )
        if bias is not None:
            lines = target.lines(rows, W)
            lines += bias
        return finish(block.n, target, target, rows, W)

    return parallel(job, _blocks(N, H, W, K * L * C))


def kernel_gradient(x: PaddedMap, g: PaddedMap, start: int, stride: int, kernel: tuple[int, int]) -> Array:
    """dL/dw `(K, L, C, M)` of that convolution over `x`, from the gradient `g` of its result."""
    N, H, W, M = g.shape
    depth = kernel[0] * kernel[1] * x.shape[3]
    todo = _blocks(N, H, W, depth)

    def job(blocks: tuple[int, int]) -> Array:
        total = np.zeros((depth, M), np.float32)
        for block in todo[slice(*blocks)]:
            rows = block.bottom - block.top
            columns = _columns(x, block, start, stride, kernel, W)
            total += columns.T @ g.window(block.n, block.top, 0, rows, W, name="gradient").matrix(rows, W)
        return total

    total, *rest = parallel(job, even_blocks(len(todo), min(len(todo), _PARTIALS)))
    for other in rest:
        total += other
    return total.reshape(*kernel, x.shape[3], M)


def channel_sums(g: PaddedMap) -> Array:
    """The sum of each channel over all pixels of all feature maps: `(M,)`."""
    N, H, W, M = g.shape

    def job(block: RowBlock) -> Array:
        rows = block.bottom - block.top
        return np.ones(rows * W, np.float32) @ g.window(block.n, block.top, 0, rows, W).matrix(rows, W)

    return np.sum(parallel(job, _blocks(N, H, W, M)), axis=0)


def _blocks(N: int, H: int, width: int, depth: int) -> list[RowBlock]:
    return row_blocks(N, H, max(1, min(_COLUMNS // (width * depth), -(-H // 2))))


def _columns(x: PaddedMap, block: RowBlock, start: int, stride: int, kernel: tuple[int, int], width: int) -> Array:
    """The pixels under the kernel at each output of the block: `(rows·width, K·L·C)`."""
    (K, L), C, rows = kernel, x.shape[3], block.bottom - block.top
    tall, wide = stride * (rows - 1) + K, stride * (width - 1) + L
    window = x.window(block.n, start + stride * block.top, start, tall, wide)
    if K == L == stride == 1 and window.pitch == width * C:
        return window.matrix(rows, width)
    columns = scratch("columns", (rows, width, K, L * C))
    columns[...] = strided(
        window.root, window.offset, columns.shape, (stride * window.pitch, stride * C, window.pitch, 1)
    )
    return columns.reshape(rows * width, K * L * C)
