"""Pictures in and out of files, and resampling.

Between `load` and `save` a picture is RGB in sRGB encoding, float32, 0..1, shape (H, W, 3). Whatever the file
holds is brought to that: palettes, grays, CMYK, color profiles, EXIF rotation. Grays of 16 bits keep all their
bits; colors of 16 bits per channel arrive in 8, as Pillow reads them (off by less than one step of 8 bits).
"""

import contextlib
import io
import os
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from nanostyle.io.color import _check_floats, _from_image, _plain, _to_srgb
from nanostyle.io.resample import fitted

MAX_PIXELS = 150_000_000
"""Pictures with more pixels than this are refused before they are decoded (Pillow's own limit is 179 million)."""

# Only these are tried: Pillow would hand others, as EPS, to external programs.
_READERS = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jfif"),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
    "JPEG2000": (".jp2", ".j2k"),
    "AVIF": (".avif",),
}
_READ_SUFFIXES = frozenset(suffix for suffixes in _READERS.values() for suffix in suffixes)
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
_SHRINK = "shrink it with an image editor first (--size comes too late, it works on the decoded picture)"


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture as the networks see it, with what is needed to write the result like the original.

    `pixels` is (H, W, 3) float32 sRGB in 0..1; `alpha` is (H, W) float32 in 0..1, or None if the picture is opaque
    everywhere; `original` is the (height, width) of the file, upright, before any `size` was asked for.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    original: tuple[int, int]


# --- reading ------------------------------------------------------------------------------------------------


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
    with _opened(path) as file:
        return _read(file, str(path), size, max_pixels)


def decode_image(data: bytes, *, name: str = "the picture in memory") -> np.ndarray:
    """The (H, W, 3) pixels of a picture file held in memory, as `load` reads it; errors call it `name`."""
    return _read(io.BytesIO(data), name, None, MAX_PIXELS).pixels


def _opened(path: str | os.PathLike[str]) -> BinaryIO:
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give the name of a picture")
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise FileNotFoundError(f"there is no picture {path}; check the name") from error
    except OSError as error:
        raise OSError(f"cannot read {path}: {error.strerror or error}; check the file's permissions") from error


class _Silence:
    """`warnings.catch_warnings` for several threads: the first one in silences, the last one out restores.

    Pillow warns of broken EXIF, large pictures and the like: they do not matter here, or are errors of ours.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._caught = contextlib.ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._caught.enter_context(warnings.catch_warnings())
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._caught.close()


_silence = _Silence()


@contextlib.contextmanager
def _decoding(name: str) -> Iterator[None]:
    """Turn whatever a decoder makes of a bad file into one clear ValueError that names the file."""
    try:
        with _silence:
            yield
    except UnidentifiedImageError as error:
        known = ", ".join(_READERS)
        raise ValueError(
            f"{name} is not a picture, or not in a format that can be read ({known}); save it as PNG or JPEG"
        ) from error
    except Image.DecompressionBombError as error:
        reason = str(error).split(",")[0]
        raise ValueError(f"{name} is too large: {reason}; {_SHRINK}") from error
    except Exception as error:  # decoders raise nearly anything: struct.error, SyntaxError, KeyError, zlib.error …
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{name} is damaged or cut short ({reason}); get a fresh copy of it") from error


def _read(file: BinaryIO, name: str, size: int | None, max_pixels: int) -> Picture:
    image = _identify(file, name, max_pixels)
    width, height = image.size
    target_height, target_width = (height, width) if size is None else fitted((height, width), size)
    if target_height * target_width > max_pixels:
        raise ValueError(
            f"{name} at size {size} would be {target_width} x {target_height} pixels, the limit is {max_pixels}; "
            "ask for a smaller size"
        )
    with _decoding(name):
        if size is not None:
            # JPEG decodes at 1/2, 1/4, 1/8 for a fraction of the time; from twice the target on nothing shows.
            image.draft(None, (2 * target_width, 2 * target_height))
        image.load()
        orientation, profile = _orientation(image), image.info.get("icc_profile")
        image = _plain(image)
    if image.mode == "F":
        _check_floats(image, name)
    with _decoding(name):
        if image.size != (target_width, target_height):
            image = image.resize((target_width, target_height), Image.Resampling.LANCZOS)
        if orientation in _UPRIGHT:
            image = image.transpose(_UPRIGHT[orientation])
        alpha = image.getchannel("A") if image.mode in ("LA", "RGBA") else None
        if alpha is not None and alpha.getextrema()[0] == 255:
            alpha = None
        return Picture(
            pixels=_from_image(_to_srgb(image, profile)),
            alpha=None if alpha is None else _from_image(alpha),
            original=(width, height) if orientation >= 5 else (height, width),  # 5 to 8 lie on their side
        )


def _identify(file: BinaryIO, name: str, max_pixels: int) -> Image.Image:
    """The picture of known format and size, not decoded yet."""
    if file.seekable() and not file.read(1):
        raise ValueError(f"{name} is empty (0 bytes); get a fresh copy of it")
    with _decoding(name):
        image = Image.open(file, formats=list(_READERS))
    width, height = image.size
    if width * height > max_pixels:
        raise ValueError(f"{name} is too large: {width} x {height} pixels, the limit is {max_pixels}; {_SHRINK}")
    return image


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 (upright) to 8; 1 where the block is missing or broken."""
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # a broken EXIF block must not cost the picture, and its parser raises nearly anything
        return 1
    return orientation if orientation in _UPRIGHT else 1
