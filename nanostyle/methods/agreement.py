"""How well a frame agrees with what was pictured before it, when that is moved to where its content is now."""

from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from nanostyle.io.video.clip import Frame8
from nanostyle.io.video.motion import BLOCK, Vectors
from nanostyle.methods.warp import Field, shifted

TOLERANCE = 10 / 255
"""The difference between frames at which the agreement falls to 1/e."""

# Two differences, in steps of 8 bits, that are alike; and how many times as much is more.
_NEAR, _WORSE = 2, 1.25
# Around the edge of an object: motion of blocks differs by so many pixels; so many pixels of a box came to light.
_JUMP, _MANY = 1.5, 8
_RADIUS = 2  # of the box over which differences are summed
_PIXEL = 3  # numbers that are summed for a pixel, one for each color
_BOX = _PIXEL * (2 * _RADIUS + 1) ** 2  # and for a box

# By the sum of the differences in a box: how well frames agree, 0 to 255.
_AGREEMENT = np.rint(255 * np.exp(-((np.arange(255 * _BOX + 1) / (255 * _BOX * TOLERANCE)) ** 2))).astype(np.uint8)

# A frame is foretold if means of squares of so many pixels differ by no more than the second number, of 255, but for a
# share of the squares, and none by more than `_MOST`; black bars do not count. Its mean color differs by no more than
# `_LIGHT`, so much of it agrees, and no more than that share came to light.
_SQUARES = ((8, 12, 0.002), (32, 3, 0.05))
_MOST, _LIGHT, _BLACK = 20, 1.0, 16
_AGREED, _BARED, _BORDER = 0.8, 0.002, 8

_Sums: TypeAlias = npt.NDArray[np.int16]


class Agreement(NamedTuple):
    """How a frame follows from what was pictured before.

    Attributes
    ----------
    share : (H, W) uint8
        How well the frame agrees with it, 0 to 255.
    field : Field
        Where each pixel was before.
    whole : (float, float)
        The motion of the whole picture: how far down and right its content was before.
    moved : (H, W, 3) uint8
        What was pictured, moved to where its content is now.
    bared : float
        The share of the pixels that came to light from behind an object.
    change : float
        How much the frame changed where it agrees: rms, of 255.
    """

    share: Frame8
    field: Field
    whole: tuple[float, float]
    moved: Frame8
    bared: float
    change: float


def agreement_of(pictured: Frame8, frame: Frame8, vectors: Vectors) -> Agreement:
    """How `frame` `(H, W, 3)` follows from what was `pictured` before, by the motion `vectors` since."""
    field = Field(vectors, (frame.shape[0], frame.shape[1]))
    moved = field.soft(pictured)
    difference = _box_sum(_apart(frame, moved))
    share = _AGREEMENT[difference] * field.inside
    y, x = (float(value) for value in np.median(vectors.reshape(-1, 2), axis=0))
    bared = _hidden(vectors, (y, x), difference, pictured, frame)
    share[bared] = 0
    return Agreement(share, field, (y, x), moved, float(bared.mean()), change(frame, moved, share))


def change(now: Frame8, before: Frame8, share: Frame8) -> float:
    """The rms difference of two frames, weighted by their agreement; every other row and column tells enough."""
    now, before, share = (array[::2, ::2] for array in (now, before, share))
    squares = _between(now, before).reshape(-1, _PIXEL).astype(np.float32) ** 2
    weights = share.ravel().astype(np.float32)
    return float(np.sqrt((weights @ squares).sum() / max(_PIXEL * float(weights.sum()), 1e-6)))


def is_foretold(frame: Frame8, agreement: Agreement) -> bool:
    """Whether `frame` shows nothing but what was pictured before, moved; what came over its border is not looked at.

    Means of squares are compared: an edge that is half a pixel off, which `share` sees, does not matter to strokes.
    """
    inside = max(1e-6, float(agreement.field.inside.mean()))
    if agreement.bared > _BARED or float(agreement.share.mean()) < 255 * _AGREED * inside:
        return False
    # What came over the border is not known yet.
    inner = np.s_[_BORDER:-_BORDER, _BORDER:-_BORDER] if min(frame.shape[:2]) > 4 * _BORDER else np.s_[:, :]
    for side, alike, few in _SQUARES:
        pair = (Image.fromarray(f[inner]).reduce(side) for f in (frame, agreement.moved))
        one, other = (np.asarray(image, np.float32) for image in pair)
        seen = np.maximum(one, other).max(axis=-1) > _BLACK
        count = max(1, int(seen.sum()))
        apart = np.abs(one - other).max(axis=-1)
        if float(apart.max()) > _MOST or int((apart > alike).sum()) > few * count:
            return False
    return bool(np.abs((one - other).sum(axis=(0, 1))).max() <= _LIGHT * count)


# --- motion -------------------------------------------------------------------------------------------------


def smoothed(vectors: Vectors) -> Vectors:
    """The median of each block and its eight neighbors: single blocks that were matched wrongly vanish."""
    rows, columns = vectors.shape[:2]
    around = np.pad(vectors, ((1, 1), (1, 1), (0, 0)), mode="edge")
    nine = [around[i : i + rows, j : j + columns] for i in range(3) for j in range(3)]
    middle: Vectors = np.partition(nine, 4, axis=0)[4]
    return middle


