"""TIFF beyond Pillow: pages, and samples of any number and depth.

A TIFF's strips are read by having Pillow take them as a gray picture of bytes, as many in a row as the samples have;
NumPy makes samples of them. So all of libtiff's compressions serve for all kinds of pixels.

Source: TIFF Revision 6.0 (1992); Adobe Photoshop TIFF Technical Note 3 (2005) for floats and their predictor.
"""

import io
import struct
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import TiffImagePlugin
from PIL.TiffImagePlugin import ImageFileDirectory_v2 as Directory

_SUBFILE, _OLD_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 255, 256, 257, 258, 259, 262
_OFFSETS, _SAMPLES, _ROWS, _COUNTS, _PLANAR, _PREDICTOR, _EXTRA, _FORMAT = 273, 277, 278, 279, 284, 317, 338, 339
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_COUNTS, _SUB_IFDS, _FILL_ORDER = 322, 323, 324, 325, 330, 266
NO_LOSS = {1: 1, 5: 1400, 8: 1100, 32946: 1100, 32773: 64, 34925: 8000, 50000: 20000}
"""The compressions that lose nothing, with how many times its size the packed data can be at the most."""

_MOST_BYTES = 1 << 30
_KINDS = {1: "u", 2: "i", 3: "f"}
_MAX_PAGES = 10_000
_LONG = 4


@dataclass(frozen=True)
class Page:
    """A page of a TIFF: where its directory is, and what is in it."""

    offset: int
    tags: Directory

    @property
    def is_reduced(self) -> bool:
        """Whether it is a small copy of another page."""
        return bool(int(first(self.tags.get(_SUBFILE, 0))) & 1) or first(self.tags.get(_OLD_SUBFILE, 0)) == 2

    @property
    def area(self) -> int:
        """Pixels of the page."""
        return int(first(self.tags.get(_WIDTH, 0))) * int(first(self.tags.get(_HEIGHT, 0)))


def is_tiff(start: bytes) -> bool:
    """Whether a file that begins with `start` is a TIFF; of those of 64 bits, Pillow knows the little-endian ones."""
    return start[:4] in (b"II*\0", b"MM\0*", b"II+\0")


def pages(file: BinaryIO) -> list[Page]:
    """The pages of a TIFF, in order, and last those that stand in directories below its first page."""
    file.seek(0)
    head = file.read(16)
    head = head if head[2:4] == b"+\0" else head[:8]
    size = file.seek(0, io.SEEK_END)
    found: list[Page] = []
    offset = Directory(head, prefix=head[:2]).next
    while offset and offset not in [page.offset for page in found] and len(found) < _MAX_PAGES:
        directory = _directory(file, head, offset)
        found.append(Page(offset, directory))
        offset = directory.next
    below = found[0].tags.get(_SUB_IFDS, ()) if found else ()
    for offset in (below if isinstance(below, tuple) else (below,))[:50]:
        if isinstance(offset, int) and 0 < offset < size:
            found.append(Page(offset, _directory(file, head, offset)))
    return found


def _directory(file: BinaryIO, head: bytes, offset: int) -> Directory:
    directory = Directory(head, prefix=head[:2])
    file.seek(offset)
    directory.load(file)
    return directory


def full_page(found: list[Page]) -> Page:
    """The first page; where that is a small copy, the largest that is none."""
    if not found[0].is_reduced:
        return found[0]
    return max((page for page in found if not page.is_reduced), key=lambda page: page.area, default=found[0])


def beginning_with(data: bytes, page: Page) -> bytes:
    """The same TIFF with `page` as its first."""
    order = "<" if data[:2] == b"II" else ">"
    if data[2:4] == b"+\0":
        return data[:8] + struct.pack(order + "Q", page.offset) + data[16:]
    return data[:4] + struct.pack(order + "I", page.offset) + data[8:]


# --- samples


@dataclass(frozen=True, eq=False)
class Samples:
    """The samples of a page as they are stored: `values` (H, W, n), and what TIFF says of them."""

    values: npt.NDArray[Any]
    photometric: int
    extra: tuple[int, ...]


