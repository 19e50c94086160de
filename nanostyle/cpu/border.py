"""What the border of a padded picture receives on the way back, added to the pixels that it repeats."""

import numpy as np

from nanostyle.arrays import Array, parallel


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
    fold.rows(dx, g, w, mask, corners=True)
    across = None if mask is None else mask.swapaxes(1, 2)
    fold.rows(dx.swapaxes(1, 2), g.swapaxes(1, 2), w.swapaxes(0, 1), across, corners=False)


class _Fold:
    def __init__(self, stride: int, pad: int, mode: str, upsample: int) -> None:
        self.stride, self.pad, self.mode, self.upsample = stride, pad, mode, upsample

    def _border(self, n: int) -> tuple[list[int], Array]:
        """Of a padded axis over `n` pixels: the border's positions, and for each position the pixel it repeats."""
        length = self.upsample * n
        sources = np.pad(np.arange(length), self.pad, mode=self.mode) // self.upsample  # type: ignore[call-overload]
        return [*range(self.pad), *range(self.pad + length, length + 2 * self.pad)], sources

    def rows(self, dx: Array, g: Array, w: Array, mask: Array | None, *, corners: bool) -> None:
        """Fold the rows above and below, with or without their corners."""
        N, _, W, C = dx.shape
        rows, sources = self._border(dx.shape[1])
        columns, across = self._border(W)
        width = self.upsample * W + 2 * self.pad
        for r, line in zip(rows, parallel(lambda r: self._line(r, g, w, mask, width), rows), strict=True):
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
