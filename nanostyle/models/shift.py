"""Where a frame lies in its scene, so that a network paints what moves with the camera as it did before.

A network works on a grid: it halves the picture twice, so what moves by four pixels is painted alike, and what moves
by one is painted anew. A frame that is padded by the shift modulo four puts the scene on the grid where it was.
"""

from dataclasses import dataclass

import numpy as np

from nanostyle.backend.types import Pixels

GRID = 4
"""Pixels after which a network paints the same: two strides of two."""


@dataclass(frozen=True)
class Shift:
    """How far the picture has moved over its scene since the first frame, in pixels.

    Attributes
    ----------
    y, x : float
        Down and to the right: what was at `(y, x)` in the first frame is at `(0, 0)` now.
    subpixel : bool
        Whether the frame is also moved by the rest to whole pixels before it is painted, and back after it.

    Examples
    --------
    >>> shift = Shift(5.0, -1.25)
    >>> shift.whole, shift.pad(np.zeros((8, 8, 3), np.float32)).shape
    ((5, -1), (12, 12, 3))
    """

    y: float = 0.0
    x: float = 0.0
    subpixel: bool = False

    @property
    def whole(self) -> tuple[int, int]:
        """The shift in whole pixels."""
        return int(np.floor(self.y + 0.5)), int(np.floor(self.x + 0.5))

    def scaled(self, before: tuple[int, ...], after: tuple[int, ...]) -> "Shift":
        """The shift of the same picture at another size; both (height, width)."""
        return Shift(self.y * after[0] / before[0], self.x * after[1] / before[1], self.subpixel)

    def to_whole(self, pixels: Pixels) -> Pixels:
        """The picture `(H, W, 3)` moved by what the shift lacks to whole pixels."""
        return self._moved(pixels, 1)

    def pad(self, pixels: Pixels) -> Pixels:
        """`pixels` with mirrored rows and columns around, so that the scene is on the grid where it was."""
        top, left = (value % GRID for value in self.whole)
        if not (top or left):
            return pixels
        return np.pad(pixels, ((top, -top % GRID), (left, -left % GRID), (0, 0)), mode="reflect")

    def back(self, painted: Pixels, size: tuple[int, ...]) -> Pixels:
        """The frame of `size` (height, width) out of a padded one, moved back to where it was."""
        top, left = (value % GRID for value in self.whole)
        return self._moved(painted[top : top + size[0], left : left + size[1]], -1)

    def _moved(self, pixels: Pixels, sign: int) -> Pixels:
        if not self.subpixel:
            return pixels
        for axis, (value, whole) in enumerate(zip((self.y, self.x), self.whole, strict=True)):
            pixels = _interpolated(pixels, sign * (whole - value), axis)
        return pixels


STILL = Shift()
"""No shift: the frame is painted as a photo is."""

# Below this many pixels moving a frame costs more sharpness than it gains.
_LEAST = 0.05


def _interpolated(pixels: Pixels, by: float, axis: int) -> Pixels:
    """`pixels` at `x + by` along an axis, less than one pixel, by cubic convolution (Keys 1981); edges repeat."""
    if abs(by) < _LEAST:
        return pixels
    low = int(np.floor(by))
    t = np.float32(by - low)
    weights = (
        -0.5 * t**3 + t**2 - 0.5 * t,
        1.5 * t**3 - 2.5 * t**2 + 1,
        -1.5 * t**3 + 2 * t**2 + 0.5 * t,
        0.5 * t**3 - 0.5 * t**2,
    )
    length = pixels.shape[axis]
    around = [(2, 2) if i == axis else (0, 0) for i in range(pixels.ndim)]
    padded = np.moveaxis(np.pad(pixels, around, mode="edge"), axis, 0)
    taps = (padded[1 + low + k : 1 + low + k + length] * np.float32(w) for k, w in enumerate(weights))
    return np.ascontiguousarray(np.moveaxis(sum(taps), 0, axis))
