"""Reading pictures.

Between `load_image` and `save_image` a picture is RGB in sRGB encoding, float32, 0..1, shape (H, W, 3). Palettes,
grays, CMYK, Lab, color profiles, transparency, EXIF rotation and depths up to 64 bits are brought to that.
"""

import io
import os
from dataclasses import dataclass, field, fields, replace
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from nanostyle.backend.types import Pixels
from nanostyle.io.atomic import sha256_of
from nanostyle.io.color import Space, deep_to_srgb, from_image, to_srgb
from nanostyle.io.decoding import decoding, opened
from nanostyle.io.deep import Deep
from nanostyle.io.metadata import Metadata
from nanostyle.io.picture_file import Decoded, PictureFile, of_image, open_picture
from nanostyle.io.resample import fitted
from nanostyle.io.transparency import fill_hidden

MAX_PIXELS = 150_000_000
"""Pictures with more pixels than this are refused before they are decoded (Pillow's own limit is 179 million)."""


@dataclass(frozen=True, eq=False, kw_only=True)
class FileFacts:
    """What a picture that was read still knows of its file.

    Attributes
    ----------
    original : (int, int)
        Height and width of the file, upright, before any `size` was asked for.
    bits : int
        8, or 16 where the file holds more than 8 bits a sample.
    orientation : int
        How the file was turned, by Exif's numbers: 1 is upright, 5 to 8 lie on their side.
    metadata : Metadata
        Date, camera, copyright, place, resolution.
    notes : tuple of str
        What of the file was left out, in words: further pages, frames or views.
    sha256 : str
        The digest of the file, in hexadecimal; empty for a picture of no file.
    """

    original: tuple[int, int]
    bits: int = 8
    orientation: int = 1
    metadata: Metadata = field(default_factory=Metadata, repr=False)
    notes: tuple[str, ...] = ()
    sha256: str = ""

    def facts(self) -> dict[str, Any]:
        """These alone, by name."""
        return {each.name: getattr(self, each.name) for each in fields(FileFacts)}


@dataclass(frozen=True, eq=False)
class Picture(FileFacts):
    """A picture as the networks see it, and what the result takes over from the file.

    Attributes
    ----------
    pixels : (H, W, 3) float32
        sRGB in 0..1. What is fully transparent has the visible colors around it, whatever the file keeps there.
    alpha : (H, W) float32 in 0..1, or None
        None if the picture is opaque everywhere.
    """

    pixels: Pixels
    alpha: Pixels | None


def load_image(path: str | os.PathLike[str], *, size: int | None = None, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read the picture at `path`, upright and in sRGB; of several pages or frames, the first.

    `size` is the long side of the result in pixels, smaller or larger than the file's. Resampling is Lanczos with
    antialiasing, colors weighted by alpha. An unusable color profile or EXIF block is ignored.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, OSError
        Nothing to read there.
    ValueError
        Not a picture, damaged, cut short, a camera's raw file, more than `max_pixels` pixels (in the file or asked for
        by `size`), or a picture of floats that holds NaN or leaves 0..1.
    NanostyleError
        It is HEIC, and the extra `heif` is not installed.
    """
    with opened(path) as file:
        return read_file(file, str(path), size, max_pixels)


def decode_image(data: bytes, *, name: str = "the picture in memory") -> Pixels:
    """The (H, W, 3) pixels of a picture file held in memory, as `load_image` reads it; errors call it `name`."""
    return read_file(io.BytesIO(data), name).pixels


def read_file(file: BinaryIO, name: str, size: int | None = None, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read the picture in an open file, as `load_image` does; errors call it `name`."""
    file = file if file.seekable() else io.BytesIO(file.read())
    digest = sha256_of(file)
    file.seek(0)
    return replace(_read(open_picture(file, name, max_pixels), name, size, max_pixels), sha256=digest)


def read_image(image: Image.Image, name: str, size: int | None = None, max_pixels: int = MAX_PIXELS) -> Picture:
    """The picture that Pillow has opened, as `load_image` reads it; errors call it `name`."""
    with decoding(name):
        found = of_image(image, None, name, max_pixels)
    return _read(found, name, size, max_pixels)


def size_of(path: str | os.PathLike[str], *, size: int | None = None) -> tuple[int, int]:
    """Height and width of what `load_image` would read, up to a turn by a quarter; the pixels are not decoded.

    Raises as `load_image` does where the beginning of the file is bad.
    """
    with opened(path) as file:
        width, height = open_picture(file, str(path), MAX_PIXELS).size
    return (height, width) if size is None else fitted((height, width), size)


def _read(found: PictureFile, name: str, size: int | None, max_pixels: int) -> Picture:
    width, height = found.size
    target = (height, width) if size is None else fitted((height, width), size)
    if target[0] * target[1] > max_pixels:
        raise ValueError(
            f"{name} at size {size} would be {target[1]} x {target[0]} pixels, the limit is {max_pixels}; "
            "ask for a smaller size"
        )
    with decoding(name):
        decoded = found.decode(None if size is None else (2 * target[1], 2 * target[0]))
        pixels, alpha = at_size(decoded, found.space, target)
        if alpha is not None and alpha.min() >= 1:
            alpha = None
        if alpha is not None:
            pixels = fill_hidden(pixels, alpha)
        return Picture(
            pixels=upright(pixels, found.turn),
            alpha=None if alpha is None else upright(alpha, found.turn),
            original=(width, height) if found.turn >= 5 else (height, width),
            bits=16 if isinstance(decoded[0], Deep) else 8,
            orientation=found.orientation,
            metadata=found.metadata,
            notes=found.notes,
        )


def at_size(decoded: Decoded, space: Space, size: tuple[int, int]) -> tuple[Pixels, Pixels | None]:
    """The pixels in sRGB and the alpha of a decoded picture, at `size` (height, width)."""
    image, alpha = decoded
    if isinstance(image, Deep):
        image = image.resized(size)
        return deep_to_srgb(image, space), image.alpha
    if alpha is not None:  # CMYK and Lab have no mode with alpha
        color = Deep(to_srgb(image, space), alpha).resized(size)
        return color.color, color.alpha
    if image.size != (size[1], size[0]):
        image = image.resize((size[1], size[0]), Image.Resampling.LANCZOS)
    if image.mode in ("LA", "RGBA"):
        alpha = from_image(image.getchannel("A"))
    return to_srgb(image, space), alpha


def upright(values: Pixels, orientation: int) -> Pixels:
    """A picture (H, W, …) that is stored in one of Exif's orientations, upright."""
    if orientation >= 5:  # the first row is at the side
        values = values.swapaxes(0, 1)
    flips = {2: (1,), 3: (0, 1), 4: (0,), 6: (1,), 7: (0, 1), 8: (0,)}.get(orientation, ())
    return np.ascontiguousarray(np.flip(values, flips))