def is_beyond_pillow(page: Page) -> bool:
    """Whether Pillow would refuse the page, or drop bits of its colors; palettes, JPEG and one-bit pages it reads."""
    tags = page.tags
    bits, count = first(tags.get(_BITS, 1)), first(tags.get(_SAMPLES, 1))
    photometric = first(tags.get(_PHOTOMETRIC, 1))
    if first(tags.get(_COMPRESSION, 1)) not in NO_LOSS or photometric not in (0, 1, 2, 5, 8) or bits % 8:
        return False
    extra = count - {2: 3, 5: 4, 8: 3}.get(photometric, 1)
    if bits == 8:
        return bool((photometric in (5, 8) and extra > 0) or (photometric in (0, 1) and extra > 1))
    return bool(count > 1 or bits == 64 or (bits == 16 and first(tags.get(_FORMAT, 1)) != 1))


def samples(data: bytes, page: Page) -> Samples:
    """Decode the samples of a page for which `is_beyond_pillow`.

    Raises
    ------
    ValueError
        Its samples differ in depth, are of an unknown kind, or are more than the file can hold.
    """
    tags = page.tags
    width, height, count = (int(first(tags[tag])) for tag in (_WIDTH, _HEIGHT, _SAMPLES))
    bits, kinds = every_of(tags[_BITS]), every_of(tags.get(_FORMAT, (1,)))
    kind = _KINDS.get(kinds[0])
    if len({*bits}) > 1 or len({*kinds}) > 1 or kind is None or bits[0] not in (8, 16, 32, 64):
        raise ValueError(f"samples of {bits} bits and format {kinds} are not read")
    order = "<" if data[:2] == b"II" else ">"
    dtype = np.dtype(f"{order}{kind}{bits[0] // 8}")
    total = width * height * count * dtype.itemsize
    if min(width, height, count) < 1 or total > _MOST_BYTES:
        raise ValueError(f"{width} x {height} pixels of {count} samples of {bits[0]} bits are too many")
    if total > NO_LOSS[int(first(tags.get(_COMPRESSION, 1)))] * len(data) + (1 << 16):
        raise ValueError("it is shorter than its pixels")
    planar = first(tags.get(_PLANAR, 1)) == 2 and count > 1
    planes = range(count) if planar else (None,)
    parts = [_plane(data, tags, dtype, width, 1 if planar else count, plane) for plane in planes]
    values = np.concatenate(parts, axis=-1)
    return Samples(values, int(first(tags.get(_PHOTOMETRIC, 1))), every_of(tags.get(_EXTRA, ())))


