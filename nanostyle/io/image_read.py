"""Reading pictures.

Between `load_image` and `save_image` a picture is RGB in sRGB encoding, float32, 0..1, shape (H, W, 3). Palettes,
grays, CMYK, color profiles and EXIF rotation are brought to that. Grays of 16 bits keep all their bits; colors of 16
bits per channel arrive in 8, as Pillow reads them (off by less than one step of 8 bits).
"""

import io
import os
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from PIL import Image

from nanostyle.io.color import check_floats, from_image, plain, to_srgb
from nanostyle.io.decoding import decoding, identify, opened
from nanostyle.io.resample import fitted

MAX_PIXELS = 150_000_000
"""Pictures with more pixels than this are refused before they are decoded (Pillow's own limit is 179 million)."""

_EXIF_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture as the networks see it, and what the result takes over from the file.

    `pixels` is (H, W, 3) float32 sRGB in 0..1; `alpha` is (H, W) float32 in 0..1, or None if the picture is opaque
    everywhere; `original` is the (height, width) of the file, upright, before any `size` was asked for.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    original: tuple[int, int]


def load_image(path: str | os.PathLike[str], *, size: int | None = None, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read the picture at `path`, upright and in sRGB; of an animation, the first frame.

    `size` is the long side of the result in pixels, smaller or larger than the file's. Resampling is Lanczos with
    antialiasing, colors weighted by alpha. What is fully transparent keeps the color that the file gives it
    (black once resampled). An unusable color profile or EXIF block is ignored.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, OSError
        Nothing to read there.
    ValueError
        Not a picture, damaged, cut short, more than `max_pixels` pixels (in the file or asked for by `size`), or a
        picture of floats that holds NaN or leaves 0..1.
    """
    with opened(path) as file:
        return _read(file, str(path), size, max_pixels)


def decode_image(data: bytes, *, name: str = "the picture in memory") -> np.ndarray:
    """The (H, W, 3) pixels of a picture file held in memory, as `load_image` reads it; errors call it `name`."""
    return _read(io.BytesIO(data), name, None, MAX_PIXELS).pixels


def _read(file: BinaryIO, name: str, size: int | None, max_pixels: int) -> Picture:
    return read_image(identify(file, name, max_pixels), name, size, max_pixels)


def read_image(image: Image.Image, name: str, size: int | None = None, max_pixels: int = MAX_PIXELS) -> Picture:
    """The picture that Pillow has opened, as `load_image` reads it; errors call it `name`."""
    width, height = image.size
    target_height, target_width = (height, width) if size is None else fitted((height, width), size)
    if target_height * target_width > max_pixels:
        raise ValueError(
            f"{name} at size {size} would be {target_width} x {target_height} pixels, the limit is {max_pixels}; "
            "ask for a smaller size"
        )
    with decoding(name):
        if size is not None:
            # JPEG decodes at 1/2, 1/4, 1/8 for a fraction of the time; from twice the target on nothing shows.
            image.draft(None, (2 * target_width, 2 * target_height))
        image.load()
        orientation, profile = _orientation(image), image.info.get("icc_profile")
        image = plain(image)
    if image.mode == "F":
        check_floats(image, name)
    with decoding(name):
        if image.size != (target_width, target_height):
            image = image.resize((target_width, target_height), Image.Resampling.LANCZOS)
        if orientation in _UPRIGHT:
            image = image.transpose(_UPRIGHT[orientation])
        alpha = image.getchannel("A") if image.mode in ("LA", "RGBA") else None
        if alpha is not None and alpha.getextrema()[0] == 255:
            alpha = None
        return Picture(
            pixels=from_image(to_srgb(image, profile)),
            alpha=None if alpha is None else from_image(alpha),
            original=(width, height) if orientation >= 5 else (height, width),  # 5 to 8 lie on their side
        )


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 (upright) to 8; 1 where the block is missing or broken."""
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # a broken EXIF block must not cost the picture, and its parser raises nearly anything
        return 1
    return orientation if orientation in _UPRIGHT else 1
