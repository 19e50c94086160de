"""The primitives of `ops/norm.py` on a GPU, by `kernels/norm.cu`. Statistics are float32, always."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from nanostyle.backend.gpu.constants import CHANNELS, THREADS
from nanostyle.backend.gpu.launch import blocks, contiguous, launch, supported, word_macros
from nanostyle.backend.memory import empty
from nanostyle.backend.types import Array, Statistics

# Blocks that a reduction aims for: a few for each multiprocessor of a large GPU.
_BLOCKS = 1024


class Split(NamedTuple):
    """How a reduction over P pixels of C channels is split over blocks."""

    tile: int  # pixels of a block
    tiles: int
    columns: int  # words of channels of a block
    groups: int

    @classmethod
    def of(cls, N: int, P: int, C: int, vec: int) -> "Split":
        """For N feature maps, read in words of `vec` channels."""
        columns = min(C // vec, 32)
        groups = blocks(C // vec, columns)
        rows = THREADS // columns
        tile = rows * max(4, blocks(P * groups * N, _BLOCKS * rows))
        return cls(tile, blocks(P, tile), columns, groups)


def statistics_of(x: Array) -> tuple[Array, Array]:
    """See `ops.norm.statistics_of`."""
    return TileStatistics.of(x).joined() if supported(x) else NotImplemented


class TileStatistics(NamedTuple):
    """Statistics that are yet to be joined: mean and sum of squared deviations of each channel of each tile.

    A feature map is `phases` grids of `size` pixels (height, width), each in tiles of the size `tile`.
    """

    partial: Array  # (N, phases, tiles, C, 2)
    size: tuple[int, int]
    tile: tuple[int, int]

    @classmethod
    def of(cls, x: Array) -> "TileStatistics":
        """The statistics of feature maps `x`, in tiles of consecutive pixels."""
        x, words = contiguous(x), word_macros(x)
        N, H, W, C = x.shape
        t = Split.of(N, H * W, C, words["VEC"])
        partial = empty((N, 1, t.tiles, C, 2), np.float32, like=x)
        launch("norm", "statistics", (t.tiles, t.groups, N), x, partial, H * W, C, t.tile, t.columns, **words)
        return cls(partial, (H * W, 1), (t.tile, 1))

    def joined(self) -> tuple[Array, Array]:
        """Mean and variance `(N, C)` of the feature maps."""
        mean, variance = self._rows(2)
        self._join((None, None, mean, variance, None, None, None), 0, 0.0)
        return mean, variance

    def normalizing(self, gamma: Array, beta: Array, eps: float) -> tuple[Array, Array, Array, Array]:
        """Mean, rstd, scale and shift, as of `ops.norm.scale_and_shift`."""
        mean, rstd, scale, shift = self._rows(4)
        gamma, beta = contiguous(gamma, np.float32), contiguous(beta, np.float32)
        self._join((gamma, beta, mean, None, rstd, scale, shift), len(gamma), eps)
        return mean, rstd, scale, shift

    def _rows(self, count: int) -> list[Array]:
        N, _, _, C, _ = self.partial.shape
        return [empty((N, C), np.float32, like=self.partial) for _ in range(count)]

    def _join(self, arrays: Sequence[Array | None], rows: int, eps: float) -> None:
        N, phases, _, C, _ = self.partial.shape
        numbers = (*self.size, C, *self.tile, phases, rows, eps)
        launch("norm", "join_statistics", (blocks(C, CHANNELS), N), self.partial, *arrays, *numbers, HALF=0, VEC=1)


def scale_and_shift(
    statistics: Statistics, gamma: Array, beta: Array, *, eps: float
) -> tuple[Array, Array, Array, Array]:
    """See `ops.norm.scale_and_shift`; of `TileStatistics`, statistics are joined on the way."""
    if isinstance(statistics, TileStatistics):
        return statistics.normalizing(gamma, beta, eps)
    mean, variance = statistics if isinstance(statistics, tuple) else statistics.joined()
    if any(a.dtype != np.float32 for a in (mean, variance, gamma, beta)):
        return NotImplemented
    gamma, beta = contiguous(gamma), contiguous(beta)
    rstd, scale, shift = (empty(mean.shape, np.float32, like=mean) for _ in range(3))
    given = (contiguous(mean), contiguous(variance), gamma, beta)
    numbers = (mean.shape[1], len(gamma), eps, mean.size)
    launch("norm", "scale_and_shift", blocks(mean.size), *given, rstd, scale, shift, *numbers, HALF=0, VEC=1)
    return mean, rstd, scale, shift


def normalize_forward(
    x: Array, scale: Array, shift: Array, residual: Array | None, *, relu: bool = False, spent: bool = False
) -> Array:
    """See `ops.norm.normalize_forward`; the result is always a new array: the kernel's pointers are `__restrict__`."""
    if not supported(x, residual):
        return NotImplemented
    x, words = contiguous(x), word_macros(x)
    N, H, W, C = x.shape
    scale, shift = (contiguous(v, np.float32) for v in (scale, shift))
    residual = None if residual is None else contiguous(residual, x.dtype)
    y = empty(x.shape, x.dtype, like=x)
    grid = (blocks(H * W * C // words["VEC"]), N)
    launch("norm", "normalize", grid, x, scale, shift, residual, y, H * W, C, int(relu), **words)
    return y


def normalize_backward(
    g: Array, x: Array, y: Array | None, mean: Array, rstd: Array, gamma: Array, *, need_g: bool
) -> tuple[Array, Array, Array, Array | None]:
    """See `ops.norm.normalize_backward`."""
    if not supported(g, x, y):
        return NotImplemented
    x, words = contiguous(x), word_macros(x)
    g, y = contiguous(g, x.dtype), None if y is None else contiguous(y, x.dtype)
    N, H, W, C = x.shape
    mean, rstd, gamma = (contiguous(v, np.float32) for v in (mean, rstd, gamma))
    dbeta, dgamma = sums(g, x, y, mean, rstd)
    assert dgamma is not None  # x was given
    dx = empty(x.shape, x.dtype, like=x)
    masked = empty(x.shape, x.dtype, like=x) if need_g and y is not None else None
    grid = (blocks(H * W * C // words["VEC"]), N)
    launch("norm", "normalize_dx", grid, g, x, y, mean, rstd, gamma, dgamma, dbeta, dx, masked, H * W, C, **words)
    return dx, dgamma, dbeta, (g if masked is None else masked) if need_g else None


def sums(
    g: Array, x: Array | None, y: Array | None, mean: Array | None, rstd: Array | None
) -> tuple[Array, Array | None]:
    """`Σ g` and `Σ g·(x - mean)·rstd` `(N, C)` over each feature map's pixels where y > 0; without x only the first."""
    N, H, W, C = g.shape
    words = word_macros(g)
    t = Split.of(N, H * W, C, words["VEC"])
    partial = empty((N, t.tiles, C, 2), np.float32, like=g)
    launch(
        "norm",
        "gradient_sums",
        (t.tiles, t.groups, N),
        g,
        x,
        y,
        mean,
        rstd,
        partial,
        H * W,
        C,
        t.tile,
        t.columns,
        **words,
    )
    total = empty((N, C), np.float32, like=g)
    dot = None if x is None else empty((N, C), np.float32, like=g)
    launch("norm", "join_gradient_sums", (blocks(C, CHANNELS), N), partial, total, dot, t.tiles, C, HALF=0, VEC=1)
    return total, dot
