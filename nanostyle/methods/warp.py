"""A frame moved by motion vectors: each pixel is taken from where its content was in the frame before.

Pixels are looked up four bytes at a time, and mixed in whole numbers: a tenth of the time of a mesh of quadrangles, and
the same bytes everywhere.
"""

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from nanostyle.io.video.clip import Frame8
from nanostyle.io.video.motion import BLOCK, Vectors

_Packed: TypeAlias = npt.NDArray[np.uint32]

_BAND = 32  # rows
_BITS = 8  # of the fraction of a pixel
_ONE = 1 << _BITS
_EVERY_OTHER = np.uint32(0x00FF00FF)  # of the four bytes of a pixel
_HALVES = np.uint32(0x00800080)


class Field:
    """Where each pixel of a frame was in the frame before.

    Motion is bilinear between the centers of blocks, in steps of 1/256 pixel.

    Parameters
    ----------
    vectors
        The motion of each block.
    size
        Height and width of the frames.

    Attributes
    ----------
    inside : (H, W) bool
        Where a pixel was within the frame before.

    Examples
    --------
    >>> frame = np.arange(48, dtype=np.uint8).reshape(1, 16, 3)
    >>> field = Field(np.full((1, 2, 2), (0, 3), np.float32), (1, 16))
    >>> field.sharp(frame)[0, :, 0].tolist() == [*range(9, 46, 3), 42, 39, 36]
    True
    """

    def __init__(self, vectors: Vectors, size: tuple[int, int]) -> None:
        self._size = size
        around = np.pad(vectors, ((1, 1), (1, 1), (0, 0)), mode="edge")
        corners = (around[:-1, :-1] + around[1:, :-1] + around[:-1, 1:] + around[1:, 1:]) / 4
        self.inside: npt.NDArray[np.bool_] = np.ones(size, bool)
        self._places = []
        for axis, length in enumerate(size):
            place = _spread(corners[..., axis])[: size[0], : size[1]]
            place += np.arange(length, dtype=np.float32).reshape((-1, 1) if axis == 0 else (1, -1))
            self.inside &= (place >= 0) & (place <= length - 1)
            self._places.append(_steps(place, length).astype(np.int32))
        self._is_whole = not any((place & (_ONE - 1)).any() for place in self._places)

    def soft(self, frame: Frame8) -> Frame8:
        """The frame before `(H, W, 3)`, moved: bilinear."""
        return self._looked_up(np.pad(_packed(frame), ((0, 1), (0, 1)), mode="edge"), 1)

    def sharp(self, frame: Frame8) -> Frame8:
        """The frame before `(H, W, 3)`, moved: cubic to steps of half a pixel, bilinear between them."""
        return self.soft(frame) if self._is_whole else self._looked_up(_doubled(frame), 2)

    def _looked_up(self, pixels: _Packed, scale: int) -> Frame8:
        """The mean of the four pixels around each place, of a frame that was enlarged `scale` times."""
        flat, stride = pixels.ravel(), pixels.shape[1]
        result = np.empty(self._size, np.uint32)
        for rows in _bands(self._size[0]):
            y, x = (place[rows] * scale for place in self._places)
            first = ((y >> _BITS) * stride + (x >> _BITS)).astype(np.intp)
            if self._is_whole:
                result[rows] = _taken(flat, first)
                continue
            down, right = ((value & (_ONE - 1)).astype(np.uint32) for value in (y, x))
            upper = _mixed(_taken(flat, first), _taken(flat, first + 1), right)
            first += stride
            result[rows] = _mixed(upper, _mixed(_taken(flat, first), _taken(flat, first + 1), right), down)
        return _unpacked(result)


def shifted(frame: Frame8, by: tuple[float, float]) -> Frame8:
    """The frame before `(H, W, 3)` where all of it moved by the same: what `Field.soft` gives then, sooner.

    Examples
    --------
    >>> frame = np.arange(48, dtype=np.uint8).reshape(1, 16, 3)
    >>> shifted(frame, (0, 3))[0, :, 0].tolist() == [*range(9, 46, 3), 42, 39, 36]
    True
    """
    pixels = _packed(frame)
    for axis in (1, 0):
        length = pixels.shape[axis]
        place = _steps((np.arange(length) + by[axis]).astype(np.float32), length).astype(np.intp)
        first, part = place >> _BITS, (place & (_ONE - 1)).astype(np.uint32)
        moved = pixels.take(first, axis)
        if part.any():
            other = pixels.take(np.minimum(first + 1, length - 1), axis)
            moved = _mixed(moved, other, part if axis else part[:, None])
        pixels = moved
    return _unpacked(pixels)


