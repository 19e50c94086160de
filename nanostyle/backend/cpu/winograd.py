"""Convolution by Winograd transforms: every stage is one strided `np.matmul` over a block of tiles.

A block is small enough for its intermediates to stay in the cache between the stages, and what follows a
convolution (bias, ReLU, statistics) is done on the block too, while it is there.
"""

import threading
import weakref
from collections import deque
from collections.abc import Hashable, Sequence
from functools import partial

import numpy as np

from nanostyle.backend.cpu.blocking import UNPACKED, TileBlock, equal_blocks, even_blocks, tile_blocks
from nanostyle.backend.cpu.epilogue import Epilogue, Measured
from nanostyle.backend.cpu.windows import PaddedMap, Patch, patch, strided
from nanostyle.backend.cpu.winograd_transforms import Transforms
from nanostyle.backend.memory import empty, scratch
from nanostyle.backend.threads import parallel
from nanostyle.backend.types import Array

# Sums over more channels than this are taken in blocks: float32 rounds a long sum more than a tree of short ones,
# and the transform back to pixels magnifies it.
DEPTH = 128
# From so many tiles on, transforming the weights takes less than a fifteenth of a convolution's time. The result, four
# times the weights, is kept only if they come a second time, and not beyond so many bytes: those of a transformer
# network (33 MB), not of a VGG (up to relu4_1 110 MB).
AMORTIZED, KEPT_BYTES = 256, 48_000_000
# Columns of weights per product, stored side by side, and how many columns BLAS computes at once.
_COLUMNS, _AT_ONCE = 64, 16
# Bytes of partial kernel gradients, and the most of them there may be.
_PARTIAL_BYTES, _PARTIALS = 1 << 25, 8


# --- weights ----------------------------------------------------------------------------------------------

# Of read-only weights: the array, and the transformed weights if they are kept.
_frozen: dict[tuple[Hashable, ...], tuple[weakref.ref[Array], "Weights | None"]] = {}


