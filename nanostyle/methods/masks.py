"""Styles by region: a mask for each style, white where it is to be, black where not, gray in part."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from nanostyle.backend.types import Pixels
from nanostyle.io.image_read import Picture
from nanostyle.io.resample import resize

Mask = npt.NDArray[np.float32]
"""`(H, W)`, in 0..1, of any size."""


def mask_of(picture: Picture) -> Mask:
    """The brightness of a picture, the mean of its channels; what is transparent is black."""
    mask: Mask = picture.pixels.mean(axis=-1)
    if picture.alpha is not None:
        mask = mask * picture.alpha
    return mask


def region_shares(masks: Sequence[Mask], size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """How much of each style a pixel has, `(n, H, W)` for a picture of `size`; the rest is the photo's.

    Where the masks have more than 1 together, each has its part of it.
    """
    fitted = np.stack([np.clip(resize(mask[..., None], size)[..., 0], 0, 1) for mask in masks])
    shares: npt.NDArray[np.float32] = fitted / np.maximum(fitted.sum(axis=0), 1)
    return shares


def composed(photo: Pixels, results: Sequence[Pixels], parts: npt.NDArray[np.float32]) -> Pixels:
    """The photo `(H, W, 3)` and its `results` in each style, mixed pixel by pixel in the `parts` of `region_shares`."""
    mixed: Pixels = photo * (1 - parts.sum(axis=0))[..., None]
    for result, part in zip(results, parts, strict=True):
        mixed += result * part[..., None]
    return mixed


def by_region(renders: Sequence[Callable[[Pixels], Pixels]], masks: Sequence[Mask]) -> Callable[[Pixels], Pixels]:
    """From a photo to a picture of several, in each of which one style is everywhere: each where its mask says."""
    return lambda photo: composed(photo, [render(photo) for render in renders], region_shares(masks, _size(photo)))


def _size(pixels: Pixels) -> tuple[int, int]:
    return pixels.shape[0], pixels.shape[1]


def areas(masks: Sequence[Mask], size: tuple[int, int], *, count: int, weights: Sequence[float] | None) -> list[float]:
    """How large each of the regions of `count` styles is in a picture of `size`, 0 to 1: it counts as the weight.

    Raises
    ------
    ValueError
        There is not one mask for each style, there are `weights` too, or all masks are black.
    """
    if len(masks) != count or (weights is not None and len(weights)):
        raise ValueError(f"mask: expected one for each of {count} styles, and no weights, got {len(masks)}")
    if not any(mask.any() for mask in masks):
        raise ValueError("mask: expected a mask with something white in it, all are black")
    return [float(area) for area in region_shares(masks, size).mean(axis=(1, 2))]


def guides(mask: Mask, sizes: Mapping[str, tuple[int, ...]]) -> dict[str, Mask]:
    """`mask` for feature maps of the `sizes` (height, width): what they are multiplied by before the Gram matrix.

    The mean of its square is 1, so the Gram matrix is the mean over the region (Gatys 2017, section 4: guided Gram
    matrices; there the sum of the squares is 1, and Gram matrices are sums). An empty mask gives zeros.
    """
    found = {}
    for name, size in sizes.items():
        guide = np.clip(resize(mask[..., None], (size[0], size[1]))[..., 0], 0, 1)
        length = np.sqrt((guide**2).mean())
        found[name] = guide / length if length > 1e-3 else np.zeros_like(guide)
    return found
