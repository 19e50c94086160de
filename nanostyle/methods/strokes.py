"""Set the size of the strokes of a one-pass network.

A network paints strokes of a fixed number of pixels: on a photo of a phone they are dust, and a small preview promises
what the full size does not keep. So the photo is painted at a size at which strokes are large, and brought back to its
own: enlarged, with the detail that the small photo lacked, and through the network once more with part of the strength,
which makes paint of that detail and leaves the large strokes. More than twice the size takes several such steps.

A network for any painting guesses its palette: what is painted first is brought nearer to the painting's.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from nanostyle.backend.types import Pixels
from nanostyle.io.resample import fitted, resize
from nanostyle.models.base import Render as Painter
from nanostyle.models.base import TrainedModel
from nanostyle.models.palette import Palette, between, nearer, palette_of
from nanostyle.models.shift import STILL, Shift

LARGEST_BY_DEFAULT = 768
"""The long side in pixels up to which a photo is painted as it is."""

SMALLEST, LARGEST = 64, 4096

AGAIN = 0.4
"""What part of the strength the second pass has. A whole one paints new fine strokes over the large ones."""

_MOST_ENLARGED = 2.2
"""The most that a result is enlarged before it goes through the network again: twice, or a little more."""

Render = Callable[[Pixels, float], Pixels]
"""A photo `(H, W, 3)` of any size, stylized with a strength from 0 to 1."""


def stroked(
    model: TrainedModel[Any],
    style: Any = None,
    *,
    strength: float = 1.0,
    strokes: int | None = None,
    memory: int | None = None,
) -> Painter:
    """`model.renderer` with strokes as `paint` has them: all but the photo is settled, and bad values refused.

    Raises
    ------
    NanostyleError, ValueError
        As `model.renderer` and `paint` do.
    """
    check_strokes(strokes)
    style = model.style(style)
    palette = model.palette(style)
    # A strength is settled once: on a GPU that is a recording.
    at = cache(lambda part: model.renderer(style, strength=part, memory=memory))
    at(strength)

    def painted(photo: Pixels, shift: Shift = STILL) -> Pixels:
        def level(pixels: Pixels, part: float) -> Pixels:
            return at(part)(pixels, shift.scaled(photo.shape, pixels.shape))

        return paint(photo, level, strength=strength, strokes=strokes, palette=palette)

    return painted


def paint(
    photo: Pixels,
    render: Render,
    *,
    strength: float = 1.0,
    strokes: int | None = None,
    palette: Palette | None = None,
) -> Pixels:
    """`photo` `(H, W, 3)`, RGB in 0..1, painted as if its long side were `strokes` pixels; a picture of the same size.

    Below the long side strokes become larger, above it finer. By default they are those of the photo's own size up to
    a long side of 768 pixels, and of that size above. A `strength` of 0 is the photo itself. The colors are brought
    nearer to `palette`, if there is one; with a lower strength to one between it and the photo's.

    Raises
    ------
    ValueError
        `strokes` is not from 64 to 4096; and as `render` does.
    """
    check_strokes(strokes)
    size = photo.shape[0], photo.shape[1]
    long = max(size)
    first, *larger_sides = sides(long, strokes)
    if strength == 0:
        return render(photo, strength)
    small = photo if first == long else resize(photo, fitted(size, first))
    painted = render(small, strength)
    if palette:
        painted = nearer(painted, palette if strength == 1 else between(palette_of(small), palette, strength))
    if first == long:
        return painted
    if first > long:
        return resize(painted, size)
    for side in larger_sides:
        at = fitted(size, side)
        larger = photo if at == size else resize(photo, at)
        again = resize(painted, at)
        again += larger
        again -= resize(small, at)
        small, painted = larger, render(np.clip(again, 0, 1, out=again), AGAIN * strength)
    return painted


def strokes_of(long: int, strokes: int | None) -> int:
    """The long side at which a photo with a long side of `long` pixels is painted first."""
    return min(long, LARGEST_BY_DEFAULT) if strokes is None else strokes


def painted_pixels(size: tuple[int, int], strokes: int | None = None, strength: float = 1.0) -> int:
    """How many pixels `paint` gives to the network for a photo of `size` (height, width).

    With part of the strength the network sees a picture twice: in the style, and in the photo's own.

    >>> painted_pixels((300, 400)), painted_pixels((300, 400), strokes=200)
    (120000, 270000)
    """
    first, *larger = (height * width for height, width in (fitted(size, side) for side in sides(max(size), strokes)))
    return first * (2 if 0 < strength < 1 else 1) + 2 * sum(larger)


def sides(long: int, strokes: int | None) -> list[int]:
    """The long sides at which a photo with that long side is painted, one after another.

    They are halved from the photo's own down: what is left over makes the first step small, which is the cheapest.

    >>> sides(600, None), sides(4000, None), sides(400, 900)
    ([600], [768, 1000, 2000, 4000], [900])
    """
    first = strokes_of(long, strokes)
    found = [long] if long > first else []
    while found and found[0] > _MOST_ENLARGED * first:
        found.insert(0, round(found[0] / 2))
    return [first, *found]


def check_strokes(strokes: int | None) -> None:
    """Raise ValueError where `strokes` is a number that is not from 64 to 4096."""
    if strokes is not None and not SMALLEST <= strokes <= LARGEST:
        raise ValueError(f"strokes: expected from {SMALLEST} to {LARGEST} pixels, got {strokes}")
