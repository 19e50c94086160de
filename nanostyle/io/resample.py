"""Resampling of pictures: Lanczos with antialiasing."""

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from nanostyle.backend.types import Pixels


def fitted(size: tuple[int, int], side: int) -> tuple[int, int]:
    """(height, width) with the proportions of `size` and a long side of `side`; no side is under 1.

    Raises
    ------
    ValueError
        `side` is under 1.
    """
    if side < 1:
        raise ValueError(f"the size of a picture is its long side in pixels, 1 or more; got {side}")
    height, width = size
    scale = side / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def resize(pixels: npt.NDArray[Any], size: tuple[int, int]) -> Pixels:
    """Resample (…, H, W, C) to `size` = (height, width): Lanczos with antialiasing, float32.

    Every channel stays within its own range: Lanczos would overshoot at edges.

    Raises
    ------
    ValueError
        Fewer than three axes, or an empty size.
    """
    if pixels.ndim < 3 or pixels.size == 0 or min(size) < 1:
        raise ValueError(
            f"cannot resize an array of shape {pixels.shape} to {size}: expected (…, H, W, C) and 1 or more"
        )
    height, width = size
    pixels = pixels.astype(np.float32, copy=False)
    if pixels.shape[-3:-1] == (height, width):
        return np.asarray(pixels.copy())
    planes = np.moveaxis(pixels, -1, -3)
    resized = [_resample(plane, (width, height)) for plane in planes.reshape(-1, *planes.shape[-2:])]
    return np.ascontiguousarray(np.moveaxis(np.reshape(resized, (*planes.shape[:-2], height, width)), -3, -1))


def _resample(plane: Pixels, size: tuple[int, int]) -> Pixels:
    clipped: Pixels = np.clip(resampled(plane, size), plane.min(), plane.max())
    return clipped


def resampled(plane: Pixels, size: tuple[int, int]) -> Pixels:
    """A plane (H, W) at `size` (width, height): Lanczos with antialiasing, which may overshoot."""
    return np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.LANCZOS))
