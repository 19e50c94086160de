"""Which picture formats are read and written, told by suffix."""

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

READABLE = frozenset(suffix for suffixes in READERS.values() for suffix in suffixes)
"""The suffixes of pictures that can be read."""

WRITERS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}
"""Suffix -> format of what can be written."""

WRITABLE = frozenset(WRITERS)
"""The suffixes of pictures that can be written."""

HOLDS_ALPHA = frozenset({"PNG", "WEBP", "TIFF"})
"""The formats that are written with transparency."""
