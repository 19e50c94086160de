"""Writing pictures of which rows are read: PNG and TIFF a few rows at a time, others from all bytes."""

import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from nanostyle.backend.rows import USUAL, Banding, Rows, banding, each_band
from nanostyle.io import png, tiff
from nanostyle.io.atomic import writing
from nanostyle.io.formats import HOLDS_DEEP, format_of
from nanostyle.io.image_write import encode_bytes, options_for, other_chunks, samples_of, tags_of
from nanostyle.io.metadata import Metadata


def save_rows(
    path: str | os.PathLike[str],
    pixels: Rows,
    *,
    alpha: Rows | None = None,
    overwrite: bool = True,
    **about: Any,
) -> None:
    """Write a picture as `save_image` does; `about` are its further options."""
    with writing(path, overwrite=overwrite) as file:
        write_rows(file, format_of(Path(path)), pixels, alpha=alpha, **about, name=str(path))


def write_rows(
    file: BinaryIO,
    kind: str,
    pixels: Rows,
    *,
    alpha: Rows | None = None,
    recipe: Mapping[str, Any] | None = None,
    quality: int = 95,
    bits: int = 8,
    metadata: Metadata | None = None,
    name: str = "the picture",
    memory: int = USUAL,
) -> None:
    """Write a picture in the format `kind` to an open file, in bands that take `memory` bytes, about.

    The other parameters and errors are those of `encode_image`.
    """
    height, width, _ = pixels.shape
    how = banding(width, memory)
    bits = 16 if bits > 8 and kind in HOLDS_DEEP else 8
    shape = height, width, 3 if alpha is None else 4
    options = options_for(kind, metadata, recipe, shape[:2])
    if kind == "PNG":
        _write_png(file, _samples(pixels, alpha, bits, how), shape, bits, other_chunks(options))
    elif kind == "TIFF":
        rows = tiff.rows_of_strip(width, shape[2] * bits // 8)
        whole_strips = how._replace(rows=-(-how.rows // rows) * rows)
        strips = _samples(pixels, alpha, bits, whole_strips)
        tiff.write_strips(file, _cut(strips, rows), shape, np.dtype(f"u{bits // 8}"), tags_of(options))
    else:
        values = np.empty(shape, np.uint8)
        start = 0
        for part in _samples(pixels, alpha, 8, how):
            values[start : start + len(part)] = part
            start += len(part)
        file.write(encode_bytes(kind, Image.fromarray(values), options, quality=quality, name=name))


def _samples(pixels: Rows, alpha: Rows | None, bits: int, how: Banding) -> Iterator[npt.NDArray[Any]]:
    """The rows as whole steps, band by band; the next ones are computed while one is written."""

    def compute(start: int, stop: int) -> npt.NDArray[Any]:
        own = None if alpha is None else alpha.read(start, stop)[..., 0]
        return samples_of(pixels.read(start, stop), own, bits)

    return each_band(compute, pixels.shape[0], how)


def _cut(parts: Iterator[npt.NDArray[Any]], rows: int) -> Iterator[npt.NDArray[Any]]:
    """The rows of `parts`, so many at a time."""
    for values in parts:
        yield from (values[y : y + rows] for y in range(0, len(values), rows))


def _write_png(
    file: BinaryIO, parts: Iterator[npt.NDArray[Any]], shape: tuple[int, int, int], bits: int, others: bytes
) -> None:
    height, width, samples = shape
    ihdr = struct.pack(">IIBBBBB", width, height, bits, png.KINDS[samples - 1], 0, 0, 0)
    kept = [png.chunk(*one) for one in png.chunks_of(others) if one[0] not in (b"IHDR", b"IDAT", b"IEND")]
    file.write(b"".join([png.SIGNATURE, png.chunk(b"IHDR", ihdr), *kept]))
    stream, above = zlib.compressobj(6), None
    for values in parts:
        raw = values.astype(f">u{bits // 8}").view(np.uint8).reshape(len(values), -1)
        if packed := stream.compress(png.filtered(raw, samples * bits // 8, above)):
            file.write(png.chunk(b"IDAT", packed))
        above = raw[-1].copy()
    file.write(png.chunk(b"IDAT", stream.flush()) + png.chunk(b"IEND", b""))
