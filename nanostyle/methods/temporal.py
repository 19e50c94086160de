"""Strokes that stay where they are: what makes a stylized video calm.

A network paints each frame without knowing the one before. Two things make what it paints flicker: its grid of four
pixels, which stays where it is when the picture moves, and noise, to which every stroke answers. So the grid is locked
to the picture (`Shift`), and what was painted before is moved with the picture and blended in where the frame agrees
with its predecessor. At a cut all of that begins anew.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from nanostyle.backend.types import Pixels
from nanostyle.io.image_write import to_image
from nanostyle.io.video.clip import Frame8
from nanostyle.io.video.motion import BLOCK, Vectors
from nanostyle.models.shift import STILL, Shift

Stability: TypeAlias = Literal["off", "lock", "on", "high"]
"""`off`: each frame by itself; `lock`: the grid stays with the picture; `on`: and results are blended; `high`: and the
grid is locked to a fraction of a pixel."""

Paint: TypeAlias = Callable[[Pixels, Shift], Pixels]

KEPT = 0.8
"""How much of the result before a frame takes over, where it agrees with the frame before."""

TOLERANCE = 10 / 255
"""The difference between frames at which the agreement falls to 1/e."""

CUT = 0.25
"""The mean agreement below which two frames belong to different scenes."""

_Mesh: TypeAlias = list[tuple[tuple[int, int, int, int], tuple[float, ...]]]

# Two differences, in steps of 8 bits, that are alike; and how many times as much is clearly more.
_NEAR, _MUCH_WORSE = 2, 4
_RADIUS = 2  # of the box over which differences are averaged


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
    agreement : (H, W) or None
        How well the frame agrees with the one before, 0 to 1; None at a cut, and where it is not followed.
    mesh : list
        Rectangles of the frame, and where each was in the frame before.
    change : float
        How much the frame changed where it agrees with the one before: rms, of 255.
    """

    frame: Frame8
    shift: Shift = STILL
    agreement: npt.NDArray[np.float32] | None = None
    mesh: _Mesh = field(default_factory=list)
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
        mesh = _mesh(vectors)
        moved = _moved(before, mesh, Image.Resampling.BILINEAR)
        difference = _box_mean(_apart(frame, moved))
        agreement = np.exp(-((difference / np.float32(255 * TOLERANCE)) ** 2)) * _inside(vectors, frame.shape)
        y, x = (float(value) for value in np.median(vectors.reshape(-1, 2), axis=0))
        agreement[_hidden(vectors, (y, x), difference, before, frame)] = 0
        if agreement.mean() < CUT:
            return Planned(frame)
        shift = Shift(down + y, right + x, subpixel=self.stability == "high")
        self._last = frame, (shift.y, shift.x)
        return Planned(frame, shift, agreement, mesh, _change(frame, moved, agreement))

    def finish(self, planned: Planned, result: Frame8) -> Frame8:
        """The result of a frame that was planned and painted: blended with the one before. In the order of `plan`."""
        last, self.flicker = self.memory, None
        if planned.agreement is not None and last is not None:
            moved = _moved(last.result, planned.mesh, Image.Resampling.BICUBIC)
            if self.stability != "lock":
                result = _blended(result, moved, planned.agreement)
            self.flicker = Flicker(planned.change, _change(result, moved, planned.agreement))
        if self.stability != "off":
            self.memory = Memory(planned.frame, result, (planned.shift.y, planned.shift.x))
        return result


def _blended(result: Frame8, moved: Frame8, agreement: npt.NDArray[np.float32]) -> Frame8:
    """The new result with the old one, moved with the picture, where frames agree."""
    mixed: Pixels = result + (KEPT * agreement)[..., None] * (moved - result.astype(np.float32))
    rounded: Frame8 = np.clip(np.floor(mixed + np.float32(0.5)), 0, 255).astype(np.uint8)
    return rounded


def _change(now: Frame8, before: Frame8, agreement: npt.NDArray[np.float32]) -> float:
    """The rms difference of two frames, weighted by their agreement."""
    squares = ((now.astype(np.float32) - before) ** 2).mean(axis=-1)
    return float(np.sqrt((agreement * squares).sum() / max(float(agreement.sum()), 1e-6)))


# --- motion -------------------------------------------------------------------------------------------------


def _smoothed(vectors: Vectors) -> Vectors:
    """The median of each block and its eight neighbors: single blocks that were matched wrongly vanish."""
    rows, columns = vectors.shape[:2]
    around = np.pad(vectors, ((1, 1), (1, 1), (0, 0)), mode="edge")
    nine = [around[i : i + rows, j : j + columns] for i in range(3) for j in range(3)]
    smoothed: Vectors = np.median(nine, axis=0).astype(np.float32)
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


