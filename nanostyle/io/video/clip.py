"""What a moving picture is to the rest: frames with times, whatever file they come from."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

Frame8 = npt.NDArray[np.uint8]
"""A frame `(H, W, 3)`, RGB in sRGB, or its alpha `(H, W)`, in steps of 8 bits."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of a moving picture.

    Attributes
    ----------
    pixels : (H, W, 3) uint8
        RGB, upright, of square pixels. What is transparent has the colors around it.
    stamp, duration : int
        When it is shown and for how long, in ticks of its clip.
    alpha : (H, W) uint8 or None
        None if it is opaque.
    name : str
        Of a frame that is a file, the name of the file.
    """

    pixels: Frame8
    stamp: int
    duration: int
    alpha: Frame8 | None = None
    name: str = ""


@dataclass(eq=False)
class Clip(ABC):
    """A moving picture that was opened and looked at. Its attributes are settled before the first frame is read.

    Attributes
    ----------
    path : Path
        The file, folder or pattern.
    size : (int, int)
        Height and width of its frames, as they are read.
    original : (int, int)
        Height and width of the source: upright, of square pixels.
    tick : Fraction
        The unit of its times, in seconds.
    count : int or None
        How many frames there are; None where the file does not tell.
    loop : int or None
        How often an animation is repeated, 0 for ever; None where that is not told.
    has_sound : bool
        Whether there are tracks of sound or subtitles.
    notes : list of str
        What of the source is not used or was mended, in words; it may grow while frames are read.
    skipped : int
        How many frames could not be read so far, or are missing at the end.
    begin : Fraction
        The time in the file that is 0 here, in seconds.
    seconds : float or None
        How long it is, about; None where the file does not tell.
    is_timed : bool
        Whether its frames have times of their own.
    """

    path: Path
    size: tuple[int, int]
    original: tuple[int, int]
    tick: Fraction
    count: int | None = None
    loop: int | None = None
    has_sound: bool = False
    notes: list[str] = field(default_factory=list)
    skipped: int = 0
    begin: Fraction = Fraction(0)
    seconds: float | None = None
    is_timed: bool = True

    @abstractmethod
    def frames(self, begin: int = 0) -> Iterator[Frame]:
        """Every frame in order; stamps rise.

        Frames before the one that is shown at `begin`, in ticks, may be left out: where the file can be searched.

        Raises
        ------
        ValueError, OSError
            A frame cannot be read at all, or has another size than the first.
        """