def mixed(one: Frame8, other: Frame8, part: npt.NDArray[np.uint32]) -> Frame8:
    """At each pixel of `one` `(H, W, 3)` `part` `(H, W)` of 256 of the way to `other`.

    Examples
    --------
    >>> black, white = np.zeros((1, 3, 3), np.uint8), np.full((1, 3, 3), 255, np.uint8)
    >>> mixed(black, white, np.array([[0, 128, 256]], np.uint32))[0, :, 0].tolist()
    [0, 128, 255]
    """
    result, target = _packed(one).copy(), _packed(other)
    for rows in _bands(len(result)):
        result[rows] = _mixed(result[rows], target[rows], part[rows])
    return _unpacked(result)


def _bands(height: int) -> Iterator[slice]:
    """The rows of a frame, a few at a time: what is computed on the way stays in the cache."""
    return (slice(row, min(row + _BAND, height)) for row in range(0, height, _BAND))


def _steps(place: npt.NDArray[np.float32], length: int) -> npt.NDArray[np.float32]:
    """Places along an axis in steps of `_ONE`; beyond the border the picture is mirrored, so that strokes go on."""
    last = np.float32(length - 1)
    inside = last - np.abs(last - np.abs(place))
    steps: npt.NDArray[np.float32] = np.clip(np.rint(inside * _ONE), 0, last * _ONE)
    return steps


def _spread(corners: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """What is known at the corners of blocks, at each pixel: bilinear."""
    t = (np.arange(BLOCK, dtype=np.float32) + np.float32(0.5)) / BLOCK
    columns = corners[:, :-1, None] * (1 - t) + corners[:, 1:, None] * t
    columns = columns.reshape(len(corners), -1)
    rows = columns[:-1, None] * (1 - t)[:, None] + columns[1:, None] * t[:, None]
    spread: npt.NDArray[np.float32] = rows.reshape(-1, columns.shape[1])
    return spread


def _packed(frame: Frame8) -> _Packed:
    """The three bytes of each pixel, and one that stands for nothing, as one number."""
    return np.asarray(Image.fromarray(frame).convert("RGBA")).view(np.uint32)[..., 0]


def _unpacked(pixels: _Packed) -> Frame8:
    return np.asarray(Image.fromarray(pixels.view(np.uint8).reshape(*pixels.shape, 4)).convert("RGB"))


def _doubled(frame: Frame8) -> _Packed:
    """A frame of twice the size, in which every other row and column is new: cubic convolution (Keys 1981).

    With its parameter at -0.75 what is moved again and again stays sharp, and what is moved for ever does not grow.
    """
    height, width = frame.shape[:2]
    padded = np.pad(_packed(frame), ((1, 2), (1, 2)), mode="edge").view(np.uint8).reshape(height + 3, width + 3, 4)
    result = np.empty((height, 2, width, 2), np.uint32)
    for rows in _bands(height):
        pixels = padded[rows.start : rows.stop + 3].astype(np.int16)
        right = _between(*(pixels[:, k : k + width] for k in range(4)))
        count = rows.stop - rows.start
        below = _between(*(pixels[k : k + count, 1 : 1 + width] for k in range(4)))
        both = _between(*(right[k : k + count] for k in range(4)))
        for (i, j), copy in (
            ((0, 0), pixels[1 : 1 + count, 1 : 1 + width]),
            ((0, 1), right[1 : 1 + count]),
            ((1, 0), below),
            ((1, 1), both),
        ):
            result[rows, i, :, j] = copy.astype(np.uint8).view(np.uint32)[..., 0]
    return result.reshape(2 * height, 2 * width)


def _between(
    a: npt.NDArray[np.int16], b: npt.NDArray[np.int16], c: npt.NDArray[np.int16], d: npt.NDArray[np.int16]
) -> npt.NDArray[np.int16]:
    """The values in the middle of four that follow each other: parts of -3, 19, 19 and -3."""
    values = b + c
    values *= 19
    outer = a + d
    outer *= 3
    values -= outer
    values += 16
    values >>= 5
    return np.clip(values, 0, 255, out=values)


def _taken(flat: _Packed, places: npt.NDArray[np.intp]) -> _Packed:
    taken: _Packed = flat.take(places, mode="clip")  # all are inside, and are not looked at once more
    return taken


def _mixed(one: _Packed, other: _Packed, part: _Packed) -> _Packed:
    """Each of the four bytes of `one`, and `part` of 256 of the way to `other`: two bytes in one multiplication.

    What is borrowed from the upper byte where `other` is less than `one` is given back when `one` is added.
    """
    even: _Packed = one & _EVERY_OTHER
    odd: _Packed = one >> _BITS & _EVERY_OTHER
    to, beside = other & _EVERY_OTHER, other >> _BITS & _EVERY_OTHER
    for value, target in ((even, to), (odd, beside)):
        target -= value
        target *= part
        value <<= _BITS
        value += target
        value += _HALVES
    even >>= _BITS
    even &= _EVERY_OTHER
    odd &= ~_EVERY_OTHER
    even |= odd
    return even
