"""What follows a convolution on the CPU, done piece by piece while it is in the cache: ReLU and statistics."""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from nanostyle.backend.cpu.norm import Partial, merge_moments, partial_moments
from nanostyle.backend.cpu.windows import Patch
from nanostyle.backend.types import Array

# The picture that a piece belongs to, and the statistics of the piece where they are wanted.
Measured: TypeAlias = tuple[int, Partial | None]


class Epilogue(NamedTuple):
    """What is wanted besides the convolution itself; nothing, after a gradient."""

    relu: bool = False
    moments: bool = False

    def __call__(self, n: int, pixels: Patch, target: Patch, height: int, width: int) -> Measured:
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

    def measure(self, n: int, target: Patch, height: int, width: int) -> Measured:
        """The statistics of what stands in its place."""
        return n, partial_moments(target.lines(height, width), target.channels) if self.moments else None


def moments(pieces: Sequence[Measured], N: int) -> tuple[Array, Array]:
    """Mean and variance `(N, M)` of whole pictures, from those of their pieces."""
    partials: list[list[Partial]] = [[] for _ in range(N)]
    for n, partial in pieces:
        if partial is not None:
            partials[n].append(partial)
    means, variances = zip(*map(merge_moments, partials), strict=True)
    return np.stack(means), np.stack(variances)
