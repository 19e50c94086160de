"""Which picture formats are read and written, told by suffix."""

from pathlib import Path

from nanostyle.io.heif import is_installed

READERS = {
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
"""Format -> suffixes. Only these are tried: Pillow would hand others, as EPS, to external programs."""

HEIF = frozenset({".heic", ".heif", ".hif"})
"""The suffixes of HEIC, which the extra `heif` reads and writes."""

READABLE = frozenset(suffix for suffixes in READERS.values() for suffix in suffixes) | (
    HEIF if is_installed() else frozenset()
)
"""The suffixes of pictures that can be read."""

WRITERS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".avif": "AVIF",
    ".heic": "HEIF",
    ".heif": "HEIF",
}
"""Suffix -> format of what can be written."""

WRITABLE = frozenset(WRITERS)
"""The suffixes of pictures that can be written."""

HOLDS_ALPHA = frozenset({"PNG", "WEBP", "TIFF", "AVIF", "HEIF"})
"""The formats that are written with transparency."""

HOLDS_DEEP = frozenset({"PNG", "TIFF"})
"""The formats that are written with 16 bits a sample."""

HAS_QUALITY = frozenset({"JPEG", "WEBP", "AVIF", "HEIF"})
"""The formats that lose something, more or less as `quality` says."""


def format_of(path: Path) -> str:
    """The format that the suffix of `path` stands for.

    Raises
    ------
    ValueError
        It stands for none that can be written.
    """
    kind = WRITERS.get(path.suffix.lower())
    if kind is None:
        got = f"ends in {path.suffix}" if path.suffix else "has no suffix"
        raise ValueError(f"cannot write {path}: its name {got}, expected one of {' '.join(WRITERS)}")
    return kind


def suffix_for(photo: Path) -> str:
    """The suffix of a result where none is asked for: the photo's, or .png where that would lose colors."""
    suffix = photo.suffix.lower()
    return suffix if suffix in WRITABLE and suffix != ".gif" else ".png"
