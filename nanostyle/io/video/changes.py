"""What changes from one frame of an animation to the next."""

from collections.abc import Iterable, Iterator
from typing import TypeAlias

from PIL import Image, ImageChops

Box: TypeAlias = tuple[int, int, int, int]
"""Left, top, right and bottom of a part of a picture."""


def changed(images: Iterable[Image.Image], *, step: int = 1) -> Iterator[tuple[Image.Image, Box]]:
    """Each image with the part of it that differs from the one before; of the first, and where nothing does, a part.

    The left and top of a part are multiples of `step`.

    Examples
    --------
    >>> images = [Image.new("L", (8, 6)) for _ in range(3)]
    >>> images[1].putpixel((3, 2), 9)
    >>> [box for _, box in changed(images, step=2)]
    [(0, 0, 8, 6), (2, 2, 4, 3), (2, 2, 4, 3)]
    """
    before: Image.Image | None = None
    for image in images:
        box: Box = (0, 0, image.width, image.height)
        if before is not None:
            found = ImageChops.difference(image, before).getbbox(alpha_only=False) or (0, 0, 1, 1)
            box = (found[0] // step * step, found[1] // step * step, found[2], found[3])
        yield image, box
        before = image
