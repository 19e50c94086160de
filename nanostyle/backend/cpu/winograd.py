"""Convolution by the algorithms of `forms`: every stage is one strided `np.matmul` over a block of tiles.

A block is small enough for its intermediates to stay in the cache between the stages, and what follows a
convolution (bias, ReLU, statistics) is done on the block too, while it is there.
"""

import threading
import weakref
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from nanostyle.backend.cpu.blocking import UNPACKED, parts, runs
from nanostyle.backend.cpu.epilogue import Epilogue, Measured
from nanostyle.backend.cpu.windows import Patch, Picture, patch, strided
from nanostyle.backend.cpu.winograd_transforms import Form
from nanostyle.backend.memory import empty, scratch
from nanostyle.backend.threads import parallel
from nanostyle.backend.types import Array

# Bytes of pixels and products at their points in one block, the tiles that it is wide, and the most and the fewest
# that it has: small enough for the cache, large enough for the products, and for the threads, which queue for the
# interpreter between calls. (Sapphire Rapids: half the bytes are 3 % slower on one thread, and 5 to 10 % on two.)
BLOCK_BYTES, WIDE, MOST, FEWEST = 9 << 19, 32, 512, 48
# Sums over more channels than this are taken in parts: float32 rounds a long sum more than a tree of short ones,
# and carrying the products back to pixels magnifies it.
DEPTH = 128
# From so many tiles on, carrying the weights to their points takes less than a twentieth of a convolution's time, and
# the result, four times the weights, is not worth its memory. (Of a VGG up to relu4_1 it would be 110 MB.)
AMORTISED = 256
# Columns of weights per product, stored side by side.
_COLUMNS = 64
# Bytes of partial kernel gradients, and the most of them there may be.
_PARTIAL_BYTES, _PARTIALS = 1 << 25, 8


class Block(NamedTuple):
    """`rows` x `columns` tiles of picture `n`, from tile `(top, left)` on."""

    n: int
    top: int
    rows: int
    left: int
    columns: int


