"""TIFF read a few strips or rows of tiles at a time, each group as a small TIFF of its own."""

from collections.abc import Iterator
from itertools import accumulate
from typing import BinaryIO

from nanostyle.io import tiff
from nanostyle.io.tiff import every_of, first

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER, _ORIENTATION = 256, 257, 258, 259, 262, 266, 274
_OFFSETS, _SAMPLES, _ROWS, _COUNTS, _PLANAR, _PREDICTOR, _COLOR_MAP = 273, 277, 278, 279, 284, 317, 320
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_COUNTS, _INK_SET, _EXTRA, _FORMAT = 322, 323, 324, 325, 332, 338, 339
_SAME = [_WIDTH, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER, _SAMPLES, _PLANAR, _PREDICTOR, _COLOR_MAP]
_SAME += [_TILE_WIDTH, _TILE_HEIGHT, _INK_SET, _EXTRA, _FORMAT]

_MOST = 64 << 20  # bytes of one strip or row of tiles: what is larger is not read in parts


class TiffRows:
    """The first page of a TIFF, whose rows can be read in order.

    Attributes
    ----------
    width, height : int
        Of the picture.
    row : int
        The bytes of a row.
    """

    def __init__(self, file: BinaryIO, page: tiff.Page) -> None:
        self._file, self._tags = file, page.tags
        file.seek(0)
        self._order = file.read(2)
        tags = page.tags
        self.width, self.height = int(first(tags[_WIDTH])), int(first(tags[_HEIGHT]))
        count, self._bits = int(first(tags.get(_SAMPLES, 1))), int(first(tags.get(_BITS, 1)))
        self.row = -(-self.width * count * self._bits // 8)
        self._tiled = _TILE_WIDTH in tags
        self._planes = count if first(tags.get(_PLANAR, 1)) == 2 and count > 1 else 1
        own = first(tags[_TILE_HEIGHT] if self._tiled else tags.get(_ROWS, self.height))
        self._unit = int(own) if self._tiled else min(int(own), self.height)
        self._across = -(-self.width // int(first(tags[_TILE_WIDTH]))) if self._tiled else 1
        offsets, counts = (_TILE_OFFSETS, _TILE_COUNTS) if self._tiled else (_OFFSETS, _COUNTS)
        self._places = list(zip(every_of(tags[offsets]), every_of(tags[counts]), strict=True))
        if self._unit == self.height and self._planes == 1 and first(tags.get(_COMPRESSION, 1)) == 1:
            self._cut_up()

    def _cut_up(self) -> None:
        """Make many strips of the only one, which is not compressed."""
        ((offset, size),) = self._places
        self._unit = max(1, (1 << 16) // self.row)
        starts = range(0, min(size, self.height * self.row), self._unit * self.row)
        end = min(size, self.height * self.row)
        self._places = [(offset + at, min(self._unit * self.row, end - at)) for at in starts]

    @property
    def is_fine(self) -> bool:
        """Whether its strips are all there and none is too large."""
        full = -(-self.height // self._unit) * self._across * self._planes
        return len(self._places) == full and self._unit * self.row <= _MOST

    def parts(self, rows: int) -> Iterator[bytes]:
        """The picture from above, about `rows` rows at a time, each part a TIFF."""
        units = max(1, rows // self._unit)
        step = units * self._unit
        each = len(self._places) // self._planes
        for i, start in enumerate(range(0, self.height, step)):
            own = slice(i * units * self._across, (i + 1) * units * self._across)
            found = [place for plane in range(self._planes) for place in self._places[plane * each :][:each][own]]
            yield self._small(min(step, self.height - start), [self._data(*place) for place in found])

    def _data(self, offset: int, size: int) -> bytes:
        self._file.seek(offset)
        data = self._file.read(size)
        if len(data) < size:
            raise ValueError("it is shorter than its pixels")
        return data

    def _small(self, rows: int, data: list[bytes]) -> bytes:
        """A TIFF of some strips or tiles."""
        tags = {tag: every_of(self._tags[tag]) for tag in _SAME if tag in self._tags} | {_HEIGHT: (rows,)}
        offsets, counts = (_TILE_OFFSETS, _TILE_COUNTS) if self._tiled else (_OFFSETS, _COUNTS)
        if not self._tiled:
            tags[_ROWS] = (min(self._unit, rows),)
        sizes = [len(part) for part in data]
        tags[offsets] = tuple(accumulate(sizes[:-1], initial=8))
        tags[counts] = tuple(sizes)
        return tiff.with_directory(self._order + bytes(6) + b"".join(data), tags)


def open_tiff(file: BinaryIO) -> TiffRows | None:
    """A TIFF whose rows can be read in order.

    None where its first page is not the picture, lies on its side, is packed as JPEG or in one large strip, or lacks
    something.
    """
    found = tiff.pages(file)
    if not found or tiff.full_page(found) is not found[0]:
        return None
    tags = found[0].tags
    if first(tags.get(_ORIENTATION, 1)) != 1 or first(tags.get(_COMPRESSION, 1)) not in tiff.NO_LOSS:
        return None
    if first(tags.get(_PHOTOMETRIC, 1)) not in (0, 1, 2, 3, 5, 8):
        return None
    try:
        rows = TiffRows(file, found[0])
        return rows if rows.is_fine else None
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
