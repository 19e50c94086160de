"""What follows a convolution on the CPU, done block by block: bias, ReLU, and the statistics of each channel."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from nanostyle.arrays import Array, scratch
from nanostyle.cpu.picture import Patch


class Moments(NamedTuple):
    """Statistics of so many `pixels` of picture `n`, per channel: the sum of squares is taken around the mean."""

    n: int
    pixels: int
    mean: Array
    squares: Array


class Epilogue:
    """Add the bias `b (M,)`, apply the ReLU, take the moments; for pictures of `width` pixels and M channels."""

    def __init__(self, b: Array | None, *, relu: bool, moments: bool, width: int) -> None:
        # One line of pixels' worth of biases: NumPy adds long lines several times faster than short ones.
        self.bias = None if b is None else np.tile(b, width)
        self.relu, self.moments = relu, moments

    def __call__(self, n: int, pixels: Patch, height: int, width: int) -> Moments | None:
        """Finish the block `pixels` of picture `n`, in place."""
        lines = pixels.lines(height, width)
        if self.bias is not None:
            lines += self.bias[: lines.shape[1]]
        if self.relu:
            np.maximum(lines, 0, out=lines)
        return _moments(n, lines, pixels.channels) if self.moments else None


def _moments(n: int, lines: Array, channels: int) -> Moments:
    height, length = lines.shape
    count = height * length // channels
    # Around a value near the mean (that of the first line), so that nothing cancels; the exact mean follows.
    near = lines[0].reshape(-1, channels).mean(axis=0)
    centred = scratch("centred", lines.shape)
    np.subtract(lines, np.tile(near, length // channels), out=centred)
    ones = np.ones(count, np.float32)
    off = (ones @ centred.reshape(count, channels)).astype(np.float64) / count
    np.multiply(centred, centred, out=centred)
    squares = (ones @ centred.reshape(count, channels)).astype(np.float64)
    return Moments(n, count, near + off, np.maximum(squares - count * off**2, 0))


def merge(parts: Sequence[Moments | None], N: int) -> tuple[Array, Array]:
    """Mean and (biased) variance `(N, M)` of whole pictures from those of their parts.

    Source: Chan, Golub & LeVeque 1983, "Algorithms for computing the sample variance": the sums of squares add
    up, plus what the parts' means differ from the whole's.
    """
    means, variances = [], []
    for n in range(N):
        mine = [part for part in parts if part is not None and part.n == n]
        count = np.array([part.pixels for part in mine], np.float64)[:, None]
        mean = np.stack([part.mean for part in mine])
        whole = (count * mean).sum(axis=0) / count.sum()
        squares = np.stack([part.squares for part in mine]).sum(axis=0) + (count * (mean - whole) ** 2).sum(axis=0)
        means.append(whole)
        variances.append(squares / count.sum())
    return np.stack(means).astype(np.float32), np.stack(variances).astype(np.float32)
