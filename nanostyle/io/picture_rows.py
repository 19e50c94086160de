"""Reading pictures that do not fit into memory: row by row into a temporary file, from which rows are read.

PNG and TIFF are decoded a few rows at a time. What cannot be, as a JPEG, is decoded in one piece, in bytes, which takes
a quarter of what floats take. The pixels are those of `image_read.load_image` to the bit.
"""

import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import BinaryIO, NamedTuple, TypeAlias

import numpy as np
from PIL import Image

from nanostyle.backend.ordered import side_by_side
from nanostyle.backend.rows import ArrayRows, Kept, Rows, combined
from nanostyle.backend.types import Pixels
from nanostyle.io import png
from nanostyle.io.atomic import sha256_of
from nanostyle.io.color import Space
from nanostyle.io.decoding import check_pixels, decoding, opened
from nanostyle.io.deep import Deep
from nanostyle.io.image_read import MAX_PIXELS, FileFacts, Picture, at_size, upright
from nanostyle.io.picture_file import Decoded, PictureFile, of_tiff, open_picture
from nanostyle.io.png_rows import PngRows, open_png
from nanostyle.io.resample import fitted
from nanostyle.io.resample_rows import resized
from nanostyle.io.rgb_space import RGBSpace
from nanostyle.io.tiff import is_tiff
from nanostyle.io.tiff_rows import TiffRows, open_tiff
from nanostyle.io.transparency_rows import fill_hidden_rows

MAX_PIXELS_IN_ROWS = 1 << 30
"""Pictures with more pixels than this are refused, although only rows of them are in memory."""

_PART = 4 << 20  # bytes of the rows that are decoded as one part, and three times the pixels of them at most
_AT_ONCE = 3  # parts that are worked on at the same time
_BAND = 64


@dataclass(frozen=True, eq=False)
class RowPicture(FileFacts):
    """A `Picture` of which rows are read.

    Attributes
    ----------
    pixels : Rows
        sRGB in 0..1, three channels.
    alpha : Rows or None
        One channel; None if the picture is opaque everywhere.
    in_one_piece : bool
        Whether the file was decoded in one piece, because its format or the way it lies admits no other.
    """

    pixels: Rows
    alpha: Rows | None
    in_one_piece: bool = False

    def whole(self, size: tuple[int, int] | None = None) -> Picture:
        """The picture in memory, at `size` (height, width) if one is given."""
        height, width = size or self.pixels.shape[:2]
        pixels = resized(self.pixels, (height, width)).read(0, height)
        alpha = None if self.alpha is None else resized(self.alpha, (height, width)).read(0, height)[..., 0]
        return Picture(pixels, alpha, **self.facts())


def rows_of(picture: Picture) -> RowPicture:
    """A picture in memory as one of which rows are read."""
    alpha = None if picture.alpha is None else ArrayRows(picture.alpha[..., None])
    return RowPicture(ArrayRows(picture.pixels), alpha, **picture.facts())


def load_rows(path: str | os.PathLike[str], *, size: int | None = None) -> RowPicture:
    """Read the picture at `path` into a temporary file, upright and in sRGB, at a long side of `size`.

    Raises as `load_image` does; the limit is `MAX_PIXELS_IN_ROWS` pixels for what is decoded in rows.
    """
    with opened(path) as file:
        digest = sha256_of(file)
        found = read_rows(file, str(path))
    found = replace(found, sha256=digest)
    return found if size is None else _at(found, fitted(found.pixels.shape[:2], size))


def size_in_rows(path: str | os.PathLike[str], *, size: int | None = None) -> tuple[int, int] | None:
    """Height and width of what `load_rows` would read, up to a turn by a quarter; None where reading it would fail."""
    try:
        with opened(path) as file, decoding(str(path)):
            rows = _in_rows(file)
            file.seek(0)
            width, height = (rows.width, rows.height) if rows else open_picture(file, str(path), MAX_PIXELS).size
    except Exception:  # reading it will say what is wrong
        return None
    return (height, width) if size is None else fitted((height, width), size)


def _in_rows(file: BinaryIO) -> PngRows | TiffRows | None:
    file.seek(0)
    start = file.read(16)
    if start.startswith(png.SIGNATURE):
        return open_png(file)
    return open_tiff(file) if is_tiff(start) else None


def read_rows(file: BinaryIO, name: str, max_pixels: int = MAX_PIXELS_IN_ROWS) -> RowPicture:
    """Read the picture in an open file, as `load_rows` does; errors call it `name`."""
    with decoding(name):
        rows = _in_rows(file)
        if rows is not None:
            check_pixels((rows.width, rows.height), name, max_pixels)
            head = _head(file, rows, name)
            if head.orientation == 1:
                return _kept(head, (rows.height, rows.width), _parts(rows, name))
    file.seek(0)
    head = open_picture(file, name, min(MAX_PIXELS, max_pixels))
    with decoding(name):
        decoded = _upright(head.decode(None), head.turn)
        image = decoded[0]
        size = image.color.shape[:2] if isinstance(image, Deep) else (image.height, image.width)
        return replace(_kept(head, size, _slices(decoded, size[0])), in_one_piece=True)


