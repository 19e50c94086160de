"""ReLU and statistics after a convolution on the CPU, block by block while the result is in the cache."""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from nanostyle.backend.cpu.norm import Partial, merge_statistics, partial_statistics
from nanostyle.backend.cpu.windows import Patch
from nanostyle.backend.types import Array

# The feature map that a block belongs to, and the statistics of the block where they are wanted.
Measured: TypeAlias = tuple[int, Partial | None]


class Epilogue(NamedTuple):
    """The steps to take after a convolution; after a gradient there are none."""

    relu: bool = False
    statistics: bool = False

    def __call__(self, n: int, pixels: Patch, target: Patch, height: int, width: int) -> Measured:
        """Bring the computed `pixels` of map `n` to their place `target`, which may be where they are."""
        self.place(pixels, target, height, width)
        return self.measure(n, target, height, width)

    def place(self, pixels: Patch, target: Patch, height: int, width: int) -> None:
        """Bring pixels to their place, through the ReLU where there is one."""
        lines = target.lines(height, width)
        if self.relu:
            # Against an array NumPy takes the maximum with vector instructions, against a number without: 3x slower.
            np.maximum(pixels.lines(height, width), np.zeros(lines.shape[1], np.float32), out=lines)
        elif pixels is not target:
            lines[...] = pixels.lines(height, width)

    def measure(self, n: int, target: Patch, height: int, width: int) -> Measured:
        """The statistics of the pixels in their place."""
        return n, partial_statistics(target.lines(height, width), target.channels) if self.statistics else None


def join_blocks(blocks: Sequence[Measured], N: int) -> tuple[Array, Array]:
    """Mean and variance `(N, M)` of whole feature maps, from those of their blocks."""
    partials: list[list[Partial]] = [[] for _ in range(N)]
    for n, partial in blocks:
        if partial is not None:
            partials[n].append(partial)
    means, variances = zip(*map(merge_statistics, partials), strict=True)
    return np.array(means), np.array(variances)
