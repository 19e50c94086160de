"""Writing an animated PNG frame by frame. Pillow compresses each; it would keep all of them to write them together.

Source: Portable Network Graphics (PNG) Specification, third edition (2025), 11.3.6: animation.
"""

import io
import struct
from collections.abc import Iterable
from typing import BinaryIO

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from nanostyle.io import png
from nanostyle.io.video.changes import changed

_KEEP, _REPLACE = 0, 0  # a frame stays when the next one is drawn, which replaces what is under it
_LONGEST = 0xFFFF


def write_apng(
    file: BinaryIO, frames: Iterable[Image.Image], *, durations: list[int], loop: int, key: str, recipe: str
) -> None:
    """Write `frames`, all of one mode; `durations` in milliseconds; `loop`: how often it is repeated, 0 for ever.

    The recipe is a text called `key`. A frame holds only the part that changes.
    """
    text = PngInfo()
    text.add_itxt(key, recipe)
    number = 0
    for i, ((image, box), milliseconds) in enumerate(zip(changed(frames), durations, strict=True)):
        with io.BytesIO() as buffer:
            image.crop(box).save(buffer, "PNG", pnginfo=text if i == 0 else None)
            chunks = png.chunks_of(buffer.getvalue())
        if i == 0:
            file.write(png.SIGNATURE + png.chunk(*chunks[0]))
            file.write(png.chunk(b"acTL", struct.pack(">II", len(durations), loop)))
            file.writelines(png.chunk(name, data) for name, data in chunks[1:] if name not in (b"IDAT", b"IEND"))
        place = struct.pack(">IIIII", number, box[2] - box[0], box[3] - box[1], box[0], box[1])
        file.write(png.chunk(b"fcTL", place + _delay(milliseconds) + bytes([_KEEP, _REPLACE])))
        number += 1
        for name, data in chunks:
            if name != b"IDAT":
                continue
            if i == 0:
                file.write(png.chunk(name, data))
            else:
                file.write(png.chunk(b"fdAT", struct.pack(">I", number) + data))
                number += 1
    file.write(png.chunk(b"IEND", b""))


def _delay(milliseconds: int) -> bytes:
    """A time as a fraction of a second, of two numbers of 16 bits."""
    if milliseconds <= _LONGEST:
        return struct.pack(">HH", milliseconds, 1000)
    return struct.pack(">HH", min(round(milliseconds / 1000), _LONGEST), 1)