def whole_or_still(before: Frame8, frame: Frame8) -> Vectors:
    """For each block the motion of the whole picture or none, whichever fits: where there is no block matching."""
    height, width = frame.shape[:2]
    rows, columns = -(-height // BLOCK), -(-width // BLOCK)
    one, other = (np.asarray(Image.fromarray(f).convert("L"), np.float32) for f in (before, frame))
    y, x = whole_shift(one, other)
    vectors = np.zeros((rows, columns, 2), np.float32)
    if (y, x) == (0, 0):
        return vectors
    margin = ((0, rows * BLOCK - height), (0, columns * BLOCK - width))
    costs = []
    for moved in (one, np.roll(one, (-y, -x), (0, 1))):
        difference = np.pad(np.abs(other - moved), margin)
        costs.append(difference.reshape(rows, BLOCK, columns, BLOCK).sum(axis=(1, 3)))
    vectors[costs[1] < costs[0]] = (y, x)
    return vectors


def whole_shift(before: npt.NDArray[np.float32], now: npt.NDArray[np.float32]) -> tuple[int, int]:
    """How far down and right the content of `now` `(H, W)` was in `before`: phase correlation, in whole pixels.

    Source: Kuglin and Hines 1975 (The Phase Correlation Image Alignment Method).

    Examples
    --------
    >>> scene = np.random.default_rng(0).random((64, 64), np.float32)
    >>> whole_shift(scene[:48, :48], scene[5:53, 2:50])
    (5, 2)
    """
    window = np.hanning(now.shape[0])[:, None] * np.hanning(now.shape[1])
    product = np.fft.rfft2(before * window) * np.conj(np.fft.rfft2(now * window))
    peaks = np.fft.irfft2(product / (np.abs(product) + 1e-9), now.shape)
    found = np.unravel_index(int(peaks.argmax()), peaks.shape)
    y, x = (int(k) if k < n // 2 else int(k) - n for k, n in zip(found, now.shape, strict=True))
    return y, x


def _hidden(
    vectors: Vectors,
    whole: tuple[float, float],
    difference: _Sums,
    before: Frame8,
    frame: Frame8,
) -> npt.NDArray[np.bool_]:
    """Which places `(H, W)` came to light from behind an object.

    Ground that comes to light beside an object is in the object's blocks. Where it is smooth it seems to come, with the
    object, from ground further on. That ground follows the camera: it is where it was, by the motion `whole`.
    """
    height, width = difference.shape
    found = np.zeros((height, width), np.int16)
    edges = np.repeat(np.repeat(_jumps(vectors), BLOCK, 0), BLOCK, 1)[:height, :width]
    if not edges.any():
        return found > 0
    still = _apart(frame, shifted(before, whole) if whole != (0, 0) else before)
    limit = (difference + np.float32(_NEAR * _BOX)) * np.float32(_WORSE)
    rows, columns = np.nonzero(edges & (_box_sum(still) > limit))
    source = []
    for place, axis, length in ((rows, 0, height), (columns, 1, width)):
        moved = vectors[rows // BLOCK, columns // BLOCK, axis] - whole[axis]
        source.append(np.clip(np.rint(place + moved), 0, length - 1).astype(np.intp))
    most = difference[rows, columns].astype(np.int32) + _NEAR * _BOX
    taken = still[source[0], source[1]].astype(np.int32) * (_BOX // _PIXEL) <= most
    found[rows[taken], columns[taken]] = 1
    return _box_sum(found) >= _MANY  # single pixels were found by chance


def _jumps(vectors: Vectors) -> npt.NDArray[np.bool_]:
    """The blocks around which motion is not that of a camera, which changes slowly from block to block."""
    rows, columns = vectors.shape[:2]
    around = np.pad(vectors, ((2, 2), (2, 2), (0, 0)), mode="edge")
    near = [around[i : i + rows, j : j + columns] for i in range(5) for j in range(5)]
    jumps: npt.NDArray[np.bool_] = (np.max(near, axis=0) - np.min(near, axis=0) > _JUMP).any(-1)
    return jumps


def _apart(one: Frame8, other: Frame8) -> _Sums:
    """How two frames differ at each place: the sum over the colors."""
    difference = _between(one, other)
    apart: _Sums = difference[..., 0].astype(np.int16)
    apart += difference[..., 1]
    apart += difference[..., 2]
    return apart


def _between(one: Frame8, other: Frame8) -> Frame8:
    difference: Frame8 = np.maximum(one, other) - np.minimum(one, other)
    return difference


def _box_sum(values: _Sums) -> _Sums:
    """The sum over a square around each pixel; edges repeat."""
    for axis in (0, 1):
        length = values.shape[axis]
        margin = [(_RADIUS, _RADIUS) if i == axis else (0, 0) for i in (0, 1)]
        padded = np.pad(values, margin, mode="edge")
        values = np.zeros_like(values)
        for k in range(2 * _RADIUS + 1):
            values += padded[k : k + length] if axis == 0 else padded[:, k : k + length]
    return values
