"""PNG beyond Pillow: 16 bits a sample, read and written, and the chunks that describe color spaces.

Source: Portable Network Graphics (PNG) Specification, third edition (2025).
"""

import io
import struct
import zlib
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from nanostyle.io.deep import Deep
from nanostyle.io.rgb_space import RGBSpace, from_code_points, from_gamma

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GRAY, _RGB, _GRAY_ALPHA, _RGBA = 0, 2, 4, 6
KINDS = (_GRAY, _GRAY_ALPHA, _RGB, _RGBA)
"""The kind of a picture of 1, 2, 3 and 4 samples a pixel."""


def chunks_before_pixels(file: BinaryIO) -> dict[bytes, bytes]:
    """Name -> contents of the short chunks (up to 4 KB) that come before the pixels; the first of each name."""
    found: dict[bytes, bytes] = {}
    file.seek(len(SIGNATURE))
    while len(head := file.read(8)) == 8 and len(found) < 1000:
        size, name = struct.unpack(">I4s", head)
        if name in (b"IDAT", b"IEND"):
            break
        if size <= 4096:
            found.setdefault(name, file.read(size))
            file.seek(4, io.SEEK_CUR)
        else:
            file.seek(size + 4, io.SEEK_CUR)
    return found


def color_space(chunks: dict[bytes, bytes], *, profiled: bool) -> RGBSpace | None:
    """The space that the chunks tell: cICP, before an ICC profile (`profiled`: None), before sRGB, before gAMA."""
    try:
        if b"cICP" in chunks:
            primaries, transfer, matrix, full_range = chunks[b"cICP"]
            space = from_code_points(primaries, transfer)
            if space is not None and matrix == 0 and full_range == 1:
                return space
        if profiled or b"sRGB" in chunks or b"gAMA" not in chunks:
            return None
        gamma = struct.unpack(">I", chunks[b"gAMA"])[0] / 100_000
        if b"cHRM" not in chunks:
            return from_gamma(gamma)
        n = [value / 100_000 for value in struct.unpack(">8I", chunks[b"cHRM"])]
        return from_gamma(gamma, [(n[2], n[3]), (n[4], n[5]), (n[6], n[7])], (n[0], n[1]))
    except (ValueError, struct.error, ArithmeticError, np.linalg.LinAlgError):
        return None


def read_deep(file: BinaryIO, chunks: dict[bytes, bytes]) -> Deep | None:
    """The picture of a PNG of 16 bits a sample, None for other PNGs."""
    kind, bits = chunks[b"IHDR"][9], chunks[b"IHDR"][8]
    if bits != 16:
        return None
    if kind == _GRAY:
        values = np.asarray(_decoded(file, None))[..., None].astype(np.uint16)
    elif kind == _GRAY_ALPHA:
        # A pixel's four bytes, as if they were red, green, blue and alpha.
        values = np.asarray(_decoded(file, "RGBA")).view(">u2")
    else:
        # Pillow keeps one byte of each sample: the upper one where it takes it for big-endian, else the lower one.
        mode = "RGB" if kind == _RGB else "RGBA"
        upper, lower = (np.asarray(_decoded(file, f"{mode};16{order}")) for order in "BL")
        values = upper.astype(np.uint16) << 8 | lower
    count = 1 if kind in (_GRAY, _GRAY_ALPHA) else 3
    alpha = values[..., count] if values.shape[-1] > count else _keyed(values, chunks.get(b"tRNS", b""))
    return Deep(_unit(values[..., :count]), None if alpha is None else _unit(alpha))


def _unit(values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    unit: npt.NDArray[np.float32] = values.astype(np.float32) / np.float32(65535)
    return unit


def _keyed(values: npt.NDArray[Any], key: bytes) -> npt.NDArray[np.uint16] | None:
    """Alpha of a picture with one transparent color, the `key` of the chunk tRNS."""
    if len(key) != 2 * values.shape[-1]:
        return None
    return np.where((values == np.frombuffer(key, ">u2")).all(axis=-1), 0, 65535).astype(np.uint16)


def _decoded(file: BinaryIO, raw_mode: str | None) -> Image.Image:
    """The picture with its bytes taken as `raw_mode` says; None: as Pillow does."""
    file.seek(0)
    image = Image.open(file, formats=["PNG"])
    if raw_mode is not None:
        image.tile = [tile._replace(args=raw_mode) for tile in image.tile]
    image.load()
    return image


def raw_bytes(data: bytes, kind: int, bits: int) -> npt.NDArray[np.uint8]:
    """The bytes of all pixels of a PNG of 8 bits a sample, or of RGB with 16, without their filters."""
    file = io.BytesIO(data)
    if bits == 8:
        return np.asarray(_decoded(file, None))
    mode = "RGB" if kind == _RGB else "RGBA"
    halves = [np.asarray(_decoded(file, f"{mode};16{order}")) for order in "BL"]
    return np.stack(halves, axis=-1)


def write_deep(values: npt.NDArray[np.uint16], others: bytes) -> bytes:
    """A PNG of 16 bits a sample: `values` (H, W, 1 to 4), and all other chunks as in the PNG `others`."""
    height, width, samples = values.shape
    kind = KINDS[samples - 1]
    rows = values.astype(">u2").view(np.uint8).reshape(height, -1)
    packed = zlib.compress(filtered(rows, 2 * samples), 6)
    kept = [chunk(name, data) for name, data in chunks_of(others) if name not in (b"IHDR", b"IDAT", b"IEND")]
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0))
    return b"".join([SIGNATURE, head, *kept, chunk(b"IDAT", packed), chunk(b"IEND", b"")])


def filtered(rows: npt.NDArray[np.uint8], step: int, above: npt.NDArray[np.uint8] | None = None) -> bytes:
    """The rows of bytes, each with the filter (none, left, up) whose result is smallest; `step` bytes are a pixel.

    `above` is the row before the first.
    """
    left, up = rows.copy(), rows.copy()
    left[:, step:] -= rows[:, :-step]
    up[1:] -= rows[:-1]
    if above is not None:
        up[0] -= above
    each = np.stack([rows, left, up])
    best = np.abs(each.view(np.int8).astype(np.int16)).sum(axis=2).argmin(axis=0)
    chosen = np.take_along_axis(each, best[None, :, None], axis=0)[0]
    return np.concatenate([best[:, None].astype(np.uint8), chosen], axis=1).tobytes()


def chunks_of(data: bytes) -> list[tuple[bytes, bytes]]:
    """Name and contents of each chunk of a PNG."""
    found, at = [], len(SIGNATURE)
    while at < len(data):
        size, name = struct.unpack(">I4s", data[at : at + 8])
        found.append((name, data[at + 8 : at + 8 + size]))
        at += size + 12
    return found


def chunk(name: bytes, data: bytes) -> bytes:
    """A chunk as it stands in a file."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
