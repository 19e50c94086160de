"""A photo in a painting's colors: their mean and covariance, as the start of an optimization.

The map between two distributions is the linear one that moves colors least (optimal transport between normal
distributions): Pitié and Kokaram 2007, "The Linear Monge-Kantorovitch Linear Colour Mapping". Departure: its gain is
limited, for a photo of few colors would be blown up to neon.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from nanostyle.backend.types import Pixels

MOST_GAIN = 2.5
"""The most that a difference between two colors is multiplied by."""

# Added to the variances, in steps of 8 bits: what varies less than by rounding does not vary.
_ROUNDING = (1 / 255) ** 2

Matrix = npt.NDArray[np.float64]


def in_colors_of(
    photo: Pixels,
    paintings: Sequence[Pixels],
    shares: Sequence[float],
    regions: npt.NDArray[np.float32] | None = None,
) -> Pixels:
    """`photo` with the mean and covariance of the colors of `paintings`.

    Parameters
    ----------
    photo
        `(H, W, 3)`, RGB in 0..1.
    paintings
        One or several, of any size.
    shares
        How much of each; they sum to 1. The colors aimed at are those of all paintings mixed in these parts.
    regions
        `(n, H, W)`, the share of each painting in each pixel: then every region has its own painting's colors, and what
        belongs to no region keeps its own.

    Examples
    --------
    >>> photo, painting = np.zeros((4, 4, 3), np.float32), np.full((2, 2, 3), 0.5, np.float32)
    >>> float(in_colors_of(photo, [painting], [1.0]).mean())
    0.5
    """
    if regions is None:
        mean, covariance = mixed([statistics(painting) for painting in paintings], shares)
        return _moved(photo, statistics(photo), (mean, covariance))
    result = photo * (1 - regions.sum(axis=0))[..., None]
    for painting, region in zip(paintings, regions, strict=True):
        if region.any():
            moved = _moved(photo, statistics(photo, region), statistics(painting))
            result = result + moved * region[..., None]
    colored: Pixels = result.astype(np.float32, copy=False)
    return colored


def statistics(pixels: Pixels, weight: npt.NDArray[np.float32] | None = None) -> tuple[Matrix, Matrix]:
    """Mean `(3,)` and covariance `(3, 3)` of the colors of `pixels (H, W, 3)`, each pixel counted by its weight."""
    colors = pixels.reshape(-1, 3).astype(np.float64)
    parts = (
        np.full(len(colors), 1 / len(colors)) if weight is None else weight.reshape(-1) / weight.sum(dtype=np.float64)
    )
    mean = parts @ colors
    centered = colors - mean
    return mean, (centered * parts[:, None]).T @ centered


def mixed(each: Sequence[tuple[Matrix, Matrix]], shares: Sequence[float]) -> tuple[Matrix, Matrix]:
    """Mean and covariance of the colors of several pictures together, in these parts."""
    mean: Matrix = np.sum([share * m for share, (m, _) in zip(shares, each, strict=True)], axis=0)
    spread = [share * (c + np.outer(m - mean, m - mean)) for share, (m, c) in zip(shares, each, strict=True)]
    return mean, np.sum(spread, axis=0)


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


def _moved(photo: Pixels, source: tuple[Matrix, Matrix], target: tuple[Matrix, Matrix]) -> Pixels:
    T = transport(source[1], target[1])
    shift = target[0] - T @ source[0]
    moved: Pixels = np.clip(photo @ T.T.astype(np.float32) + shift.astype(np.float32), 0, 1)
    return moved


def _power(covariance: Matrix, exponent: float) -> Matrix:
    """A symmetric positive matrix to a power."""
    values, directions = np.linalg.eigh(covariance)
    result: Matrix = (directions * np.maximum(values, 1e-12) ** exponent) @ directions.T
    return result