class Weights:
    """The transformed weights `(3, 3, C, M)`, in the order that `multiply` reads: `(P, P, M/m, C, m)`.

    The threads of a convolution transform them together, when they first need them: to wake the threads once more
    for so short a work would take as long as the work.
    """

    def __init__(self, w: Array, transforms: Transforms) -> None:
        _, _, C, M = w.shape
        m = _columns_per_product(M)
        P, J = len(transforms.kernel), M // m
        # Along rows and columns at once: more arithmetic than one after the other, but a single call.
        self._matrix = (transforms.kernel[:, None, :, None] * transforms.kernel[:, None]).reshape(P * P, 9)
        self._points = empty((P, P, J, C, m))
        w = w.reshape(3, 3, C, J, m)
        depths = even_blocks(C, min(C, -(-C * m * self._matrix.size // UNPACKED)))
        self._todo = deque(
            (w[:, :, begin:end, j], self._points[:, :, j, begin:end]) for j in range(J) for begin, end in depths
        )
        self._unfinished = deque(range(len(self._todo)))
        self._over = threading.Event()

    def __call__(self) -> Array:
        """The transformed weights.

        Raises
        ------
        MemoryError
            There was none for a block of them, in this thread or in another.
        """
        try:
            while block := self._take():
                self._transform(*block)
                self._unfinished.pop()
            if self._unfinished:
                self._over.wait()
        finally:
            self._todo.clear()
            self._over.set()
        if self.incomplete:
            raise MemoryError("convolution: no memory for the transformed weights")
        return self._points

    @property
    def nbytes(self) -> int:
        """The bytes of the transformed weights."""
        return self._points.nbytes

    @property
    def incomplete(self) -> bool:
        """Whether there was no memory for a block of them."""
        return self._over.is_set() and bool(self._unfinished)

    def _take(self) -> tuple[Array, Array] | None:
        try:
            return self._todo.popleft()  # one step under the interpreter's lock
        except IndexError:
            return None

    def _transform(self, w: Array, points: Array) -> None:
        copy = scratch("weights", w.shape)
        copy[...] = w
        np.matmul(self._matrix, copy.reshape(9, -1), out=points.reshape(len(self._matrix), -1))


def weights_of(w: Array, transforms: Transforms, tiles: int) -> Weights:
    """The transformed weights. From a read-only array they are kept as long as the array, unless they are used once.

    Weights in training change at every step.
    """
    owner = _read_only_owner(w)
    if owner is None:
        return Weights(w, transforms)
    key = (w.__array_interface__["data"][0], w.shape, w.strides, transforms.kernel.tobytes())
    seen = key in _frozen
    known = _frozen[key][1] if seen else None
    if known is not None and not known.incomplete:
        return known
    weights = Weights(w, transforms)
    keep = tiles < AMORTIZED or (seen and weights.nbytes + _kept_bytes() <= KEPT_BYTES)
    # The entry dies with the array that owns the memory: after that the address may be another array's.
    _frozen[key] = weakref.ref(owner, partial(_frozen.pop, key)), weights if keep else None
    return weights


def _kept_bytes() -> int:
    return sum(weights.nbytes for _, weights in list(_frozen.values()) if weights is not None)


def _read_only_owner(w: Array) -> Array | None:
    """The array whose memory `w` looks into, if nothing can write to it."""
    while not w.flags.writeable:
        if not isinstance(w.base, np.ndarray):
            return w
        w = w.base
    return None


def _columns_per_product(M: int) -> int:
    """The width of equal products: up to `_COLUMNS`, or up to twice that where there would be idle columns else.

    Products of 112 columns take a fifth less time than pairs of 56.
    """
    if M <= _COLUMNS:
        return M
    narrow, wide = range(_COLUMNS, _COLUMNS // 2, -1), range(2 * _COLUMNS, _COLUMNS, -1)
    full = (m for widths in (narrow, wide) for m in widths if M % m == 0 and m % _AT_ONCE == 0)
    return next(full, None) or next((m for m in narrow if M % m == 0), M)


# --- the stages -------------------------------------------------------------------------------------------


def to_points(x: PaddedMap, matrix: Array, step: int, start: int, block: TileBlock, name: str) -> Array:
    """The block's transformed tiles: `(P, P, tiles, C)`, in the scratch buffer `name`."""
    n, top, R, left, S = block
    P, size = matrix.shape
    C = x.shape[3]
    height, width = (R - 1) * step + size, (S - 1) * step + size
    window = x.window(n, top * step + start, left * step + start, height, width)
    # Along the columns, tile by tile; then along the rows, for a whole row of tiles at once.
    half = scratch("half", (P, height, S, C))
    np.matmul(matrix, window.tiles(height, S, size, step), out=half.transpose(1, 2, 0, 3))
    points = scratch(name, (P, P, R * S, C))
    L = S * C
    np.matmul(
        matrix,
        strided(half, 0, (P, R, size, L), (height * L, step * L, L, 1)),
        out=strided(points, 0, (P, R, P, L), (R * L, L, P * R * L, 1)),
    )
    return points


def multiply(points: Array, w: Array) -> Array:
    """At every point, the pixels times the weights: `(P, P, tiles, M)`, in scratch."""
    P, _, T, C = points.shape
    _, _, J, _, m = w.shape
    M = J * m
    sums = scratch("products", (P, P, T, M))
    for first, last in even_blocks(C, -(-C // DEPTH)):
        depth = last - first
        products = sums if first == 0 else scratch("more products", sums.shape)
        for begin, count, rows in equal_blocks(T, UNPACKED // (depth * m)):
            np.matmul(
                strided(points, begin * C + first, (P * P, 1, count, rows, depth), (T * C, 0, rows * C, C, 1)),
                w.reshape(P * P, J, 1, C, m)[:, :, :, first:last],
                out=strided(products, begin * M, (P * P, J, count, rows, m), (T * M, m, rows * M, M, 1)),
            )
        if first > 0:
            sums += products
    return sums


def from_points(products: Array, matrix: Array, b: Array | None, block: TileBlock, out: Patch) -> None:
    """Transform the products back to pixels, add the bias, and write the pixels to `out`."""
    R, S = block.rows, block.columns
    size, P = matrix.shape
    M = products.shape[3]
    L = S * M
    # The bias is one more point, transformed back by a column of ones.
    planes = P if b is None else P + 1
    half = scratch("half", (size, planes, R * S, M))
    np.matmul(
        matrix,
        strided(products, 0, (P, R, P, L), (R * L, L, P * R * L, 1)),
        out=strided(half, 0, (P, R, size, L), (R * L, L, planes * R * L, 1)),
    )
    if b is not None:
        half[:, P] = b
        matrix = np.concatenate([matrix, np.ones((size, 1), np.float32)], axis=1)
    np.matmul(
        matrix,
        strided(half, 0, (size, R, S, planes, M), (planes * R * L, L, M, R * L, 1)),
        out=strided(out.root, out.offset, (size, R, S, size, M), (out.pitch, size * out.pitch, size * M, M, 1)),
    )


# --- the convolution and the gradient to its kernel -------------------------------------------------------


def convolve(
    x: PaddedMap, w: Array, b: Array | None, transforms: Transforms, y: Array, finish: Epilogue
) -> list[Measured]:
    """Write the convolution of `x` by the weights `w (3, 3, C, M)`, plus b, into the contiguous y `(N, H, W, M)`.

    Returns what `finish` returned, block by block.
    """
    N, H, W, M = y.shape
    P, size = len(transforms.kernel), len(transforms.output)
    down, across = -(-H // size), -(-W // size)
    weights = weights_of(w, transforms, N * down * across)

    def job(block: TileBlock) -> Measured:
        points = to_points(x, transforms.window, transforms.step, transforms.start, block, "points")
        products = multiply(points, weights())
        height, width = block.rows * size, block.columns * size
        top, left = block.top * size, block.left * size
        inside = min(height, H - top), min(width, W - left)
        pixels = target = patch(y, block.n, top, left)
        # A pass over pixels on their way to y is cheaper than one over y; and tiles at the end may reach over it.
        if finish.relu or inside != (height, width):
            pixels = Patch(scratch("pixels", (height, width, M)), 0, width * M, M)
        from_points(products, transforms.output, b, block, pixels)
        return finish(block.n, pixels, target, *inside)

    return parallel(job, tile_blocks(N, down, across, 4 * P * P * (x.shape[3] + M)))


def kernel_gradient(x: PaddedMap, g: PaddedMap, transforms: Transforms) -> Array:
    """dL/dw `(3, 3, C, M)` of the convolution of `x` by `transforms`, from the gradient `g` of its result."""
    N, H, W, M = g.shape
    C = x.shape[3]
    P, size = len(transforms.kernel), len(transforms.output)
    back = np.ascontiguousarray(transforms.output.T)
    # The products are summed over the tiles: short sums, as in `multiply`.
    todo = tile_blocks(N, -(-H // size), -(-W // size), 4 * P * P * (C + M), most=DEPTH // 2)

    def job(blocks: Sequence[TileBlock]) -> Array:
        total = np.zeros((P * P, C, M), np.float32)
        for block in blocks:
            left = to_points(x, transforms.window, transforms.step, transforms.start, block, "points").reshape(
                P * P, -1, C
            )
            right = to_points(g, back, size, 0, block, "products").reshape(P * P, -1, M)
            total += np.matmul(left.transpose(0, 2, 1), right, out=scratch("partial", total.shape))
        return total

    count = min(len(todo), max(2, min(_PARTIALS, _PARTIAL_BYTES // (4 * P * P * C * M))))
    total, *rest = parallel(job, [todo[a:b] for a, b in even_blocks(len(todo), count)])
    for other in rest:
        total += other
    half = np.matmul(transforms.kernel.T, total.reshape(P, P, C * M))
    return np.matmul(transforms.kernel.T, half.reshape(P, -1)).reshape(3, 3, C, M)
