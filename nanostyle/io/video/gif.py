"""Writing an animated GIF frame by frame. Pillow compresses each; it would keep all of them to write them together.

Source: Graphics Interchange Format, version 89a (CompuServe 1990).
"""

import io
import struct
from collections.abc import Iterable
from typing import BinaryIO

import numpy as np
from PIL import Image

from nanostyle.io.video.changes import Box, changed

COLORS = 255
"""Of the palette. One more stands for what is transparent, or did not change."""

_KEEP, _CLEAR = 1, 2  # what becomes of a frame before the next one is drawn
_PIECE = 255  # bytes


def write_gif(
    file: BinaryIO,
    frames: Iterable[Image.Image],
    palette: Image.Image,
    *,
    durations: Iterable[int],
    loop: int,
    comment: bytes,
    has_alpha: bool,
) -> None:
    """Write `frames` in the colors of `palette`, without dithering, which would crawl; `durations` in milliseconds.

    `loop` is how often it is repeated, 0 for ever, 1 for not at all. Without alpha a frame holds only what changes.
    """
    head = b"\x21\xfe" + _in_pieces(comment)
    if loop != 1:
        head = b"\x21\xff\x0bNETSCAPE2.0" + _in_pieces(b"\x01" + struct.pack("<H", min(loop, 0xFFFF))) + head
    table = bytes(palette.getpalette("RGB") or ()).ljust(3 * COLORS + 3, b"\0")
    before: Image.Image | None = None
    made = (_with_palette(frame, palette) for frame in frames)
    for (image, box), milliseconds in zip(changed(made), durations, strict=True):
        if before is None:
            file.write(b"GIF89a" + struct.pack("<HHBBB", *image.size, 0xF7, 0, 0) + table + head)
        if has_alpha:
            box = (0, 0, *image.size)
        disposal = _CLEAR if has_alpha else _KEEP
        flags = disposal << 2 | 1  # and one of the colors is transparent
        file.write(b"\x21\xf9" + _in_pieces(struct.pack("<BHB", flags, min(milliseconds // 10, 0xFFFF), COLORS)))
        drawn = image if has_alpha or before is None else _difference(image, before)
        file.write(_drawn(drawn, box))
        before = image
    file.write(b"\x3b")


def _with_palette(image: Image.Image, palette: Image.Image) -> Image.Image:
    """The number of the color of each pixel."""
    made = image.convert("RGB").quantize(palette=palette, dither=Image.Dither.NONE)
    numbers = Image.fromarray(np.asarray(made))
    if image.mode == "RGBA":
        numbers.paste(COLORS, mask=image.getchannel("A").point(lambda value: 255 * (value < 128)))
    return numbers


def _difference(image: Image.Image, before: Image.Image) -> Image.Image:
    """What is new; all else is transparent."""
    now, then = np.asarray(image), np.asarray(before)
    return Image.fromarray(np.where(now == then, np.uint8(COLORS), now))


def _drawn(image: Image.Image, box: Box) -> bytes:
    """Part of an image as a GIF holds it: its place, and its pixels as Pillow compresses them."""
    part = image.crop(box)
    with io.BytesIO() as buffer:
        part.save(buffer, "GIF", interlace=False, optimize=False)
        data = buffer.getvalue()
    at = 13 + 3 * 2 ** ((data[10] & 7) + 1)
    while data[at] == 0x21:  # extensions
        at += 2
        while data[at]:
            at += 1 + data[at]
        at += 1
    flags = data[at + 9]
    at += 10 + (3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0)
    return b"\x2c" + struct.pack("<HHHHB", box[0], box[1], *part.size, 0) + data[at:-1]


def _in_pieces(data: bytes) -> bytes:
    pieces = (data[i : i + _PIECE] for i in range(0, len(data), _PIECE))
    return b"".join(bytes([len(piece)]) + piece for piece in pieces) + b"\0"
