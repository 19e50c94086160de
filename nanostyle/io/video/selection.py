"""Which frames of a clip are used: from when to when, how many, how many a second."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice

from nanostyle.io.video.clip import Clip, Frame


@dataclass(frozen=True)
class Selection:
    """A part of a clip.

    Attributes
    ----------
    start, end : float, float or None
        In seconds; what is at `start` comes out at 0.
    frames : int or None
        How many frames at most.
    rate : float or None
        How many frames a second at most; nothing to a clip without times.
    """

    start: float = 0.0
    end: float | None = None
    frames: int | None = None
    rate: float | None = None

    @property
    def begin(self) -> Fraction:
        """`start` as a fraction."""
        return Fraction(self.start).limit_denominator(1000)

    def count(self, clip: Clip) -> int | None:
        """How many frames of `clip` it has, about; None where the clip does not tell."""
        total = clip.count
        if self.start or self.end is not None or self.rate is not None:
            total = None
            if clip.count and clip.seconds:
                rate = clip.count / clip.seconds
                if self.rate is not None and clip.is_timed:
                    rate = min(rate, self.rate)
                total = max(1, round((min(clip.seconds, self.end or clip.seconds) - self.start) * rate))
        return min((number for number in (total, self.frames) if number is not None), default=None)


def selected(clip: Clip, chosen: Selection) -> Iterator[Frame]:
    """The frames from `start` to `end`, at most `frames`, no more a second than `rate`; the first one is at 0."""
    frames: Iterable[Frame] = clip.frames(round(chosen.begin / clip.tick))
    if chosen.start or chosen.end is not None:
        frames = _within(frames, chosen, clip.tick)
    if chosen.rate is not None and clip.is_timed:
        frames = _thinned(frames, Fraction(chosen.rate) * clip.tick)
    return islice(frames, chosen.frames)


def _within(frames: Iterable[Frame], chosen: Selection, tick: Fraction) -> Iterator[Frame]:
    start = round(chosen.begin / tick)
    for frame in frames:
        if chosen.end is not None and frame.stamp * tick >= chosen.end:
            return
        if frame.stamp + frame.duration > start:
            stamp = max(0, frame.stamp - start)
            yield replace(frame, stamp=stamp, duration=frame.stamp + frame.duration - start - stamp)


def _thinned(frames: Iterable[Frame], per_tick: Fraction) -> Iterator[Frame]:
    """The first frame of each slot of time; it is shown until the next one comes."""
    held: Frame | None = None
    for frame in frames:
        if held is None or int(frame.stamp * per_tick) > int(held.stamp * per_tick):
            if held is not None:
                yield replace(held, duration=frame.stamp - held.stamp)
            held = frame
        else:
            held = replace(held, duration=frame.stamp + frame.duration - held.stamp)
    if held is not None:
        yield held
