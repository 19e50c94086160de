"""Files beside the pictures that are read, told by their first bytes: camera raws, HEIC, documents, videos."""

from nanostyle.errors import with_hint

RAW = frozenset(
    {".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".gpr", ".iiq", ".kdc", ".mef", ".mos"}
    | {".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"}
)
"""Suffixes of the raw files of cameras."""

OTHER = frozenset(
    {".jxl", ".psd", ".psb", ".svg", ".pdf", ".eps", ".ai", ".exr", ".hdr", ".xcf", ".kra", ".ico", ".tga"}
    | {".jxr", ".wdp", ".heics", ".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v"}
)
"""Suffixes of other pictures and of videos that people keep beside their photos: none of them is read."""

_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis")
_RAW_STARTS = (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FOVb", b"\0MRM")
_STARTS = {
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"8BPS": "a Photoshop file",
    b"%PDF": "a PDF document",
    b"%!PS": "PostScript",
    b"<svg": "SVG, a drawing of lines",
    b"<?xml": "XML, perhaps a drawing of lines (SVG)",
    b"<!DOCTYPE html": "a page of the web",
    b"<html": "a page of the web",
    b"v/1\x01": "OpenEXR",
    b"gimp xcf": "a GIMP file",
    b"#?RADIANCE": "Radiance HDR",
    b"PK\x03\x04": "a zip archive",
    b"\x1a\x45\xdf\xa3": "a video (Matroska)",
    b"version https://git-lfs": "a pointer of Git LFS, not the file itself",
}


def is_heif(start: bytes) -> bool:
    """Whether a file that begins with `start` (64 bytes or more) is HEIC."""
    if start[4:8] != b"ftyp":
        return False
    brands = start[8:12]
    return brands in _HEIF_BRANDS or (brands in (b"mif1", b"msf1") and not {b"avif", b"avis"} & set(_brands(start)))


def _brands(start: bytes) -> list[bytes]:
    size = min(int.from_bytes(start[:4], "big"), len(start))
    return [start[at : at + 4] for at in range(16, size, 4)]


def is_raw(start: bytes) -> bool:
    """Whether a file that begins with `start` is a raw file that is not made like a TIFF."""
    canon = (start[8:10] == b"CR" and start[:2] in (b"II", b"MM")) or start[4:12] == b"ftypcrx "
    return canon or start.startswith(_RAW_STARTS)


def raw_error(name: str) -> ValueError:
    """The error for a raw file."""
    text = f"{name} is a camera's raw file, expected a developed picture"
    return with_hint(ValueError(text), "export it as JPEG or TIFF with the camera's program or a raw converter")


def kind_of(start: bytes) -> str | None:
    """What a file that begins with `start` is, in words, where it is known and not a picture that can be read."""
    if start[4:8] == b"ftyp" and start[8:12] in (b"isom", b"mp41", b"mp42", b"qt  ", b"M4V ", b"avc1"):
        return "a video"
    text = start.lstrip(b"\xef\xbb\xbf \r\n\t")
    return next((word for begin, word in _STARTS.items() if text.lower().startswith(begin.lower())), None)
