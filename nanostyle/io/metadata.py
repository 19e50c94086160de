"""A photo's date, camera, copyright, place and resolution, copied into the result.

Exif with its GPS block, XMP, the texts of a PNG and the resolution are kept. Thumbnails are dropped, and so is what is
true of the old file only: maker's notes (they point to places in that file), sizes, and orientation (the result is
upright).
"""

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

from PIL import Image, PngImagePlugin

ORIENTATION, DESCRIPTION, EXIF_BLOCK, GPS_BLOCK, USER_COMMENT = 0x0112, 0x010E, 0x8769, 0x8825, 0x9286
KEY = "nanostyle"
"""The keyword of a recipe in a PNG, and how it begins elsewhere."""

ASCII = b"ASCII\0\0\0"
"""How a user's comment in Exif says that it is plain text."""

_INTEROP_BLOCK, _COLOR_SPACE, _WIDTH, _HEIGHT = 0xA005, 0xA001, 0xA002, 0xA003
# Baseline tags of TIFF that describe the file's pixels; the profile, which is applied; Photoshop's and other programs'
# blocks, which hold thumbnails; pointers.
_OF_THE_FILE = {
    *range(0x00FE, 0x010C),
    *(0x0111, 0x0115, 0x0116, 0x0117, 0x011C, 0x0120, 0x0121, 0x0122, 0x0123, 0x0124, 0x0125, 0x012D, 0x013D, 0x013E),
    *range(0x013F, 0x0160),
    *range(0x0200, 0x0215),
    *(0x02BC, 0x8649, 0x8773, 0x935C, 0x83BB, 0xC4A5, 0x501B, 0x5090, 0x5091, EXIF_BLOCK, GPS_BLOCK),
}
_OF_THE_OLD_EXIF = {0x927C, _INTEROP_BLOCK, _COLOR_SPACE, _WIDTH, _HEIGHT, 0x9101, 0x9102}
# A segment of JPEG holds 64 KB.
_MOST = 65_000
_XMP_IN_PNG = "XML:com.adobe.xmp"
_THUMBNAILS = re.compile(rb"<xmp:Thumbnails>.*?</xmp:Thumbnails>", re.S)
_TURNED = re.compile(rb"""(tiff:Orientation(?:\s*=\s*["']|>\s*))[2-8]""")


@dataclass(frozen=True)
class Metadata:
    """The metadata that a result keeps of its photo.

    Attributes
    ----------
    tags, exif, gps : dict
        Number -> value of Exif's main block, its own block and its GPS block.
    xmp : bytes
        The XMP packet, or nothing.
    texts : dict
        Keyword -> text of a PNG.
    dpi : (float, float) or None
        Pixels per inch, across and down.
    """

    tags: Mapping[int, Any] = field(default_factory=dict)
    exif: Mapping[int, Any] = field(default_factory=dict)
    gps: Mapping[int, Any] = field(default_factory=dict)
    xmp: bytes = b""
    texts: Mapping[str, str] = field(default_factory=dict)
    dpi: tuple[float, float] | None = None


def metadata_of(
    exif: Image.Exif, info: Mapping[str | tuple[int, int], Any], texts: Mapping[str, str] | None = None
) -> Metadata:
    """Collect the metadata to keep from a picture's Exif, its Pillow `info` and the texts of a PNG.

    A block that is broken is left out; the other blocks are kept.
    """
    tags, own, gps = (_block(exif, block) for block in (None, EXIF_BLOCK, GPS_BLOCK))
    turned = ORIENTATION in tags
    tags = {tag: value for tag, value in tags.items() if tag not in _OF_THE_FILE}
    if turned:
        tags[ORIENTATION] = 1
    own = {tag: value for tag, value in own.items() if tag not in _OF_THE_OLD_EXIF and not _is_recipe(value)}
    if _is_recipe(tags.get(DESCRIPTION)):
        del tags[DESCRIPTION]
    xmp = info.get("xmp") or b""
    xmp = xmp.encode() if isinstance(xmp, str) else xmp if isinstance(xmp, bytes) else b""
    xmp = _TURNED.sub(rb"\g<1>1", _THUMBNAILS.sub(b"", xmp))
    kept = {str(k): str(v) for k, v in (texts or {}).items() if k not in (_XMP_IN_PNG, KEY)}
    return Metadata(tags, own, gps, xmp, kept, _dpi(info.get("dpi")))


