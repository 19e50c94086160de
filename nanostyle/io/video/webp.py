"""Writing an animated WebP frame by frame. Pillow compresses each; it would keep all of them to write them together.

Source: WebP Container Specification (RFC 9649, section 2).
"""

import io
import struct
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from PIL import Image

from nanostyle.io.video.changes import changed

_EXIF, _ALPHA, _ANIMATION = 0x08, 0x10, 0x02  # flags of a file
_REPLACE = 0x02  # a frame replaces what is under it
_PIXELS = (b"ALPH", b"VP8 ", b"VP8L")


def write_webp(
    file: BinaryIO,
    frames: Iterable[Image.Image],
    *,
    durations: Iterable[int],
    loop: int,
    quality: int,
    exif: bytes,
    has_alpha: bool,
) -> None:
    """Write `frames`; `durations` in milliseconds; `loop`: how often it is repeated, 0 for ever.

    A frame holds only the part that changes.
    """
    is_first = True
    for (image, box), milliseconds in zip(changed(frames, step=2), durations, strict=True):
        if is_first:
            is_first = False
            flags = _ANIMATION | _EXIF | (_ALPHA if has_alpha else 0)
            file.write(b"RIFF\0\0\0\0WEBP")
            file.write(_chunk(b"VP8X", bytes([flags, 0, 0, 0]) + _three(image.width - 1) + _three(image.height - 1)))
            file.write(_chunk(b"ANIM", bytes(4) + struct.pack("<H", min(loop, 0xFFFF))))
        with io.BytesIO() as buffer:
            image.crop(box).save(buffer, "WEBP", quality=quality, method=4)
            pixels = b"".join(_chunk(name, data) for name, data in _chunks(buffer.getvalue()) if name in _PIXELS)
        place = [box[0] // 2, box[1] // 2, box[2] - box[0] - 1, box[3] - box[1] - 1, min(milliseconds, 0xFFFFFF)]
        file.write(_chunk(b"ANMF", b"".join(map(_three, place)) + bytes([_REPLACE]) + pixels))
    file.write(_chunk(b"EXIF", exif.removeprefix(b"Exif\0\0")))
    size = file.tell()
    file.seek(4)
    file.write(struct.pack("<I", size - 8))


def _three(number: int) -> bytes:
    """A number as three bytes."""
    return number.to_bytes(3, "little")


def _chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 12
    while at < len(data):
        name, size = struct.unpack("<4sI", data[at : at + 8])
        yield name, data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
