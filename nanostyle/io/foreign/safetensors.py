"""The arrays in .safetensors files."""

import json
import math
from typing import Any, BinaryIO

import numpy as np

from nanostyle.errors import quoted
from nanostyle.io.foreign.entry import Entry

_MAX_HEADER = 8 << 20

_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1"}


# --- safetensors ------------------------------------------------------------------------------------------------


def safetensors_entries(file: BinaryIO, size: int) -> dict[str, Entry]:
    """Eight bytes with the length of a JSON header (name -> dtype, shape, data_offsets), the header, the numbers."""
    length = int.from_bytes(file.read(8), "little")
    if length > min(size - 8, _MAX_HEADER):
        raise ValueError(f"its header claims {length} bytes; it is cut short or damaged")
    header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    return {name: _safetensors_entry(file, name, fields, 8 + length, size) for name, fields in header.items()}


def _safetensors_entry(file: BinaryIO, name: str, fields: dict[str, Any], base: int, size: int) -> Entry:
    shape, (begin, end) = tuple(fields["shape"]), fields["data_offsets"]
    code = _TYPES.get(fields["dtype"])
    if code is None:
        raise ValueError(f"{quoted(name)} is of type {quoted(str(fields['dtype']))}, which is not read; use F32")
    if not all(isinstance(n, int) and 0 <= n < 2**63 for n in (*shape, begin, end)) or len(shape) > 32:
        raise ValueError(f"the shape or the place of {quoted(name)} is not in whole numbers")
    dtype = np.dtype(code)
    if end - begin != math.prod(shape) * dtype.itemsize or base + end > size:
        raise ValueError(f"the place of {quoted(name)} does not fit its shape, or lies beyond the end: it is cut short")

    def read() -> np.ndarray:
        file.seek(base + begin)
        return np.frombuffer(file.read(end - begin), dtype).reshape(shape)

    return Entry(shape, dtype, read)