def exif_from(image: Image.Image) -> Image.Exif:
    """The Exif of an opened picture; empty if it is broken. Pillow's parser raises nearly any error then."""
    try:
        return image.getexif()
    except Exception:
        return Image.Exif()


def _block(exif: Image.Exif, block: int | None) -> dict[int, Any]:
    try:
        return {int(tag): value for tag, value in (exif if block is None else exif.get_ifd(block)).items()}
    except Exception:  # as above
        return {}


def _is_recipe(value: object) -> bool:
    """Whether a text is the recipe of an earlier result. It is not kept: the new result gets a recipe of its own."""
    text = value.removeprefix(ASCII).decode("latin-1") if isinstance(value, bytes) else value
    return isinstance(text, str) and text.startswith(f"{KEY} {{")


def _dpi(dpi: Any) -> tuple[float, float] | None:
    try:
        across, down = (float(value) for value in dpi)
    except (TypeError, ValueError, ArithmeticError):
        return None
    # One pixel per inch is how programs write that they do not know.
    return (across, down) if 2 <= across < 1e6 and 2 <= down < 1e6 else None


def exif_of(metadata: Metadata, size: tuple[int, int]) -> Image.Exif:
    """Exif for a result of `size` (height, width)."""
    exif = Image.Exif()
    for tag, value in metadata.tags.items():
        if _has_a_type(value):
            exif[tag] = value
    if metadata.exif:
        sides = {_WIDTH: size[1], _HEIGHT: size[0]}
        exif.get_ifd(EXIF_BLOCK).update({**metadata.exif, **sides, _COLOR_SPACE: 1})
    if metadata.gps:
        exif.get_ifd(GPS_BLOCK).update(metadata.gps)
    return exif


def _has_a_type(value: object) -> bool:
    """Whether Exif and TIFF have a type for a value: text, bytes, a number or several."""
    if isinstance(value, tuple):
        return all(isinstance(item, Real) for item in value)
    return isinstance(value, Real | str | bytes)


def usable(exif: Image.Exif, kind: str) -> Image.Exif:
    """`exif` without the values that cannot be written. Damaged files hold values of types that Exif does not have."""
    most = _MOST if kind == "JPEG" else 1 << 24
    for attempt in (exif, _without_blocks(exif)):
        with contextlib.suppress(Exception):
            if len(attempt.tobytes()) <= most:
                return attempt
    return Image.Exif()


def packed(exif: Image.Exif) -> bytes:
    """The block as bytes; no bytes if it is empty."""
    data: bytes = exif.tobytes() if len(exif) or exif.get_ifd(EXIF_BLOCK) or exif.get_ifd(GPS_BLOCK) else b""
    return data


def _without_blocks(exif: Image.Exif) -> Image.Exif:
    """Only the short texts and numbers of the main block."""
    plain = Image.Exif()
    for tag, value in exif.items():
        if isinstance(value, int | float) or (isinstance(value, str) and len(value) < 1000):
            plain[tag] = value
    return plain


def png_texts(metadata: Metadata, recipe: str | None) -> PngImagePlugin.PngInfo:
    """The text chunks of a PNG: the recipe, the kept texts and XMP."""
    chunks = PngImagePlugin.PngInfo()
    if recipe is not None:
        chunks.add_itxt(KEY, recipe)
    for keyword, text in metadata.texts.items():
        if 0 < len(keyword) < 80 and len(text) < 1 << 20:
            chunks.add_itxt(keyword.encode("latin-1", "replace").decode("latin-1"), text)
    if metadata.xmp:
        chunks.add_itxt(_XMP_IN_PNG, metadata.xmp.decode("utf-8", "replace"))
    return chunks
