"""A photo in a painting's colors: their mean and covariance, as the start of an optimization."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from nanostyle.backend.types import Pixels
from nanostyle.models.palette import Palette, mixed, palette_of, transport


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
        return _moved(photo, palette_of(photo), mixed([palette_of(painting) for painting in paintings], shares))
    result = photo * (1 - regions.sum(axis=0))[..., None]
    for painting, region in zip(paintings, regions, strict=True):
        if region.any():
            moved = _moved(photo, palette_of(photo, region), palette_of(painting))
            result = result + moved * region[..., None]
    colored: Pixels = result.astype(np.float32, copy=False)
    return colored


def _moved(photo: Pixels, source: Palette, target: Palette) -> Pixels:
    T = transport(source.covariance, target.covariance)
    shift = target.mean - T @ source.mean
    moved: Pixels = np.clip(photo @ T.T.astype(np.float32) + shift.astype(np.float32), 0, 1)
    return moved
