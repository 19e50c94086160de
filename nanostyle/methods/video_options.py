"""The options of a moving picture: one frozen object for command line and API."""

import dataclasses
import typing
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from nanostyle.io.video.read import LARGEST_BY_DEFAULT, RATE
from nanostyle.methods.request import allowed
from nanostyle.methods.temporal import Stability


@dataclass(frozen=True)
class VideoOptions:
    """How a moving picture is stylized and written.

    Attributes
    ----------
    size : int or None
        The long side that is painted, in pixels. None: the source's, at most 960.
    output_size
        `painted`, or `source`: results are enlarged to the size of the source.
    stability
        `off` paints each frame by itself; `lock` keeps strokes where they are while the picture moves; `on` also
        blends each result with the one before, and moves that where a frame shows nothing new, at most two in a row;
        `high` paints every frame, and moves it by parts of a pixel.
    start, end : float
        The part that is stylized, in seconds.
    frames : int or None
        How many frames at most.
    rate : float or None
        Frames per second: of frames without times (25), or of a video that has more.
    audio
        `copy` keeps the sound of the source, `none` leaves it out.
    codec : str or None
        `h264`, `hevc`, `vp9`, `av1` or `ffv1`. None: h264, in `.webm` vp9.
    quality : int
        0 to 100.
    resume : bool
        Whether to go on where a killed run stopped.
    keep_parts : bool
        Whether to leave the parts there when the result is made.

    Raises
    ------
    ValueError
        A value is outside its range.

    Examples
    --------
    >>> VideoOptions(start=2.5, end=4).stability
    'on'
    """

    size: int | None = field(
        default=None,
        metadata={
            "range": (1, None),
            "help": f"Long side that is painted. Default: as it is, at most {LARGEST_BY_DEFAULT} pixels.",
        },
    )
    output_size: Literal["painted", "source"] = field(
        default="painted", metadata={"help": "Size of the result: as painted, or enlarged to that of the source."}
    )
    stability: Stability = field(
        default="on",
        metadata={
            "help": "How calm strokes are. off: each frame by itself; lock: they move with the picture; on: and are"
            " blended with those before, or only moved where a frame shows nothing new; high: every frame is painted,"
            " calmer in slow pans, and slower."
        },
    )
    start: float = field(default=0.0, metadata={"help": "Where to begin: seconds or h:mm:ss."})
    end: float | None = field(default=None, metadata={"help": "Where to end: seconds or h:mm:ss. Default: the end."})
    frames: int | None = field(default=None, metadata={"range": (1, None), "help": "How many frames at most."})
    rate: float | None = field(
        default=None,
        metadata={
            "range": (0.01, 1000.0),
            "help": f"Frames per second, for frames without times (default: {RATE}), or to leave out frames.",
        },
    )
    audio: Literal["copy", "none"] = field(default="copy", metadata={"help": "Keep the sound, or leave it out."})
    codec: Literal["h264", "hevc", "vp9", "av1", "ffv1"] | None = field(
        default=None, metadata={"help": "Codec of a video. Default: h264, in .webm vp9."}
    )
    quality: int = field(default=80, metadata={"range": (0, 100), "help": "Quality of the result."})
    resume: bool = field(default=False, metadata={"help": "Go on where a run that was stopped or killed ended."})
    keep_parts: bool = field(default=False, metadata={"help": "Leave the folder OUTPUT.parts there."})

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(VideoOptions)
        for option in dataclasses.fields(self):
            value = getattr(self, option.name)
            if value is None:
                continue
            words = allowed(hints[option.name])
            if words and value not in words:
                raise ValueError(f"{option.name}: expected {', '.join(words[:-1])} or {words[-1]}, got {value!r}")
            low, high = option.metadata.get("range", (None, None))
            if (low is not None and not value >= low) or (high is not None and not value <= high):
                most = f" to {high:g}" if high is not None else " or more"
                raise ValueError(f"{option.name}: expected {low:g}{most}, got {value!r}")
        if self.start < 0 or (self.end is not None and self.end <= self.start):
            raise ValueError(f"end: expected a time after the start at {self.start:g} s, got {self.end} s")

    @property
    def frame_rate(self) -> Fraction | None:
        """`rate` as a fraction."""
        return None if self.rate is None else Fraction(self.rate).limit_denominator(1001)
