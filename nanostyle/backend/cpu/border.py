"""The gradient of a padded border, added to the pixels that the border repeats."""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial

import numpy as np
import numpy.typing as npt

from nanostyle.backend.geometry import Geometry, border_index
from nanostyle.backend.threads import parallel
from nanostyle.backend.types import Array


def fold_border(dx: Array, g: Array, w: Array, at: Geometry, mask: Array | None) -> None:
    """Add to `dx` the gradients of the border's pixels, in a convolution that walks as `at` says.

    `dx (N, H, W, C)` holds the gradients of the inner pixels; `g`, `w` and `mask` as in `conv2d_dx`. A border is
    narrow, so tap by tap is fast enough.
    """
    if at.mode == "zero" or at.pad == 0:
        return
    across = None if mask is None else mask.swapaxes(1, 2)
    down = _lines(dx, g, w, at, mask)
    right = _lines(dx.swapaxes(1, 2), g.swapaxes(1, 2), w.swapaxes(0, 1), at, across)
    lines = parallel(lambda job: job(), [*down, *right])
    _add(dx, lines[: len(down)], at, corners=True)
    _add(dx.swapaxes(1, 2), lines[len(down) :], at, corners=False)


def _lines(dx: Array, g: Array, w: Array, at: Geometry, mask: Array | None) -> list[Callable[[], Array]]:
    """Jobs, each of which computes the gradients of one row above or below `dx`."""
    width = at.upsample * dx.shape[2] + 2 * at.pad
    return [partial(_line, r, g, w, at, mask, width) for r in _border(dx.shape[1], at)[0]]


def _line(r: int, g: Array, w: Array, at: Geometry, mask: Array | None, width: int) -> Array:
    """The gradient of row `r` of the padded feature map: `(N, width, C)`."""
    K, L, C, M = w.shape
    N, H, W, _ = g.shape
    line = np.zeros((N, width, C), g.dtype)
    for k in range(K):
        i, between = divmod(r - k, at.stride)
        if between or not 0 <= i < H:
            continue
        row = g[:, i] if mask is None else g[:, i] * (mask[:, i] > 0)
        taps = (row.reshape(-1, M) @ w[k].reshape(L * C, M).T).reshape(N, W, L, C)
        for j in range(L):
            line[:, j : j + at.stride * W : at.stride] += taps[:, :, j]
    return line


def _add(dx: Array, lines: Sequence[Array], at: Geometry, *, corners: bool) -> None:
    """Add the rows of the border to those that they repeat, with or without the border's corners."""
    N, _, W, C = dx.shape
    rows, sources = _border(dx.shape[1], at)
    columns, across = _border(W, at)
    for r, line in zip(rows, lines, strict=True):
        inner = line[:, at.pad : at.pad + at.upsample * W].reshape(N, W, at.upsample, C).sum(axis=2)
        for c in columns if corners else ():
            inner[:, across[c]] += line[:, c]
        dx[:, sources[r]] += inner


@lru_cache(64)  # a step asks for the same few many times
def _border(n: int, at: Geometry) -> tuple[list[int], npt.NDArray[np.intp]]:
    """The border's positions on a padded axis over `n` pixels, and for each position the pixel that it repeats."""
    length, pad = at.upsample * n, at.pad
    sources = border_index(length, pad, pad, at.mode) // at.upsample
    return [*range(pad), *range(pad + length, length + 2 * pad)], sources