def _plane(
    data: bytes, tags: Directory, dtype: np.dtype[Any], width: int, count: int, plane: int | None
) -> npt.NDArray[Any]:
    """The samples (H, W, count) of a page, or of one of its planes."""
    tiled = _TILE_WIDTH in tags
    across = int(first(tags[_TILE_WIDTH])) if tiled else width
    if across < 1:
        raise ValueError("its tiles are empty")
    padded = -(-width // across) * across
    per_pixel = count * dtype.itemsize
    offsets, counts = (_TILE_OFFSETS, _TILE_COUNTS) if tiled else (_OFFSETS, _COUNTS)
    kept = (_HEIGHT, _COMPRESSION, _ROWS, _TILE_HEIGHT, _FILL_ORDER)
    copy = {tag: every_of(tags[tag]) for tag in kept if tag in tags}
    copy |= {_WIDTH: (padded * per_pixel,), _BITS: (8,), _PHOTOMETRIC: (1,), _SAMPLES: (1,)}
    if tiled:
        copy[_TILE_WIDTH] = (across * per_pixel,)
    for tag in (offsets, counts):
        every = every_of(tags[tag])
        share = len(every) // int(first(tags[_SAMPLES])) if plane is not None else len(every)
        copy[tag] = every[(plane or 0) * share :][:share]
    image = TiffImagePlugin.TiffImageFile(io.BytesIO(with_directory(data, copy)))
    image.load()
    rows = np.asarray(image).reshape(image.height, padded // across, -1)
    tiles = _unpredicted(rows, int(first(tags.get(_PREDICTOR, 1))), dtype, across, count)
    return tiles.reshape(image.height, padded, count)[:, :width]


def with_directory(data: bytes, tags: Mapping[int, tuple[int, ...]]) -> bytes:
    """The TIFF `data` with one directory, behind its end, of numbers of 32 bits."""
    order = "<" if data[:2] == b"II" else ">"
    begin = len(data) + len(data) % 2
    after = begin + 2 + 12 * len(tags) + 4
    entries, values = struct.pack(order + "H", len(tags)), b""
    for tag in sorted(tags):
        numbers = struct.pack(f"{order}{len(tags[tag])}I", *tags[tag])
        place = numbers if len(numbers) == 4 else struct.pack(order + "I", after + len(values))
        entries += struct.pack(order + "HHI", tag, 4, len(tags[tag])) + place
        values += b"" if len(numbers) == 4 else numbers
    head = data[:2] + struct.pack(order + "HI", 42, begin)
    return b"".join([head, data[8:].ljust(begin - 8, b"\0"), entries, bytes(4), values])


def _unpredicted(
    rows: npt.NDArray[np.uint8], predictor: int, dtype: np.dtype[Any], width: int, count: int
) -> npt.NDArray[Any]:
    """The samples (H, tiles, width, count) of rows of bytes (H, tiles, …): what a predictor took off is added again."""
    shape = (*rows.shape[:2], width, count)
    if predictor == 3 and dtype.kind == "f":
        steps = np.cumsum(rows.reshape(*rows.shape[:2], -1, count), axis=2, dtype=np.uint8)
        planes = steps.reshape(*rows.shape[:2], dtype.itemsize, -1)  # the bytes of all samples, the highest first
        return np.asarray(np.ascontiguousarray(planes.swapaxes(2, 3)).view(dtype.newbyteorder(">")).reshape(shape))
    values = np.ascontiguousarray(rows).view(dtype).reshape(shape)
    if predictor == 2 and dtype.kind in "ui":
        return np.cumsum(values, axis=2, dtype=dtype.newbyteorder("="))
    if predictor not in (1, 2):
        raise ValueError(f"a predictor of kind {predictor} is not read")
    return values


def first(value: Any) -> Any:
    """The value of a tag, of several the first."""
    return value[0] if isinstance(value, tuple) else value


def every_of(value: Any) -> tuple[Any, ...]:
    """The values of a tag."""
    return value if isinstance(value, tuple) else (value,)


# --- writing


def write_tiff(values: npt.NDArray[Any], tags: Directory) -> bytes:
    """A TIFF of RGB: `values` (H, W, 3 or 4) of 8 or 16 bits, deflated, with the further `tags` (little-endian)."""
    file = io.BytesIO()
    rows = rows_of_strip(values.shape[1], values.shape[2] * values.itemsize)
    strips = (values[y : y + rows] for y in range(0, len(values), rows))
    write_strips(file, strips, values.shape, values.dtype, tags)
    return file.getvalue()


def rows_of_strip(width: int, size: int) -> int:
    """The rows that stand in one strip, where a pixel is `size` bytes."""
    return max(1, (1 << 18) // (width * size))


def write_strips(
    file: BinaryIO,
    strips: Iterable[npt.NDArray[Any]],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    tags: Directory,
) -> None:
    """Write a TIFF of RGB, of `shape` (H, W, 3 or 4), strip by strip, each of `rows_of_strip` rows."""
    height, width, count = shape
    rows = rows_of_strip(width, count * dtype.itemsize)
    fields: dict[int, Any] = {_WIDTH: width, _HEIGHT: height, _BITS: (8 * dtype.itemsize,) * count, _COMPRESSION: 8}
    fields |= {_PHOTOMETRIC: 2, _SAMPLES: count, _ROWS: rows, _PLANAR: 1, _PREDICTOR: 2}
    fields |= {_EXTRA: (2,)} if count == 4 else {}
    for tag, value in fields.items():
        tags[tag] = value
    # The directory comes first, and its length is known before what stands in it.
    number = -(-height // rows)
    begin = 8 + len(_directory_with(tags, [0] * number, [0] * number))
    file.write(bytes(begin))
    sizes = [file.write(_packed(strip)) for strip in strips]
    if begin + sum(sizes) >= 1 << 32:
        raise ValueError("a TIFF holds 4 GB")
    # Pillow counts the strips' offsets from the end of the directory.
    offsets = [0, *np.cumsum(sizes[:-1]).tolist()]
    file.seek(0)
    file.write(b"".join([b"II*\0", struct.pack("<I", 8), _directory_with(tags, offsets, sizes)]))


def _directory_with(tags: Directory, offsets: list[int], sizes: list[int]) -> bytes:
    """The directory of a TIFF whose strips have these offsets and sizes, each told in 32 bits."""
    for tag, values in ((_OFFSETS, offsets), (_COUNTS, sizes)):
        tags.tagtype[tag] = _LONG
        tags[tag] = tuple(values)
    directory: bytes = tags.tobytes(8)
    return directory


def _packed(strip: npt.NDArray[Any]) -> bytes:
    little = strip.astype(strip.dtype.newbyteorder("<"))
    steps = little.copy()
    steps[:, 1:] -= little[:, :-1]
    return zlib.compress(steps.tobytes(), 6)
