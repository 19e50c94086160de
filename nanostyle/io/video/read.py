"""Opening a moving picture of whatever kind."""

import re
from fractions import Fraction
from pathlib import Path

from nanostyle.io.image_read import MAX_PIXELS
from nanostyle.io.video.animation import Animation, is_animation
from nanostyle.io.video.clip import Clip
from nanostyle.io.video.container import Video
from nanostyle.io.video.numbered import Frames, is_pattern

LARGEST_BY_DEFAULT = 960
"""The long side in pixels to which frames are shrunk where no size is asked for."""

RATE = 25
"""Frames per second, for frames without times."""


def open_clip(
    path: Path, *, size: int | None = None, rate: Fraction | None = None, max_pixels: int = MAX_PIXELS
) -> Clip:
    """The moving picture at `path`: a video, an animated GIF, WebP or PNG, a folder of frames, or a pattern.

    Parameters
    ----------
    size
        The long side of the frames as they are read. None: that of the source, at most 960.
    rate
        Frames per second of a folder or a pattern. None: 25.

    Raises
    ------
    FileNotFoundError, OSError, ValueError
        There is no such thing, or it cannot be read; the message says why.
    NanostyleError
        It is a video, and the extra `video` is not installed.
    """
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(path)):
        raise ValueError(f"{path} is an address; download it, and give the file")
    most = LARGEST_BY_DEFAULT
    if is_pattern(path) or path.is_dir():
        return Frames(path, rate=rate or Fraction(RATE), size=size, most=most, max_pixels=max_pixels)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}; check the name")
    kind = Animation if is_animation(path) else Video
    return kind(path, size=size, most=most, max_pixels=max_pixels)
