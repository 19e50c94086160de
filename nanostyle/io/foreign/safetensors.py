"""The arrays in .safetensors files.

The file is eight bytes with the length of a JSON header, the header (name -> dtype, shape, data_offsets), and the
numbers. As its format asks, the numbers of the arrays lie one after another, with no byte shared and none left over.
"""

import json
import math
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from nanostyle.errors import quoted
from nanostyle.io.foreign.entry import Entry

_MAX_HEADER = 8 << 20

# BF16 is not a type of NumPy's: it is read as the upper half of a float32.
_TYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "u1",
    "BOOL": "?",
}


def safetensors_entries(file: BinaryIO, size: int) -> dict[str, Entry]:
    """The arrays of a .safetensors file of `size` bytes, which stands at its start.

    Raises
    ------
    ValueError
        The header is no JSON of that form, an array does not fit its place, or places overlap or leave bytes over.
    """
    length = int.from_bytes(file.read(8), "little")
    if length > min(size - 8, _MAX_HEADER):
        raise ValueError(f"its header claims {length} bytes; it is cut short or damaged")
    header = json.loads(file.read(length), object_pairs_hook=_unique)
    header.pop("__metadata__", None)
    base = 8 + length
    entries = {name: _entry(file, name, fields, base, size) for name, fields in header.items()}
    _check_places({name: fields["data_offsets"] for name, fields in header.items()}, size - base)
    return entries


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object whose names differ: of two arrays of one name a reader could show either."""
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("its header has a name twice")
    return made


def _check_places(places: dict[str, tuple[int, int]], size: int) -> None:
    """Are the `size` bytes after the header those of the arrays, each byte of exactly one?"""
    position = 0
    for name, (begin, end) in sorted(places.items(), key=lambda item: tuple(item[1])):
        if begin < position:
            raise ValueError(f"the numbers of {quoted(name)} overlap those of another array; the file is damaged")
        if begin > position:
            raise ValueError(f"{begin - position} bytes before the numbers of {quoted(name)} belong to no array")
        position = end
    if position != size:
        raise ValueError(f"{size - position} bytes at the end belong to no array; the file is damaged")


def _entry(file: BinaryIO, name: str, fields: dict[str, Any], base: int, size: int) -> Entry:
    shape, (begin, end), kind = tuple(fields["shape"]), fields["data_offsets"], fields["dtype"]
    code = _TYPES.get(kind)
    if code is None:
        raise ValueError(f"{quoted(name)} is of type {quoted(str(kind))}, which is not read; use F32")
    if not all(isinstance(n, int) and 0 <= n < 2**63 for n in (*shape, begin, end)) or len(shape) > 32:
        raise ValueError(f"the shape or the place of {quoted(name)} is not in whole numbers")
    stored = np.dtype(code)
    if end - begin != math.prod(shape) * stored.itemsize or base + end > size:
        raise ValueError(f"the place of {quoted(name)} does not fit its shape, or lies beyond the end: it is cut short")

    def read() -> npt.NDArray[Any]:
        file.seek(base + begin)
        numbers = np.frombuffer(file.read(end - begin), stored).reshape(shape)
        return (numbers.astype(np.uint32) << 16).view(np.float32) if kind == "BF16" else numbers

    return Entry(shape, np.dtype(np.float32) if kind == "BF16" else stored, read)
