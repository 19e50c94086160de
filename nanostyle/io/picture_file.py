"""A picture file, opened and looked at: what it is, how large, in which color space, and how to decode it."""

import contextlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import Any, BinaryIO

from PIL import Image, TiffImagePlugin

from nanostyle.backend.types import Pixels
from nanostyle.io import jpeg, png, tiff
from nanostyle.io.color import Space, check_floats, deep_gray, is_deep, plain, space_of_profile
from nanostyle.io.decoding import check_pixels, decoding, muted
from nanostyle.io.deep import Deep
from nanostyle.io.foreign_pictures import RAW, is_heif, is_raw, kind_of, raw_error
from nanostyle.io.formats import READERS
from nanostyle.io.heif import open_heif
from nanostyle.io.metadata import ORIENTATION, Metadata, exif_from, metadata_of
from nanostyle.io.rgb_space import ADOBE_RGB
from nanostyle.io.tiff_colors import picture_of

_CFA, _LINEAR_RAW, _DNG_VERSION, _PHOTOMETRIC = 32803, 34892, 50706, 262
_INTEROP_BLOCK, _INTEROP_INDEX = 0xA005, 1

Decoded = tuple[Deep | Image.Image, Pixels | None]
"""A picture in a mode of `color.plain` or a deep one, and its alpha where the mode has no place for it."""


@dataclass(frozen=True, eq=False)
class PictureFile:
    """A picture file that was opened.

    Attributes
    ----------
    size : (int, int)
        Width and height as they are stored.
    orientation : int
        Exif's, 1 (upright) to 8.
    turn : int
        The orientation of what `decode` returns, and of `size`: 1 where Pillow turns the picture itself.
    space : Space
        The color space.
    metadata : Metadata
        What the file tells of the picture.
    notes : tuple of str
        What of the file is left out, in words.
    decode : function
        Decodes it; a JPEG at half the size or less where that is no smaller than the (width, height) given.
    """

    size: tuple[int, int]
    orientation: int
    turn: int
    space: Space
    metadata: Metadata
    notes: tuple[str, ...]
    decode: Callable[[tuple[int, int] | None], Decoded] = field(repr=False)


def open_picture(file: BinaryIO, name: str, max_pixels: int) -> PictureFile:
    """Look at the picture in `file`, called `name` in errors.

    Raises
    ------
    ValueError
        The file is empty, no picture, a camera's raw file, damaged, or has more than `max_pixels` pixels.
    NanostyleError
        It is HEIC, and the extra is not installed.
    """
    start = file.read(512)
    if not start:
        raise ValueError(f"{name} is empty (0 bytes); get a fresh copy of it")
    file.seek(0)
    with decoding(name):
        if is_raw(start):
            raise raw_error(name)
        if is_heif(start):
            return of_image(open_heif(file, name), file, name, max_pixels)
        if tiff.is_tiff(start):
            return of_tiff(file, name, max_pixels)
        if kind := kind_of(start):
            raise ValueError(f"{name} is not a picture that can be read: it is {kind}; save it as PNG or JPEG")
        return of_image(Image.open(file, formats=list(READERS)), file, name, max_pixels)


def of_image(image: Image.Image, file: BinaryIO | None, name: str, max_pixels: int) -> PictureFile:
    """Look at a picture that Pillow has opened, from `file` where there is one. Raises as `open_picture` does."""
    check_pixels(image.size, name, max_pixels)
    profile = image.info.get("icc_profile")
    if image.format == "PNG" and file is not None:
        chunks = png.chunks_before_pixels(file)
        space = png.color_space(chunks, profiled=profile is not None) or space_of_profile(profile)
    else:
        chunks = {}
        space = space_of_profile(profile) or (ADOBE_RGB if _is_adobe_rgb(image) else None)

    def decode(smallest: tuple[int, int] | None) -> Decoded:
        if file is not None and chunks and (deep := png.read_deep(file, chunks)):
            return deep, None
        return _decoded(image, file, name, smallest), None

    exif = exif_from(image)
    metadata = metadata_of(exif, image.info, getattr(image, "text", None))
    orientation = _orientation(exif)
    turn = 1 if image.format in ("TIFF", "HEIF") else orientation
    return PictureFile(image.size, orientation, turn, space, metadata, _notes(image), decode)


