"""What follows a convolution on the CPU, done piece by piece while it is in the cache: ReLU and statistics."""

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


class Epilogue(NamedTuple):
    """What is wanted besides the convolution itself; nothing, after a gradient."""

    relu: bool = False
    moments: bool = False

    def __call__(self, n: int, pixels: Patch, target: Patch, height: int, width: int) -> Moments | None:
        """Bring the computed `pixels` of picture `n` to their place `target`, which may be where they are."""
        self.place(pixels, target, height, width)
        return self.measure(n, target, height, width)

    def place(self, pixels: Patch, target: Patch, height: int, width: int) -> None:
        """The part of it that may be done for some of the pixels at a time."""
        lines = target.lines(height, width)
        if self.relu:
            # Against an array NumPy takes the maximum with vector instructions, against a number without: 3x slower.
            np.maximum(pixels.lines(height, width), np.zeros(lines.shape[1], np.float32), out=lines)
        elif pixels is not target:
            lines[...] = pixels.lines(height, width)

    def measure(self, n: int, target: Patch, height: int, width: int) -> Moments | None:
        """The statistics, if they are wanted."""
        return _moments(n, target.lines(height, width), target.channels) if self.moments else None


def _moments(n: int, lines: Array, channels: int) -> Moments:
    height, length = lines.shape
    count = height * length // channels
    # Around a value near the mean (that of the first line), so that nothing cancels; the exact mean follows.
    ones = np.ones(count, np.float32)
    width = length // channels
    near = ones[:width] @ lines[0].reshape(width, channels) / width
    centred = scratch("centred", lines.shape)
    np.subtract(lines, np.tile(near, width), out=centred)
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
