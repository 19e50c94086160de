"""Strokes that stay where they are: what makes a stylized video calm, and quick.

A network paints each frame without knowing the one before. Two things make what it paints flicker: its grid of four
pixels, which stays where it is when the picture moves, and noise, to which every stroke answers. So the grid is locked
to the picture (`Shift`), and what was painted before is moved with the picture and blended in where the frame agrees
with what that depicts. A frame that shows nothing new is carried: its result is the one before, moved, and nothing is
painted, as nearly all of the old strokes would stay. At a cut all of that begins anew.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from nanostyle.backend.types import Pixels
from nanostyle.io.image_write import to_image
from nanostyle.io.video.clip import Frame8
from nanostyle.io.video.motion import Vectors
from nanostyle.methods.agreement import Agreement, agreement_of, change, is_foretold, smoothed, whole_or_still
from nanostyle.methods.blend import blended
from nanostyle.models.shift import STILL, Shift

Stability: TypeAlias = Literal["off", "lock", "on", "high"]
"""`off`: each frame by itself; `lock`: the grid stays with the picture; `on`: and results are blended, or only moved
where a frame shows nothing new; `high`: every frame is painted, and the grid is locked to a fraction of a pixel."""

Paint: TypeAlias = Callable[[Pixels, Shift], Pixels]

KEPT = 0.9
"""How much of the result before a frame takes over, where it agrees with what that depicts."""

CUT = 0.25
"""The mean agreement below which two frames belong to different scenes."""

CARRIED, SHOWN = 2, 0.1
"""How many frames in a row are carried at most, and how many seconds they are shown at most."""

ENTERED = 0.01
"""The share of a picture that has come over its border, and was never painted, at most."""

# By the agreement, 0 to 255: the share of the old result, of 256.
_SHARE = np.rint(256 * KEPT / 255 * np.arange(256)).astype(np.uint32)


class Carried(NamedTuple):
    """What has been carried since a frame was painted: frames, the seconds they are shown, and what came into view."""

    frames: int = 0
    seconds: float = 0.0
    entered: float = 0.0

    def and_one(self, seconds: float, entered: float) -> "Carried":
        """One frame more, and the share of it that came into view."""
        return Carried(self.frames + 1, self.seconds + seconds, self.entered + entered)

    @property
    def is_little(self) -> bool:
        """Whether nobody sees that it was not painted."""
        return self.frames <= CARRIED and self.seconds <= SHOWN and self.entered <= ENTERED


PAINTED = Carried()
"""Nothing was carried since."""


@dataclass(eq=False)
class Memory:
    """What the next frame needs of the last one.

    Attributes
    ----------
    frame, result : (H, W, 3) uint8
        The last frame and its result.
    pictured : (H, W, 3) uint8
        What the result depicts: the frame that was painted last, moved.
    shift : (float, float)
        How far the picture has moved since the last cut, down and right, in pixels.
    carried : Carried
        What has been carried since a frame was painted.
    """

    frame: Frame8
    result: Frame8
    pictured: Frame8
    shift: tuple[float, float] = (0.0, 0.0)
    carried: Carried = PAINTED


@dataclass(frozen=True)
class Flicker:
    """How much a frame and its result changed where the frame agrees with what was pictured before: rms, of 255."""

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
    agreement : Agreement or None
        How it follows from what was pictured before; None at a cut, and where it is not followed.
    carried : Carried
        What has been carried since a frame was painted, this one included.
    """

    frame: Frame8
    shift: Shift = STILL
    agreement: Agreement | None = None
    carried: Carried = PAINTED

    @property
    def is_carried(self) -> bool:
        """Whether it is not to be painted."""
        return self.carried.frames > 0

    @property
    def pictured(self) -> Frame8:
        """What its result depicts."""
        return self.agreement.moved if self.is_carried and self.agreement is not None else self.frame

    @property
    def is_cut(self) -> bool:
        """Whether it begins a new scene."""
        return self.agreement is None

    def render(self, paint: Paint) -> Frame8:
        """The frame painted by `paint`, which gets it in 0..1 with its shift."""
        pixels: Pixels = self.frame.astype(np.float32) / np.float32(255)
        return np.asarray(to_image(paint(pixels, self.shift)))


class _Last(NamedTuple):
    """What is known of the frame that was planned last, as in `Memory`."""

    frame: Frame8
    pictured: Frame8
    shift: tuple[float, float] = (0.0, 0.0)
    carried: Carried = PAINTED


class Stabilizer:
    """Paints the frames of a video, one after the other.

    Parameters
    ----------
    stability
        How calm the result is.
    memory
        What is known of the frame before, to go on from there.
    carries
        Whether frames may be carried. Not where the same frame could be painted in another way than the one before.

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

    def __init__(self, stability: Stability = "on", memory: Memory | None = None, *, carries: bool = True) -> None:
        self.stability, self.memory = stability, memory
        self.flicker: Flicker | None = None
        self._carries = carries and stability == "on"
        self._last: _Last | None = None
        if memory is not None:
            self._last = _Last(memory.frame, memory.pictured, memory.shift, memory.carried)

    def paint(self, frame: Frame8, paint: Paint, vectors: Vectors | None = None) -> Frame8:
        """`frame` `(H, W, 3)` painted by `paint`, which gets it in 0..1 with its shift. Parameters as of `plan`."""
        before = self._last
        planned = self.plan(frame, vectors)
        try:
            return self.finish(planned, None if planned.is_carried else planned.render(paint))
        except BaseException:
            self._last = before  # the next frame follows what was finished
            raise

    def plan(self, frame: Frame8, vectors: Vectors | None = None, *, seconds: float = 0.0) -> Planned:
        """Look where `frame` lies, and how far it agrees with what was planned before.

        `vectors` is its motion against the frame before; without it the motion of the whole picture is looked for.
        `seconds` is how long it is shown.
        """
        last, self._last = self._last, _Last(frame, frame)
        if self.stability == "off" or last is None or last.frame.shape != frame.shape:
            return Planned(frame)
        vectors = smoothed(vectors) if vectors is not None else whole_or_still(last.frame, frame)
        agreement = agreement_of(last.pictured, frame, vectors)
        if agreement.share.mean() < 255 * CUT:
            return Planned(frame)
        (down, right), (y, x) = last.shift, agreement.whole
        planned = Planned(frame, Shift(down + y, right + x, subpixel=self.stability == "high"), agreement)
        carried = last.carried.and_one(seconds, 1 - float(agreement.field.inside.mean()))
        if self._carries and carried.is_little and is_foretold(frame, agreement):
            planned.carried = carried
        self._last = _Last(frame, planned.pictured, (planned.shift.y, planned.shift.x), planned.carried)
        return planned

    def finish(self, planned: Planned, result: Frame8 | None) -> Frame8:
        """The result of a frame that was planned: blended with the one before. In the order of `plan`.

        `result` is the frame as it was painted, or None where it is carried.
        """
        last, self.flicker, agreement = self.memory, None, planned.agreement
        if agreement is not None and last is not None:
            moved = agreement.field.sharp(last.result)
            if result is None:
                result, changed = moved, 0.0
            else:
                if self.stability != "lock":
                    result = blended(result, moved, _SHARE[agreement.share])
                changed = change(result, moved, agreement.share)
            self.flicker = Flicker(agreement.change, changed)
        if result is None:
            raise ValueError("finish: expected a painted frame, got none; only a frame that is carried has none")
        if self.stability != "off":
            shift = planned.shift.y, planned.shift.x
            self.memory = Memory(planned.frame, result, planned.pictured, shift, planned.carried)
        return result
