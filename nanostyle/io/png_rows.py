"""PNG read a few rows at a time, each group as a small PNG of its own.

Pillow undoes the filters: it is given the bytes of the rows as a picture with as many bytes to a pixel, below the row
before them. What then stands there without filters, it decodes as it would the whole.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from nanostyle.io import png

Bytes = npt.NDArray[np.uint8]

_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_LOOKS = {1: (0, 8), 2: (4, 8), 3: (2, 8), 4: (6, 8), 6: (2, 16), 8: (6, 16)}  # bytes of a pixel: kind, bits
_PIECE = 1 << 20
_MOST_CHUNKS = 64 << 20  # bytes of all chunks but the pixels
_MOST_ROW = 64 << 20  # bytes of one row


class PngRows:
    """A PNG whose rows can be read in order.

    Attributes
    ----------
    width, height : int
        Of the picture.
    row : int
        The bytes of a row.
    head : bytes
        A PNG of one row with all other chunks of the file: it tells whatever the file tells.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._pieces: list[tuple[int, int]] = []
        before, after = self._chunks()
        self.width, self.height, self._bits, self._kind = struct.unpack(">IIBB", before[0][1][:10])
        samples = _SAMPLES[self._kind]
        self.row = -(-self.width * samples * self._bits // 8)
        self._step = max(1, samples * self._bits // 8)
        self._needed = [(name, data) for name, data in before if name in (b"PLTE", b"tRNS")]
        blank = png.chunk(b"IDAT", zlib.compress(bytes(self.row + 1)))
        first = png.chunk(b"IHDR", self._ihdr(1))
        others = [b"".join(png.chunk(*one) for one in part) for part in (before[1:], after)]
        self.head = b"".join([png.SIGNATURE, first, others[0], blank, others[1], png.chunk(b"IEND", b"")])

    def _chunks(self) -> tuple[list[tuple[bytes, bytes]], list[tuple[bytes, bytes]]]:
        """The chunks before and after the pixels; notes where the pixels are."""
        parts: tuple[list[tuple[bytes, bytes]], list[tuple[bytes, bytes]]] = ([], [])
        total = 0
        self._file.seek(len(png.SIGNATURE))
        while len(head := self._file.read(8)) == 8:
            size, name = struct.unpack(">I4s", head)
            if name == b"IEND":
                break
            if name == b"IDAT":
                self._pieces.append((self._file.tell(), size))
                self._file.seek(size + 4, 1)
                continue
            total += size
            if total > _MOST_CHUNKS and self._pieces:
                break
            if total > _MOST_CHUNKS:
                raise ValueError("its texts are too long")
            data, check = self._file.read(size), self._file.read(4)
            if check != struct.pack(">I", zlib.crc32(name + data)):
                if self._pieces:  # what follows the pixels is no reason to lose them
                    break
                raise ValueError(f"broken PNG file (bad header checksum in {name!r})")
            parts[bool(self._pieces)].append((name, data))
        return parts

    def _ihdr(self, rows: int) -> bytes:
        return struct.pack(">IIBBBBB", self.width, rows, self._bits, self._kind, 0, 0, 0)

    def parts(self, rows: int) -> Iterator[bytes]:
        """The picture from above, `rows` rows at a time, each part a PNG."""
        above: Bytes | None = None
        for lines in self._filtered(rows):
            raw = self._unfiltered(lines, above)
            above = raw[-1].copy()
            yield _small(self._ihdr(len(raw)), raw, self._needed)

    def _filtered(self, rows: int) -> Iterator[Bytes]:
        """The rows as they are filtered, each after the byte that tells its filter."""
        stream, found, left = zlib.decompressobj(), bytearray(), self.height
        for data in self._packed():
            while data and left:
                need = min(rows, left) * (self.row + 1)
                found += stream.decompress(data, need - len(found))
                data = stream.unconsumed_tail
                if len(found) == need:
                    left -= need // (self.row + 1)
                    yield np.frombuffer(bytes(found), np.uint8).reshape(-1, self.row + 1)
                    found = bytearray()
            if not left:
                return
        raise ValueError("image file is truncated")

    def _packed(self) -> Iterator[bytes]:
        """The packed pixels, piece by piece."""
        for offset, size in self._pieces:
            self._file.seek(offset)
            for at in range(0, size, _PIECE):
                yield self._file.read(min(_PIECE, size - at))

    def _unfiltered(self, lines: Bytes, above: Bytes | None) -> Bytes:
        """The bytes of rows without their filters, below the row `above`."""
        kind, bits = _LOOKS[self._step]
        if above is not None:
            lines = np.concatenate([np.concatenate([np.zeros(1, np.uint8), above])[None], lines])
        ihdr = struct.pack(">IIBBBBB", self.row // self._step, len(lines), bits, kind, 0, 0, 0)
        data = b"".join([png.SIGNATURE, png.chunk(b"IHDR", ihdr), _stored(lines), png.chunk(b"IEND", b"")])
        raw = png.raw_bytes(data, kind, bits).reshape(len(lines), -1)
        return raw if above is None else raw[1:]


def open_png(file: BinaryIO) -> PngRows | None:
    """A PNG whose rows can be read in order; None where it is interlaced, animated or of no known kind."""
    chunks = png.chunks_before_pixels(file)
    ihdr = chunks.get(b"IHDR", b"")
    if len(ihdr) != 13 or b"acTL" in chunks or ihdr[10:13] != bytes(3) or ihdr[9] not in _SAMPLES:
        return None
    if ihdr[8] not in (1, 2, 4, 8, 16) or 0 in struct.unpack(">II", ihdr[:8]) or (ihdr[9] == 3) != (b"PLTE" in chunks):
        return None
    width = struct.unpack(">I", ihdr[:4])[0]
    return PngRows(file) if width * ihdr[8] * _SAMPLES[ihdr[9]] <= 8 * _MOST_ROW else None


def _small(ihdr: bytes, raw: Bytes, others: list[tuple[bytes, bytes]]) -> bytes:
    """A PNG of rows without filters."""
    lines = np.concatenate([np.zeros((len(raw), 1), np.uint8), raw], axis=1)
    kept = [png.chunk(*one) for one in others]
    return b"".join([png.SIGNATURE, png.chunk(b"IHDR", ihdr), *kept, _stored(lines), png.chunk(b"IEND", b"")])


def _stored(lines: Bytes) -> bytes:
    return png.chunk(b"IDAT", zlib.compress(lines.tobytes(), 0))