def _decoded(
    image: Image.Image, file: BinaryIO | None, name: str, smallest: tuple[int, int] | None
) -> Deep | Image.Image:
    if smallest is not None:
        # JPEG decodes at 1/2, 1/4, 1/8 for a fraction of the time; from twice the target on nothing shows.
        image.draft(None, smallest)
    try:
        with muted if image.format == "TIFF" else contextlib.nullcontext():
            image.load()
    except OSError:
        if file is None or image.format not in ("JPEG", "MPO"):
            raise
        file.seek(0)
        mended = jpeg.without_end_mark(file.read())
        if mended is None:
            raise
        image = mended
    if not is_deep(image):
        return plain(image)
    deep = deep_gray(image)
    check_floats(deep.color, name)
    return deep


def of_tiff(file: BinaryIO, name: str, max_pixels: int) -> PictureFile:
    """Look at a TIFF. Raises as `open_picture` does."""
    found = tiff.pages(file)
    if not found:
        raise ValueError("it has no page")
    suffix = PurePath(name).suffix.lower()
    marks = [page.tags.get(_PHOTOMETRIC) for page in found]
    if _CFA in marks or _LINEAR_RAW in marks or _DNG_VERSION in found[0].tags or suffix in RAW:
        raise raw_error(name)
    page = tiff.full_page(found)
    if page is not found[0]:
        file = io.BytesIO(tiff.beginning_with(_contents(file), page))
    count = sum(not p.is_reduced for p in found)
    notes = (f"the first of {count} pages is used",) if count > 1 and page is found[0] else ()
    if not tiff.is_beyond_pillow(page):
        return replace(of_image(_opened_tiff(file, max_pixels), file, name, max_pixels), notes=notes)
    size = (page.tags[256], page.tags[257])
    check_pixels(size, name, max_pixels)
    profile = tiff.first(page.tags.get(34675))
    space = space_of_profile(profile if isinstance(profile, bytes) else None)
    exif = Image.Exif()
    file.seek(0)
    exif.load_from_fp(file)
    metadata = metadata_of(exif, {"xmp": tiff.first(page.tags.get(700, b"")), "dpi": _dpi(page.tags)})

    def decode(_: tuple[int, int] | None) -> Decoded:
        with muted:
            return picture_of(tiff.samples(_contents(file), page), name)

    orientation = _orientation(exif)
    return PictureFile(size, orientation, orientation, space, metadata, notes, decode)


def _contents(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read()


def _opened_tiff(file: BinaryIO, max_pixels: int) -> Image.Image:
    file.seek(0)
    if max_pixels > (Image.MAX_IMAGE_PIXELS or 0) * 2:  # more than Pillow opens: it is read in parts
        return TiffImagePlugin.TiffImageFile(file)
    return Image.open(file, formats=["TIFF"])


def _dpi(tags: Mapping[int, Any]) -> tuple[float, float] | None:
    """Pixels per inch; TIFF counts per inch (2) or per centimeter (3)."""
    scale = {2: 1.0, 3: 2.54}.get(tags.get(296, 2))
    if scale is None or 282 not in tags:
        return None
    return float(tags[282]) * scale, float(tags.get(283, tags[282])) * scale


def _orientation(exif: Image.Exif) -> int:
    """Exif's orientation, 1 (upright) to 8; 1 where it makes no sense."""
    orientation = exif.get(ORIENTATION, 1)
    return orientation if orientation in range(1, 9) else 1


def _is_adobe_rgb(image: Image.Image) -> bool:
    """Whether Exif's interoperability index says Adobe RGB, as cameras do that write no profile."""
    if image.format not in ("JPEG", "MPO"):
        return False
    try:
        return str(image.getexif().get_ifd(_INTEROP_BLOCK).get(_INTEROP_INDEX, "")).strip("\0 ") == "R03"
    except Exception:
        return False


def _notes(image: Image.Image) -> tuple[str, ...]:
    count = getattr(image, "n_frames", 1)
    if count < 2:
        return ()
    if image.format == "MPO":
        return (f"the first of {count} views is used",)
    return (f"the first of {count} pictures is used; it is an animation or a series",)
