"""Reading animated GIF, WebP and PNG, by Pillow."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from nanostyle.io.decoding import check_pixels, decoding, opened
from nanostyle.io.resample import fitted
from nanostyle.io.transparency import fill_hidden
from nanostyle.io.video.clip import Clip, Frame

SUFFIXES = {".gif": "GIF", ".webp": "WEBP", ".png": "PNG", ".apng": "PNG"}
"""The suffixes of animations."""

# Browsers show a frame of a GIF that tells no time for a tenth of a second.
_USUAL = 100


def is_animation(path: Path) -> bool:
    """Whether the file at `path` is a GIF, WebP or PNG, by its contents."""
    with path.open("rb") as file:
        start = file.read(16)
    return start[:4] in (b"GIF8", b"\x89PNG") or (start[:4] == b"RIFF" and start[8:12] == b"WEBP")


class Animation(Clip):
    """A GIF, WebP or PNG, of one frame or more. Its tick is a thousandth of a second.

    Parameters
    ----------
    size
        The long side of the frames as they are read; None: as in the file, at most `most`.

    Raises
    ------
    FileNotFoundError, OSError, ValueError
        There is no such file, it is damaged, or has more than `max_pixels` in a frame.
    """

    def __init__(self, path: Path, *, size: int | None, most: int, max_pixels: int) -> None:
        with opened(path) as file, decoding(str(path)):
            image = Image.open(file, formats=["GIF", "WEBP", "PNG"])
            check_pixels(image.size, str(path), max_pixels)
            original = image.height, image.width
            count = getattr(image, "n_frames", 1) - bool(getattr(image, "default_image", False))
            loop = image.info.get("loop", 1)
        super().__init__(
            path=path,
            size=fitted(original, size or min(most, max(original))),
            original=original,
            tick=Fraction(1, 1000),
            count=count,
            loop=loop,
        )

    def frames(self, begin: int = 0) -> Iterator[Frame]:
        """Every frame, whole: what a frame leaves of the one before is drawn."""
        stamp = 0
        with opened(self.path) as file:
            image = Image.open(file, formats=["GIF", "WEBP", "PNG"])
            hidden = int(bool(getattr(image, "default_image", False)))
            for i in range(hidden, hidden + (self.count or 1)):
                with decoding(str(self.path)):
                    image.seek(i)
                    frame = self._frame(image, stamp)
                yield frame
                stamp += frame.duration

    def _frame(self, image: Image.Image, stamp: int) -> Frame:
        whole = image.convert("RGBA")
        height, width = self.size
        if whole.size != (width, height):
            whole = whole.resize((width, height), Image.Resampling.LANCZOS)
        duration = round(image.info.get("duration") or _USUAL)
        pixels, alpha = np.asarray(whole)[..., :3], np.asarray(whole)[..., 3]
        if alpha.min() == 255:
            return Frame(np.ascontiguousarray(pixels), stamp, duration)
        of_one = np.float32(255)
        filled = fill_hidden(pixels / of_one, alpha / of_one)
        return Frame(np.round(filled * 255).astype(np.uint8), stamp, duration, np.ascontiguousarray(alpha))