def _head(file: BinaryIO, rows: PngRows | TiffRows, name: str) -> PictureFile:
    """What the file tells of the picture."""
    if isinstance(rows, TiffRows):
        return of_tiff(file, name, MAX_PIXELS_IN_ROWS)
    return open_picture(io.BytesIO(rows.head), name, MAX_PIXELS)


Part: TypeAlias = Callable[[], Decoded]
"""Some rows of a picture, which are decoded when they are asked for."""


def _parts(rows: PngRows | TiffRows, name: str) -> Iterator[Part]:
    for part in rows.parts(max(1, _PART // max(rows.row, 3 * rows.width))):
        yield partial(_decoded, part, name)


def _decoded(part: bytes, name: str) -> Decoded:
    return open_picture(io.BytesIO(part), name, MAX_PIXELS_IN_ROWS).decode(None)


def _slices(decoded: Decoded, height: int) -> Iterator[Part]:
    """A picture that was decoded in one piece, a few rows at a time."""
    image, alpha = decoded
    for start in range(0, height, _BAND):
        rows = slice(start, min(start + _BAND, height))
        part: Deep | Image.Image
        if isinstance(image, Deep):
            part = Deep(image.color[rows], None if image.alpha is None else image.alpha[rows])
        else:
            part = image.crop((0, rows.start, image.width, rows.stop))
        yield partial(_same, (part, None if alpha is None else alpha[rows]))


def _same(decoded: Decoded) -> Decoded:
    return decoded


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _upright(decoded: Decoded, turn: int) -> Decoded:
    if turn == 1:
        return decoded
    image, alpha = decoded
    alpha = None if alpha is None else upright(alpha, turn)
    if isinstance(image, Deep):
        own = None if image.alpha is None else upright(image.alpha, turn)
        return Deep(upright(image.color, turn), own), alpha
    return image.transpose(_TURNS[turn]), alpha


class _Colors(NamedTuple):
    """Some rows in sRGB, and whether color and alpha are more than 8 bits."""

    color: Pixels
    alpha: Pixels | None
    is_deep: bool
    is_alpha_deep: bool


def _colors(part: Part, space: Space) -> _Colors:
    decoded = part()
    image, alpha = decoded
    is_deep = isinstance(image, Deep)
    size = image.color.shape[:2] if isinstance(image, Deep) else (image.height, image.width)
    return _Colors(*at_size(decoded, space, size), is_deep, is_deep or alpha is not None)


def _kept(head: PictureFile, size: tuple[int, int], parts: Iterator[Part]) -> RowPicture:
    """Decode the parts of a picture, from above, into temporary files: several at once."""
    pixels: Kept | None = None
    alpha: Kept | None = None
    least, start, bits = 1.0, 0, 8
    for color, own, is_deep, is_alpha_deep in side_by_side(partial(_colors, space=head.space), parts, _AT_ONCE):
        height, width = color.shape[:2]
        if width != size[1] or start + height > size[0]:
            raise ValueError("its parts differ in size")
        if pixels is None:
            bits = 16 if is_deep else 8
            pixels = Kept((*size, 3), np.float32 if is_deep or isinstance(head.space, RGBSpace) else np.uint8)
            alpha = None if own is None else Kept((*size, 1), np.float32 if is_alpha_deep else np.uint8)
        pixels.write(start, _stored(color, pixels))
        if alpha is not None and own is not None:
            alpha.write(start, _stored(own[..., None], alpha))
            least = min(least, float(own.min()))
        start += height
    if pixels is None or start < size[0]:
        raise ValueError(f"it ends after {start} of {size[0]} rows")
    clear = None if least >= 1 else alpha
    found = fill_hidden_rows(pixels, clear) if clear is not None and least <= 0 else pixels
    return RowPicture(
        found,
        clear,
        original=size,
        bits=bits,
        orientation=head.orientation,
        metadata=head.metadata,
        notes=head.notes,
    )


def _stored(values: Pixels, place: Kept) -> Pixels:
    """Floats as they are, or the bytes that they came from."""
    return values if place.dtype == np.float32 else np.rint(values * 255).astype(np.uint8)


def _at(found: RowPicture, size: tuple[int, int]) -> RowPicture:
    """The picture at `size` (height, width), colors weighted by alpha."""
    check_pixels(size[::-1], "the result", MAX_PIXELS_IN_ROWS)
    if found.alpha is None:
        return replace(found, pixels=resized(found.pixels, size))
    alpha = resized(found.alpha, size)
    weighted = resized(combined(np.multiply, found.pixels, found.alpha), size)
    return replace(found, pixels=combined(_divided, weighted, alpha), alpha=alpha)


def _divided(weighted: Pixels, alpha: Pixels) -> Pixels:
    color = np.divide(weighted, alpha, out=np.zeros_like(weighted), where=alpha > 0)
    return np.asarray(np.clip(color, 0, 1))
