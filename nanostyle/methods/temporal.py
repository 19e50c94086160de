"""Strokes that stay where they are: what makes a stylized video calm.

A network paints each frame without knowing the one before. Two things make what it paints flicker: its grid of four
pixels, which stays where it is when the picture moves, and noise, to which every stroke answers. So the grid is locked
to the picture (`Shift`), and what was painted before is moved with the picture and blended in where the frame agrees
with its predecessor. At a cut all of that begins anew.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from nanostyle.backend.types import Pixels
from nanostyle.io.image_write import to_image
from nanostyle.io.video.clip import Frame8
from nanostyle.io.video.motion import BLOCK, Vectors
from nanostyle.methods.blend import blended
from nanostyle.methods.warp import Field
from nanostyle.models.shift import STILL, Shift

Stability: TypeAlias = Literal["off", "lock", "on", "high"]
"""`off`: each frame by itself; `lock`: the grid stays with the picture; `on`: and results are blended; `high`: and the
grid is locked to a fraction of a pixel."""

Paint: TypeAlias = Callable[[Pixels, Shift], Pixels]

KEPT = 0.9
"""How much of the result before a frame takes over, where it agrees with the frame before."""

TOLERANCE = 10 / 255
"""The difference between frames at which the agreement falls to 1/e."""

CUT = 0.25
"""The mean agreement below which two frames belong to different scenes."""

# Two differences, in steps of 8 bits, that are alike; and how many times as much is more.
_NEAR, _WORSE = 2, 1.25
# Around the edge of an object: motion of blocks differs by so many pixels; so many pixels of a box came to light.
_JUMP, _MANY = 1.5, 8
_RADIUS = 2  # of the box over which differences are summed
_PIXEL = 3  # numbers that are summed for a pixel, one for each color
_BOX = _PIXEL * (2 * _RADIUS + 1) ** 2  # and for a box

# By the sum of the differences in a box: how well frames agree, 0 to 255; by that the share of the old result, of 256.
_AGREEMENT = np.rint(255 * np.exp(-((np.arange(255 * _BOX + 1) / (255 * _BOX * TOLERANCE)) ** 2))).astype(np.uint8)
_SHARE = np.rint(256 * KEPT / 255 * np.arange(256)).astype(np.uint32)

_Sums: TypeAlias = npt.NDArray[np.int16]


@dataclass(eq=False)
class Memory:
    """What the next frame needs of the last one.

    Attributes
    ----------
    frame, result : (H, W, 3) uint8
        The last frame and what was painted.
    shift : (float, float)
        How far the picture has moved since the last cut, down and right, in pixels.
    """

    frame: Frame8
    result: Frame8
    shift: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Flicker:
    """How much a frame and its result changed where the frame agrees with the one before: rms, of 255."""

    frame: float
    result: float


@dataclass(eq=False)
class Planned:
    """A frame that is ready to be painted, by `render`; frames that are planned may be painted in any order.

    Attributes
    ----------
    frame : (H, W, 3) uint8
        The frame.
    shift : Shift
        How far the picture has moved since the last cut.
    agreement : (H, W) uint8 or None
        How well the frame agrees with the one before; None at a cut, and where it is not followed.
    field : Field or None
        Where each pixel was in the frame before; None where `agreement` is.
    change : float
        How much the frame changed where it agrees with the one before: rms, of 255.
    """

    frame: Frame8
    shift: Shift = STILL
    agreement: Frame8 | None = None
    field: Field | None = None
    change: float = 0.0

    @property
    def is_cut(self) -> bool:
        """Whether it begins a new scene."""
        return self.agreement is None

    def render(self, paint: Paint) -> Frame8:
        """The frame painted by `paint`, which gets it in 0..1 with its shift."""
        pixels: Pixels = self.frame.astype(np.float32) / np.float32(255)
        return np.asarray(to_image(paint(pixels, self.shift)))


class Stabilizer:
    """Paints the frames of a video, one after the other.

    Parameters
    ----------
    stability
        How calm the result is.
    memory
        What is known of the frame before, to go on from there.

    Attributes
    ----------
    memory : Memory or None
        What is known of the last frame that is finished; None before the first one.
    flicker : Flicker or None
        How much the last frame flickered; None at a cut, and where it was not followed.

    Examples
    --------
    >>> stabilizer = Stabilizer("on")
    >>> frame = np.full((16, 16, 3), 128, np.uint8)
    >>> stabilizer.paint(frame, lambda pixels, shift: pixels)[0, 0].tolist()
    [128, 128, 128]
    """

    def __init__(self, stability: Stability = "on", memory: Memory | None = None) -> None:
        self.stability, self.memory = stability, memory
        self.flicker: Flicker | None = None
        self._last = None if memory is None else (memory.frame, memory.shift)

    def paint(self, frame: Frame8, paint: Paint, vectors: Vectors | None = None) -> Frame8:
        """`frame` `(H, W, 3)` painted by `paint`, which gets it in 0..1 with its shift. Parameters as of `plan`."""
        planned = self.plan(frame, vectors)
        return self.finish(planned, planned.render(paint))

    def plan(self, frame: Frame8, vectors: Vectors | None = None) -> Planned:
        """Look where `frame` lies, and how far it agrees with the one that was planned before.

        `vectors` is its motion against the frame before. Without it the motion of the whole picture is looked for,
        and each block is taken to follow it or to be still.
        """
        last, self._last = self._last, (frame, (0.0, 0.0))
        if self.stability == "off" or last is None or last[0].shape != frame.shape:
            return Planned(frame)
        before, (down, right) = last
        vectors = _smoothed(vectors) if vectors is not None else _whole_or_still(before, frame)
        field = Field(vectors, (frame.shape[0], frame.shape[1]))
        moved = field.soft(before)
        difference = _box_sum(_apart(frame, moved))
        agreement = _AGREEMENT[difference] * field.inside
        y, x = (float(value) for value in np.median(vectors.reshape(-1, 2), axis=0))
        agreement[_hidden(vectors, (y, x), difference, before, frame)] = 0
        if agreement.mean() < 255 * CUT:
            return Planned(frame)
        shift = Shift(down + y, right + x, subpixel=self.stability == "high")
        self._last = frame, (shift.y, shift.x)
        return Planned(frame, shift, agreement, field, _change(frame, moved, agreement))

    def finish(self, planned: Planned, result: Frame8) -> Frame8:
        """The result of a frame that was planned and painted: blended with the one before. In the order of `plan`."""
        last, self.flicker = self.memory, None
        if planned.agreement is not None and planned.field is not None and last is not None:
            moved = planned.field.sharp(last.result)
            if self.stability != "lock":
                result = blended(result, moved, _SHARE[planned.agreement])
            self.flicker = Flicker(planned.change, _change(result, moved, planned.agreement))
        if self.stability != "off":
            self.memory = Memory(planned.frame, result, (planned.shift.y, planned.shift.x))
        return result


def _change(now: Frame8, before: Frame8, agreement: Frame8) -> float:
    """The rms difference of two frames, weighted by their agreement; every other row and column tells enough."""
    now, before, agreement = (array[::2, ::2] for array in (now, before, agreement))
    squares = _between(now, before).reshape(-1, _PIXEL).astype(np.float32) ** 2
    weights = agreement.ravel().astype(np.float32)
    return float(np.sqrt((weights @ squares).sum() / max(_PIXEL * float(weights.sum()), 1e-6)))


# --- motion -------------------------------------------------------------------------------------------------


def _smoothed(vectors: Vectors) -> Vectors:
    """The median of each block and its eight neighbors: single blocks that were matched wrongly vanish."""
    rows, columns = vectors.shape[:2]
    around = np.pad(vectors, ((1, 1), (1, 1), (0, 0)), mode="edge")
    nine = [around[i : i + rows, j : j + columns] for i in range(3) for j in range(3)]
    smoothed: Vectors = np.partition(nine, 4, axis=0)[4]
    return smoothed


def _whole_or_still(before: Frame8, frame: Frame8) -> Vectors:
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
    if whole != (0, 0):
        before = Field(np.full_like(vectors, whole), (height, width)).soft(before)
    still = _apart(frame, before)
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
