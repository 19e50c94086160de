"""What the border of a padded picture receives on the way back, added to the pixels that it repeats."""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np

from nanostyle.backend.threads import parallel
from nanostyle.backend.types import Array


def fold_border(
    dx: Array, g: Array, w: Array, *, stride: int, pad: int, mode: str, upsample: int, mask: Array | None
) -> None:
    """Add to `dx` the gradients of the border's pixels, in a convolution of a picture padded by `mode`.

    `dx (N, H, W, C)` holds the gradients of the inner pixels; `g`, `w` and `mask` as in `conv2d_dx`. The border is
    thin, so tap by tap is fast enough.
    """
    if mode == "zero" or pad == 0:
        return
    fold = _Fold(stride, pad, mode, upsample)
    across = None if mask is None else mask.swapaxes(1, 2)
    down = fold.lines(dx, g, w, mask)
    right = fold.lines(dx.swapaxes(1, 2), g.swapaxes(1, 2), w.swapaxes(0, 1), across)
    lines = parallel(lambda job: job(), [*down, *right])
    fold.add(dx, lines[: len(down)], corners=True)
    fold.add(dx.swapaxes(1, 2), lines[len(down) :], corners=False)


class _Fold(NamedTuple):
    stride: int
    pad: int
    mode: str
    upsample: int

    def lines(self, dx: Array, g: Array, w: Array, mask: Array | None) -> list[Callable[[], Array]]:
        """What computes the gradients of the rows above and below `dx`, row by row."""
        width = self.upsample * dx.shape[2] + 2 * self.pad
        return [partial(self._line, r, g, w, mask, width) for r in _border(dx.shape[1], self)[0]]

    def add(self, dx: Array, lines: Sequence[Array], *, corners: bool) -> None:
        """Fold them, with or without their corners."""
        N, _, W, C = dx.shape
        rows, sources = _border(dx.shape[1], self)
        columns, across = _border(W, self)
        for r, line in zip(rows, lines, strict=True):
            inner = line[:, self.pad : self.pad + self.upsample * W].reshape(N, W, self.upsample, C).sum(axis=2)
            for c in columns if corners else ():
                inner[:, across[c]] += line[:, c]
            dx[:, sources[r]] += inner

    def _line(self, r: int, g: Array, w: Array, mask: Array | None, width: int) -> Array:
        """The gradient of row `r` of the padded picture: `(N, width, C)`."""
        K, L, C, M = w.shape
        N, H, W, _ = g.shape
        line = np.zeros((N, width, C), g.dtype)
        for k in range(K):
            i, between = divmod(r - k, self.stride)
            if between or not 0 <= i < H:
                continue
            row = g[:, i] if mask is None else g[:, i] * (mask[:, i] > 0)
            part = (row.reshape(-1, M) @ w[k].reshape(L * C, M).T).reshape(N, W, L, C)
            for j in range(L):
                line[:, j : j + self.stride * W : self.stride] += part[:, :, j]
        return line


@lru_cache(64)  # a step asks for the same few many times
def _border(n: int, fold: _Fold) -> tuple[list[int], Array]:
    """Of a padded axis over `n` pixels: the border's positions, and for each position the pixel it repeats."""
    length, pad = fold.upsample * n, fold.pad
    sources = np.pad(np.arange(length), pad, mode=fold.mode) // fold.upsample  # type: ignore[call-overload]
    return [*range(pad), *range(pad + length, length + 2 * pad)], sources