def blocks(N: int, rows: int, columns: int, bytes_per_tile: int, most: int = MOST) -> list[Block]:
    """Cut N grids of `rows` x `columns` tiles into blocks of at most about `most`, as equal as can be."""
    half = -(-N * rows * columns // 2)  # for a second thread
    tiles = max(FEWEST, min(BLOCK_BYTES // bytes_per_tile, most, half))
    across = -(-columns // WIDE)
    down = -(-rows // max(1, tiles * across // columns))
    if 1 < down < rows:
        down += N * across * down % 2  # or the last one would be one thread's alone
    return [
        Block(n, top, bottom - top, left, right - left)
        for n in range(N)
        for top, bottom in parts(rows, down)
        for left, right in parts(columns, across)
    ]


# --- weights ----------------------------------------------------------------------------------------------

_frozen: dict[Any, tuple[Any, "Weights"]] = {}


class Weights:
    """The weights `(3, 3, C, M)` at the form's points, in the order `multiply` reads: `(P, P, M/m, C, m)`.

    The threads of a convolution carry them there together, when they first need them: to wake the threads once more
    for so short a work would take as long as the work.
    """

    def __init__(self, w: Array, form: Form) -> None:
        _, _, C, M = w.shape
        m = _columns_per_product(M)
        P, J = len(form.kernel), M // m
        # Along rows and columns at once: more arithmetic than one after the other, but a single call.
        self._matrix = (form.kernel[:, None, :, None] * form.kernel[:, None]).reshape(P * P, 9)
        self._points = empty((P, P, J, C, m))
        w = w.reshape(3, 3, C, J, m)
        cuts = parts(C, min(C, -(-C * m * self._matrix.size // UNPACKED)))
        self._todo = deque(
            (w[:, :, begin:end, j], self._points[:, :, j, begin:end]) for j in range(J) for begin, end in cuts
        )
        self._unfinished = deque(range(len(self._todo)))
        self._over = threading.Event()

    def __call__(self) -> Array:
        """The weights at their points.

        Raises
        ------
        MemoryError
            There was none for a part of them, in this thread or in another.
        """
        try:
            while part := self._take():
                self._carry(*part)
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
    def incomplete(self) -> bool:
        """Whether a part of them could not be had."""
        return self._over.is_set() and bool(self._unfinished)

    def _take(self) -> tuple[Array, Array] | None:
        try:
            return self._todo.popleft()  # one step under the interpreter's lock
        except IndexError:
            return None

    def _carry(self, w: Array, points: Array) -> None:
        copy = scratch("weights", w.shape)
        copy[...] = w
        np.matmul(self._matrix, copy.reshape(9, -1), out=points.reshape(len(self._matrix), -1))


def weights_of(w: Array, form: Form, tiles: int) -> Weights:
    """The weights at their points. If they are for few tiles and the array is read-only, they are kept as long as it.

    Weights in training change at every step.
    """
    owner = _read_only_owner(w)
    if owner is None or tiles >= AMORTISED:
        return Weights(w, form)
    key = (w.__array_interface__["data"][0], w.shape, w.strides, form.kernel.tobytes())
    if key not in _frozen or _frozen[key][1].incomplete:
        # The entry dies with the array that owns the memory: after that the address may be another array's.
        _frozen[key] = weakref.ref(owner, partial(_frozen.pop, key)), Weights(w, form)
    return _frozen[key][1]


def _read_only_owner(w: Array) -> Array | None:
    """The array whose memory `w` looks into, if nothing can write to it."""
    while not w.flags.writeable:
        if not isinstance(w.base, np.ndarray):
            return w
        w = w.base
    return None


def _columns_per_product(M: int) -> int:
    if M <= _COLUMNS:
        return M
    return next((m for m in range(_COLUMNS, _COLUMNS // 2, -1) if M % m == 0), M)


# --- the stages -------------------------------------------------------------------------------------------


def to_points(picture: Picture, matrix: Array, step: int, start: int, block: Block, name: str) -> Array:
    """The block's tiles at their points: `(P, P, tiles, C)`, in the scratch buffer `name`."""
    n, top, R, left, S = block
    P, size = matrix.shape
    C = picture.shape[3]
    height, width = (R - 1) * step + size, (S - 1) * step + size
    window = picture.window(n, top * step + start, left * step + start, height, width)
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
    for first, last in parts(C, -(-C // DEPTH)):
        depth = last - first
        products = sums if first == 0 else scratch("more products", sums.shape)
        for begin, count, rows in runs(T, UNPACKED // (depth * m)):
            np.matmul(
                strided(points, begin * C + first, (P * P, 1, count, rows, depth), (T * C, 0, rows * C, C, 1)),
                w.reshape(P * P, J, 1, C, m)[:, :, :, first:last],
                out=strided(products, begin * M, (P * P, J, count, rows, m), (T * M, m, rows * M, M, 1)),
            )
        if first > 0:
            sums += products
    return sums


def from_points(products: Array, matrix: Array, b: Array | None, block: Block, out: Patch) -> None:
    """Carry the products back to pixels, add the bias, and write the pixels to `out`."""
    R, S = block.rows, block.columns
    size, P = matrix.shape
    M = products.shape[3]
    L = S * M
    # The bias is one more point, carried back by a column of ones.
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


def convolve(picture: Picture, w: Array, b: Array | None, form: Form, y: Array, finish: Epilogue) -> list[Measured]:
    """Write the convolution of `picture` by the weights `w (3, 3, C, M)`, plus b, into the contiguous y `(N, H, W, M)`.

    Returns what `finish` returned, block by block.
    """
    N, H, W, M = y.shape
    P, size = len(form.kernel), len(form.output)
    down, across = -(-H // size), -(-W // size)
    weights = weights_of(w, form, N * down * across)

    def job(block: Block) -> Measured:
        points = to_points(picture, form.window, form.step, form.start, block, "points")
        products = multiply(points, weights())
        height, width = block.rows * size, block.columns * size
        top, left = block.top * size, block.left * size
        inside = min(height, H - top), min(width, W - left)
        pixels = target = patch(y, block.n, top, left)
        # A pass over pixels on their way to y is cheaper than one over y; and tiles at the end may reach over it.
        if finish.relu or inside != (height, width):
            pixels = Patch(scratch("pixels", (height, width, M)), 0, width * M, M)
        from_points(products, form.output, b, block, pixels)
        return finish(block.n, pixels, target, *inside)

    return parallel(job, blocks(N, down, across, 4 * P * P * (picture.shape[3] + M)))


def kernel_gradient(x: Picture, g: Picture, form: Form) -> Array:
    """dL/dw `(3, 3, C, M)` of the convolution `form` over `x`, from the gradient `g` of its result."""
    N, H, W, M = g.shape
    C = x.shape[3]
    P, size = len(form.kernel), len(form.output)
    back = np.ascontiguousarray(form.output.T)
    # The products are summed over the tiles: short sums, as in `multiply`.
    todo = blocks(N, -(-H // size), -(-W // size), 4 * P * P * (C + M), most=DEPTH // 2)

    def job(share: Sequence[Block]) -> Array:
        total = np.zeros((P * P, C, M), np.float32)
        for block in share:
            left = to_points(x, form.window, form.step, form.start, block, "points").reshape(P * P, -1, C)
            right = to_points(g, back, size, 0, block, "products").reshape(P * P, -1, M)
            total += np.matmul(left.transpose(0, 2, 1), right, out=scratch("partial", total.shape))
        return total

    count = min(len(todo), max(2, min(_PARTIALS, _PARTIAL_BYTES // (4 * P * P * C * M))))
    total, *rest = parallel(job, [todo[a:b] for a, b in parts(len(todo), count)])
    for part in rest:
        total += part
    half = np.matmul(form.kernel.T, total.reshape(P, P, C * M))
    return np.matmul(form.kernel.T, half.reshape(P, -1)).reshape(3, 3, C, M)
