"""The primitives of `ops/norm.py` on a GPU, by `kernels/norm.cu`. Statistics are float32, always."""

from typing import Any, NamedTuple

import numpy as np

from nanostyle.backend.gpu.constants import CHANNELS, THREADS
from nanostyle.backend.gpu.launch import blocks, contiguous, launch, supported, vectors
from nanostyle.backend.memory import empty
from nanostyle.backend.types import Array

# Blocks that a reduction aims for: a few for each multiprocessor of a large GPU.
_BLOCKS = 1024


class Tiling(NamedTuple):
    """How the blocks of a reduction over P pixels of C channels share the work."""

    tile: int  # pixels of a block
    tiles: int
    columns: int  # words of channels of a block
    groups: int

    @classmethod
    def of(cls, N: int, P: int, C: int, vec: int) -> "Tiling":
        """For N pictures, read in words of `vec` channels."""
        columns = min(C // vec, 32)
        groups = blocks(C // vec, columns)
        rows = THREADS // columns
        tile = rows * max(4, blocks(P * groups * N, _BLOCKS * rows))
        return cls(tile, blocks(P, tile), columns, groups)


def moments_of(x: Array) -> Any:
    """See `ops.norm.moments_of`."""
    return Tiles.of(x).joined() if supported(x) else NotImplemented


class Tiles(NamedTuple):
    """Mean and sum of squared deviations of each channel of each tile of pictures: moments that are yet to be joined.

    A picture is `parts` of `size` pixels (height, width), each in tiles of the size `tile`.
    """

    partial: Array  # (N, parts, tiles, C, 2)
    size: tuple[int, int]
    tile: tuple[int, int]

    @classmethod
    def of(cls, x: Array) -> "Tiles":
        """Those of pictures `x`, of runs of their pixels."""
        x, words = contiguous(x), vectors(x)
        N, H, W, C = x.shape
        t = Tiling.of(N, H * W, C, words["VEC"])
        partial = empty((N, 1, t.tiles, C, 2), np.float32, like=x)
        launch("norm", "moments", (t.tiles, t.groups, N), x, partial, H * W, C, t.tile, t.columns, **words)
        return cls(partial, (H * W, 1), (t.tile, 1))

    def joined(self) -> tuple[Array, Array]:
        """Mean and variance `(N, C)` of the pictures."""
        mean, variance = self._rows(2)
        self._join(None, None, mean, variance, None, None, None, 0, 0.0)
        return mean, variance

    def normalizing(self, gamma: Array, beta: Array, eps: float) -> tuple[Array, Array, Array, Array]:
        """Mean, rstd, scale and shift, as of `ops.norm.scale_and_shift`."""
        mean, rstd, scale, shift = self._rows(4)
        gamma, beta = contiguous(gamma, np.float32), contiguous(beta, np.float32)
        self._join(gamma, beta, mean, None, rstd, scale, shift, len(gamma), eps)
        return mean, rstd, scale, shift

    def _rows(self, count: int) -> list[Array]:
        N, _, _, C, _ = self.partial.shape
        return [empty((N, C), np.float32, like=self.partial) for _ in range(count)]

    def _join(self, *arrays_rows_eps: Any) -> None:
        *arrays, rows, eps = arrays_rows_eps
        N, parts, _, C, _ = self.partial.shape
        numbers = (*self.size, C, *self.tile, parts, rows, eps)
        launch("norm", "moments_join", (blocks(C, CHANNELS), N), self.partial, *arrays, *numbers, HALF=0, VEC=1)


def scale_and_shift(moments: Any, gamma: Array, beta: Array, *, eps: float) -> Any:
    """See `ops.norm.scale_and_shift`; of `Tiles`, moments are joined on the way."""
    if isinstance(moments, Tiles):
        return moments.normalizing(gamma, beta, eps)
    mean, variance = moments
    if any(a.dtype != np.float32 for a in (mean, variance, gamma, beta)):
        return NotImplemented
    gamma, beta = contiguous(gamma), contiguous(beta)
    rstd, scale, shift = (empty(mean.shape, np.float32, like=mean) for _ in range(3))
    given = (contiguous(mean), contiguous(variance), gamma, beta)
    numbers = (mean.shape[1], len(gamma), eps, mean.size)
    launch("norm", "scale_and_shift", blocks(mean.size), *given, rstd, scale, shift, *numbers, HALF=0, VEC=1)
    return mean, rstd, scale, shift


def normalize_forward(x: Array, scale: Array, shift: Array, residual: Array | None, *, relu: bool = False) -> Any:
    """See `ops.norm.normalize_forward`."""
    if not supported(x, residual):
        return NotImplemented
    x, words = contiguous(x), vectors(x)
    N, H, W, C = x.shape
    scale, shift = (contiguous(v, np.float32) for v in (scale, shift))
    residual = None if residual is None else contiguous(residual, x.dtype)
    y = empty(x.shape, x.dtype, like=x)
    grid = (blocks(H * W * C // words["VEC"]), N)
    launch("norm", "normalize", grid, x, scale, shift, residual, y, H * W, C, int(relu), **words)
    return y


def normalize_backward(
    g: Array, x: Array, y: Array | None, mean: Array, rstd: Array, gamma: Array, *, need_g: bool
) -> Any:
    """See `ops.norm.normalize_backward`."""
    if not supported(g, x, y):
        return NotImplemented
    x, words = contiguous(x), vectors(x)
    g, y = contiguous(g, x.dtype), None if y is None else contiguous(y, x.dtype)
    N, H, W, C = x.shape
    mean, rstd, gamma = (contiguous(v, np.float32) for v in (mean, rstd, gamma))
    dbeta, dgamma = sums(g, x, y, mean, rstd)
    dx = empty(x.shape, x.dtype, like=x)
    masked = empty(x.shape, x.dtype, like=x) if need_g and y is not None else None
    grid = (blocks(H * W * C // words["VEC"]), N)
    launch("norm", "normalize_dx", grid, g, x, y, mean, rstd, gamma, dgamma, dbeta, dx, masked, H * W, C, **words)
    return dx, dgamma, dbeta, (g if masked is None else masked) if need_g else None


def sums(
    g: Array, x: Array | None, y: Array | None, mean: Array | None, rstd: Array | None
) -> tuple[Array, Array | None]:
    """`Σ g` and `Σ g·(x - mean)·rstd` `(N, C)` over each picture's pixels where y > 0; without x only the first."""
    N, H, W, C = g.shape
    words = vectors(g)
    t = Tiling.of(N, H * W, C, words["VEC"])
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
    launch("norm", "gradient_sums_join", (blocks(C, CHANNELS), N), partial, total, dot, t.tiles, C, HALF=0, VEC=1)
    return total, dot