def _mesh(vectors: Vectors) -> _Mesh:
    """Rectangles of the frame and the quadrangles that they come from: motion is bilinear between centers of blocks.

    Neighbors in a row that move alike are one rectangle.
    """
    around = np.pad(vectors, ((1, 1), (1, 1), (0, 0)), mode="edge")
    corners = (around[:-1, :-1] + around[1:, :-1] + around[:-1, 1:] + around[1:, 1:]) / 4
    same = (corners[:-1] == corners[1:]).all(-1)  # from each corner to the one below
    alike = same[:, :-1] & same[:, 1:] & (corners[:-1, :-1] == corners[:-1, 1:]).all(-1)
    table = corners.tolist()
    rows, columns = vectors.shape[:2]
    mesh: _Mesh = []
    for i in range(rows):
        begin = 0
        for j in range(columns):
            if j + 1 < columns and alike[i, j] and alike[i, j + 1]:
                continue
            top, left, bottom, right = i * BLOCK, begin * BLOCK, (i + 1) * BLOCK, (j + 1) * BLOCK
            (ay, ax), (by, bx) = table[i][begin], table[i + 1][begin]
            (cy, cx), (dy, dx) = table[i + 1][j + 1], table[i][j + 1]
            source = (left + ax, top + ay, left + bx, bottom + by, right + cx, bottom + cy, right + dx, top + dy)
            mesh.append(((left, top, right, bottom), source))
            begin = j + 1
    return mesh


def _moved(pixels: Frame8, mesh: _Mesh, how: Image.Resampling) -> Frame8:
    height, width = pixels.shape[:2]
    (_, _, right, bottom), _ = mesh[-1]
    image = Image.fromarray(pixels).transform((right, bottom), Image.Transform.MESH, mesh, how)
    return np.asarray(image)[:height, :width]


def _inside(vectors: Vectors, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Where a frame of `shape` comes from within the frame before."""
    known: npt.NDArray[np.bool_] = np.ones(shape[:2], bool)
    for axis, length in enumerate(shape[:2]):
        moved = np.repeat(np.repeat(vectors[..., axis], BLOCK, 0), BLOCK, 1)[: shape[0], : shape[1]]
        place = np.arange(length, dtype=np.float32).reshape((-1, 1) if axis == 0 else (1, -1)) + moved
        known &= (place >= 0) & (place <= length - 1)
    return known


def _hidden(
    vectors: Vectors,
    whole: tuple[float, float],
    difference: npt.NDArray[np.float32],
    before: Frame8,
    frame: Frame8,
) -> tuple[npt.NDArray[np.intp], ...]:
    """The places that came to light from behind an object, (rows, columns).

    Ground that comes to light beside an object is in the object's blocks. Where it is smooth it seems to come, with the
    object, from ground further on. That ground follows the camera: it is where it was, by the motion `whole`.
    """
    height, width = difference.shape
    if (vectors == np.asarray(whole, np.float32)).all():
        return (np.empty(0, np.intp),) * 2
    if whole != (0, 0):
        how = Image.Transform.AFFINE, (1, 0, whole[1], 0, 1, whole[0]), Image.Resampling.BILINEAR
        before = np.asarray(Image.fromarray(before).transform((width, height), *how))
    still = _apart(frame, before)
    rows, columns = np.nonzero(_box_mean(still) > _MUCH_WORSE * (difference + _NEAR))
    source = []
    for place, axis, length in ((rows, 0, height), (columns, 1, width)):
        moved = vectors[rows // BLOCK, columns // BLOCK, axis] - whole[axis]
        source.append(np.clip(np.rint(place + moved), 0, length - 1).astype(np.intp))
    taken = still[source[0], source[1]] <= difference[rows, columns] + _NEAR
    return rows[taken], columns[taken]


def _apart(one: Frame8, other: Frame8) -> npt.NDArray[np.float32]:
    """How two frames differ at each place, of 255."""
    apart: npt.NDArray[np.float32] = np.abs(one.astype(np.int16) - other).mean(axis=-1, dtype=np.float32)
    return apart


def _box_mean(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The mean over a square around each pixel; edges repeat."""
    side = 2 * _RADIUS + 1
    for axis in (0, 1):
        length = values.shape[axis]
        margin = [(_RADIUS, _RADIUS) if i == axis else (0, 0) for i in (0, 1)]
        padded = np.pad(values, margin, mode="edge")
        values = sum(np.take(padded, np.arange(k, k + length), axis) for k in range(side)) / np.float32(side)
    return values
