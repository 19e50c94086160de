"""Styles by region: a mask for each style, white where it is to be, black where not, gray in part."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from nanostyle.io.image_read import Picture
from nanostyle.io.resample import resize

Mask = npt.NDArray[np.float32]
"""`(H, W)`, in 0..1, of any size."""


def mask_of(picture: Picture) -> Mask:
    """The brightness of a picture, the mean of its channels; what is transparent is black."""
    mask: Mask = picture.pixels.mean(axis=-1)
    return mask if picture.alpha is None else mask * picture.alpha


def region_shares(masks: Sequence[Mask], size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """How much of each style a pixel has, `(n, H, W)` for a picture of `size`; the rest is the photo's.

    Where the masks have more than 1 together, each has its part of it.
    """
    fitted = np.stack([np.clip(resize(mask[..., None], size)[..., 0], 0, 1) for mask in masks])
    return fitted / np.maximum(fitted.sum(axis=0), 1)


def composed(
    photo: npt.NDArray[np.float32], results: Sequence[npt.NDArray[np.float32]], parts: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """The photo `(H, W, 3)` and its `results` in each style, mixed pixel by pixel in the `parts` of `region_shares`."""
    mixed = photo * (1 - parts.sum(axis=0))[..., None]
    for result, part in zip(results, parts, strict=True):
        mixed += result * part[..., None]
    return mixed


def guides(mask: Mask, sizes: Mapping[str, tuple[int, ...]]) -> dict[str, Mask]:
    """`mask` for feature maps of the `sizes` (height, width): what they are multiplied by before the Gram matrix.

    The mean of its square is 1, so the Gram matrix is the mean over the region (Gatys 2017, section 4: guided Gram
    matrices; there the sum of the squares is 1, and Gram matrices are sums). Of a region that is nowhere it is 0.
    """
    found = {}
    for name, size in sizes.items():
        guide = np.clip(resize(mask[..., None], (size[0], size[1]))[..., 0], 0, 1)
        length = np.sqrt((guide**2).mean())
        found[name] = guide / length if length > 1e-3 else np.zeros_like(guide)
    return found
