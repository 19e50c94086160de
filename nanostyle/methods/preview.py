"""A preview: the small version of what a large run will give, in a fraction of the time.

A one-pass network paints large strokes first and refines them on the way to the full size (`strokes.py`); Gatys' method
works from coarse to fine. So the preview is made where that way has passed 512 pixels and the size of the strokes once
more: what comes after that changes little that is still seen at 512.
"""

from dataclasses import replace

from nanostyle.backend.types import Pixels
from nanostyle.io.image_read import Picture
from nanostyle.io.picture_rows import RowPicture
from nanostyle.io.resample import fitted, resize
from nanostyle.methods.strokes import strokes_of

SIDE = 512
"""The long side of a preview, in pixels."""


def preview_of(picture: Picture | RowPicture, *, strokes: int | None, one_pass: bool) -> tuple[Pixels, Picture]:
    """The photo as it is stylized for a preview, and the small photo whose size and alpha the result has.

    A photo of 512 pixels or less is its own preview.
    """
    size = picture.pixels.shape[0], picture.pixels.shape[1]
    if max(size) <= SIDE:
        shown = picture.whole() if isinstance(picture, RowPicture) else picture
        return shown.pixels, shown
    if isinstance(picture, RowPicture):
        # Of a large photo no more is needed in memory than what is stylized.
        seen = picture.whole(fitted(size, min(_seen_side(max(size), strokes), max(size)))).pixels
        return seen, picture.whole(fitted(size, SIDE))
    small = fitted(size, SIDE)
    alpha = None if picture.alpha is None else resize(picture.alpha[..., None], small)[..., 0]
    shown = replace(picture, pixels=resize(picture.pixels, small), alpha=alpha)
    if not one_pass:
        return shown.pixels, shown
    return resize(picture.pixels, fitted(size, min(_seen_side(max(size), strokes), max(size)))), shown


def _seen_side(long: int, strokes: int | None) -> int:
    """The long side at which a photo is stylized for a preview, unless it is smaller itself."""
    side = strokes_of(long, strokes)
    while side < SIDE:
        side *= 2
    return 2 * side
