"""Styles by region: a mask for each style, white where it is to be, black where not, gray in part."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from nanostyle.backend.rows import ArrayRows, Computed, Rows
from nanostyle.backend.types import Pixels
from nanostyle.errors import NanostyleError
from nanostyle.io.image_read import Picture, upright
from nanostyle.io.picture_rows import RowPicture, load_rows, size_in_rows
from nanostyle.io.resample import resize
from nanostyle.io.resample_rows import limits_of, resized
from nanostyle.io.sources import Source, read_source

Values: TypeAlias = npt.NDArray[np.float32]

Mask: TypeAlias = Values | Rows
"""`(H, W)`, in 0..1, of any size; or, for one that would take much memory, rows of one channel."""

_EACH, _PART = 16, 8  # bytes that a pixel takes while it is read; a mask may take this part of the memory


def read_mask(source: Source, memory: int) -> tuple[Mask, str]:
    """The mask that `source` stands for, and the digest of its file. Raises as `read_source` does.

    Of one that takes more than an eighth of the `memory` rows are read, from a temporary file: that takes longer.
    """
    if isinstance(source, str | os.PathLike):
        size = size_in_rows(source)
        if size is not None and _EACH * size[0] * size[1] > memory / _PART:
            found = load_rows(source)
            return _rows_of(found), found.sha256
    picture = read_source(source)
    return mask_of(picture), picture.sha256


def mask_of(picture: Picture) -> Values:
    """The brightness of a picture, the mean of its channels; what is transparent is black."""
    mask: Values = picture.pixels.mean(axis=-1)
    if picture.alpha is not None:
        mask = mask * picture.alpha
    return mask


def _rows_of(found: RowPicture) -> Rows:
    """As `mask_of`."""
    H, W, _ = found.pixels.shape

    def compute(start: int, stop: int) -> Pixels:
        mask: Pixels = found.pixels.read(start, stop).mean(axis=-1, keepdims=True)
        return mask if found.alpha is None else mask * found.alpha.read(start, stop)

    return Computed((H, W, 1), compute)


def rows_at(mask: Mask, size: tuple[int, int]) -> Rows:
    """The mask at `size` (height, width), as rows of one channel."""
    return resized(ArrayRows(mask[..., None]) if isinstance(mask, np.ndarray) else mask, size)


def _at(mask: Mask, size: tuple[int, int]) -> Values:
    """The mask at `size`, in memory."""
    if isinstance(mask, np.ndarray):
        return resize(mask[..., None], size)[..., 0]
    return np.asarray(resized(mask, size).read(0, size[0])[..., 0])


# Sides of a mask that was made for the photo at another size are off by a pixel or two.
_TOLERANCE = 0.02


def fitted_masks(masks: Sequence[Mask], names: Sequence[str], photo: Picture | RowPicture) -> list[Mask]:
    """The masks for a photo: one with the proportions of the photo as it is, of the photo as it is stored turned.

    A camera held on its side stores its photo lying, and says so; a program that does not look makes lying masks.

    Raises
    ------
    NanostyleError
        A mask has other proportions than the photo.
    """
    return [
        _fitted(mask, name or f"mask {i + 1}", photo) for i, (mask, name) in enumerate(zip(masks, names, strict=True))
    ]


def _fitted(mask: Mask, name: str, photo: Picture | RowPicture) -> Mask:
    height, width = photo.original
    if _proportions(mask.shape[:2], (height, width)):
        return mask
    if photo.orientation >= 5 and _proportions(mask.shape[:2], (width, height)):
        return upright(_at(mask, (mask.shape[0], mask.shape[1])), photo.orientation)
    raise NanostyleError(
        f"mask: {name} is {mask.shape[1]} x {mask.shape[0]} pixels, the photo {width} x {height}: they have different"
        " proportions",
        hint="draw the {mask} over the photo, at any size",
    )


def _proportions(one: tuple[int, ...], other: tuple[int, int]) -> bool:
    """Whether two sizes (height, width) have the same proportions, to 2 % or to one pixel of the smaller."""
    scale = min(one[0] / other[0], one[1] / other[1])
    off = max(abs(one[0] - scale * other[0]), abs(one[1] - scale * other[1]))
    return off <= max(1.0, _TOLERANCE * max(one))


def region_shares(masks: Sequence[Mask], size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """How much of each style a pixel has, `(n, H, W)` for a picture of `size`; the rest is the photo's.

    Where the masks have more than 1 together, each has its part of it.
    """
    return shares_of(np.stack([_at(mask, size) for mask in masks]))


def shares_of(masks: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The `region_shares` of masks `(n, H, W)` of the size of the picture."""
    fitted = np.clip(masks, 0, 1)
    shares: npt.NDArray[np.float32] = fitted / np.maximum(fitted.sum(axis=0), 1)
    return shares


def composed(photo: Pixels, results: Sequence[Pixels], parts: npt.NDArray[np.float32]) -> Pixels:
    """The photo `(H, W, 3)` and its `results` in each style, mixed pixel by pixel in the `parts` of `region_shares`."""
    mixed: Pixels = photo * (1 - parts.sum(axis=0))[..., None]
    for result, part in zip(results, parts, strict=True):
        mixed += result * part[..., None]
    return mixed


def within(photo: Pixels, result: Pixels, masks: Sequence[Mask]) -> Pixels:
    """`result`, of any size, where the masks are white; what all of them leave black is the photo's own."""
    share = region_shares(masks, _size(photo)).sum(axis=0, keepdims=True)
    return composed(photo, [resize(result, _size(photo))], share)


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
    if not any(mask.any() if isinstance(mask, np.ndarray) else limits_of(mask)[1].any() for mask in masks):
        raise ValueError("mask: expected a mask with something white in it, all are black")
    return [float(area) for area in region_shares(masks, size).mean(axis=(1, 2))]


def guides(mask: Mask, sizes: Mapping[str, tuple[int, ...]]) -> dict[str, Values]:
    """`mask` for feature maps of the `sizes` (height, width): what they are multiplied by before the Gram matrix.

    The mean of its square is 1, so the Gram matrix is the mean over the region (Gatys 2017, section 4: guided Gram
    matrices; there the sum of the squares is 1, and Gram matrices are sums). An empty mask gives zeros.
    """
    found = {}
    for name, size in sizes.items():
        guide = np.clip(_at(mask, (size[0], size[1])), 0, 1)
        length = np.sqrt((guide**2).mean())
        found[name] = guide / length if length > 1e-3 else np.zeros_like(guide)
    return found
