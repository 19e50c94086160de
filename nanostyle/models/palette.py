"""The palette of a picture: mean and covariance of its colors, and how a result is brought nearer to a painting's.

The map between two palettes is the linear one that moves colors least (optimal transport between normal
distributions): Pitié and Kokaram 2007, "The Linear Monge-Kantorovitch Linear Colour Mapping". Departure: its gain is
limited, for a photo of few colors would be blown up to neon.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from nanostyle.backend.types import Pixels
from nanostyle.io.resample import resize

MOST_GAIN = 2.5
"""The most that a difference between two colors is multiplied by."""

PART = 0.6
"""How much of the way to the painting's palette a result is brought: by `bench/judge.py`."""

# What moves are areas of so many pixels squared. Finer detail stays as it is: its grain would be enlarged, too.
_AREA = 4

# Added to the variances, in steps of 8 bits: what varies less than by rounding does not vary.
_ROUNDING = (1 / 255) ** 2

_BLOCK = 1 << 16  # pixels

Matrix = npt.NDArray[np.float64]


class Palette(NamedTuple):
    """Mean `(3,)` and covariance `(3, 3)` of the colors of a picture, RGB in 0..1."""

    mean: Matrix
    covariance: Matrix


def palette_of(pixels: Pixels, weight: npt.NDArray[np.float32] | None = None) -> Palette:
    """Mean `(3,)` and covariance `(3, 3)` of the colors of `pixels (H, W, 3)`, each pixel counted by its weight."""
    flat = pixels.reshape(-1, 3)
    total = len(flat) if weight is None else weight.sum(dtype=np.float64)
    weights = None if weight is None else weight.reshape(-1)
    mean, covariance = np.zeros(3), np.zeros((3, 3))
    for start in range(0, len(flat), _BLOCK):  # all at once they would take ten times the picture's memory
        block = slice(start, start + _BLOCK)
        # Half a step of gray is taken off: products of smaller numbers lose fewer digits.
        colors = flat[block].astype(np.float64) - 0.5
        counted = colors if weights is None else colors * weights[block, None]
        mean += counted.sum(axis=0) / total
        covariance += counted.T @ colors / total
    return Palette(mean + 0.5, covariance - np.outer(mean, mean))


def mixed(each: Sequence[Palette], shares: Sequence[float]) -> Palette:
    """Mean and covariance of the colors of several pictures together, in these parts."""
    mean: Matrix = np.sum([share * m for share, (m, _) in zip(shares, each, strict=True)], axis=0)
    spread = [share * (c + np.outer(m - mean, m - mean)) for share, (m, c) in zip(shares, each, strict=True)]
    return Palette(mean, np.sum(spread, axis=0))


def transport(source: Matrix, target: Matrix, *, most_gain: float = MOST_GAIN) -> Matrix:
    """The symmetric map `(3, 3)` that gives colors of covariance `source` the covariance `target`.

    `T = A^-½ (A^½ B A^½)^½ A^-½` (Pitié 2007, equation 20). No direction is stretched by more than `most_gain`.
    """
    A, B = (covariance + _ROUNDING * np.eye(3) for covariance in (source, target))
    root = _power(A, 0.5)
    back = _power(A, -0.5)
    T = back @ _power(root @ B @ root, 0.5) @ back
    gains, directions = np.linalg.eigh((T + T.T) / 2)
    limited: Matrix = (directions * np.minimum(gains, most_gain)) @ directions.T
    return limited


def between(start: Palette, end: Palette, part: float) -> Palette:
    """The palette at `part` of the way from `start` to `end`."""
    mean, covariance = (a + part * (b - a) for a, b in zip(start, end, strict=True))
    return Palette(mean, covariance)


def nearer(result: Pixels, target: Palette) -> Pixels:
    """`result` `(H, W, 3)`, RGB in 0..1, with its palette brought a part of the way to `target`.

    Areas of a few pixels are moved, each as one; after the whole way the picture with its detail would have the mean
    and covariance of `target`.

    Examples
    --------
    >>> black, white = np.zeros((8, 8, 3), np.float32), np.ones((8, 8, 3), np.float32)
    >>> round(float(nearer(black, palette_of(white)).mean()), 3)
    0.6
    """
    height, width = result.shape[:2]
    step = steps_to(target, resize(result, areas_of((height, width))), palette_of(result))
    nearer: Pixels = np.clip(result + resize(step, (height, width)), 0, 1)
    return nearer


def areas_of(size: tuple[int, int]) -> tuple[int, int]:
    """How many areas, down and across, are moved in a picture of `size` (height, width)."""
    return max(1, size[0] // _AREA), max(1, size[1] // _AREA)


def steps_to(target: Palette, areas: Pixels, whole: Palette) -> Pixels:
    """How far each of the `areas` of a picture of the palette `whole` is moved towards `target`."""
    own = palette_of(areas)
    detail = whole.covariance - own.covariance
    T = transport(own.covariance, target.covariance - detail)
    moved = (areas - own.mean.astype(np.float32)) @ T.T.astype(np.float32) + target.mean.astype(np.float32)
    steps: Pixels = PART * (moved - areas)
    return steps


def _power(covariance: Matrix, exponent: float) -> Matrix:
    """A symmetric positive matrix to a power."""
    values, directions = np.linalg.eigh(covariance)
    result: Matrix = (directions * np.maximum(values, 1e-12) ** exponent) @ directions.T
    return result
