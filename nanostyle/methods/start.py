"""The picture that Gatys' method starts from."""

from collections.abc import Sequence

import numpy as np

from nanostyle.backend.types import Pixels
from nanostyle.io.resample import resize
from nanostyle.methods.color_transfer import in_colors_of
from nanostyle.methods.masks import Mask, region_shares
from nanostyle.models.grain import DEVIATION, draw_grain


def first_picture(
    init: str,
    photo: Pixels,
    styles: Sequence[Pixels],
    shares: Sequence[float],
    masks: Sequence[Mask] | None,
    seed: int,
) -> Pixels:
    """The photo in the paintings' colors (`content`) or in its own (`photo`), noise, or the first painting (`style`).

    The painting is cut to the shape of the photo. From the bare photo Gram matrices are met in the mean over the
    picture, by coloring one part of it too much: dark parts stay black holes. From the right palette they are met
    everywhere.

    The photo has grain: all pixels of a smooth row have one gradient, and would become stripes.

    Raises
    ------
    ValueError
        There is no start of that name.
    """
    if init == "content":
        regions = region_shares(masks, photo.shape[:2]) if masks else None
        return _grainy(in_colors_of(photo, styles, shares, regions), seed)
    if init == "photo":
        return _grainy(photo, seed)
    if init == "noise":
        return np.random.default_rng(seed).random(photo.shape, np.float32)
    if init == "style":
        return _cut(styles[0], photo.shape[0], photo.shape[1])
    raise ValueError(f"init: expected content, photo, noise or style, got {init!r}")


def _grainy(pixels: Pixels, seed: int) -> Pixels:
    return pixels + draw_grain(pixels.shape[:2], DEVIATION, seed)


def _cut(painting: Pixels, H: int, W: int) -> Pixels:
    """The middle of `painting`, as large as fits, at H x W pixels."""
    height, width = painting.shape[:2]
    factor = max(H / height, W / width)
    covering = resize(painting, (max(H, round(height * factor)), max(W, round(width * factor))))
    top, left = (covering.shape[0] - H) // 2, (covering.shape[1] - W) // 2
    return np.ascontiguousarray(covering[top : top + H, left : left + W])
