"""The arrays in .npz files."""

import math
import re
import struct
import zipfile
from typing import Literal

import numpy as np

from nanostyle.errors import quoted
from nanostyle.io.foreign.entry import Entry

_MAX_NPY_HEADER = 1 << 16
_NPY_HEADER = re.compile(
    r"\{'descr': '(?P<descr>[<>|][fiub]\d{1,2})', 'fortran_order': (?P<fortran>True|False),"
    r" 'shape': \((?P<shape>[\d, ]{0,300})\),? *\} *\n?"
)


def npy_entry(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Entry:
    """An array as `numpy.lib.format` describes it: magic, version, length of the header, header, numbers.

    The header is a Python literal; only the one form that is in use is read, without Python's parser.
    """
    with archive.open(member) as file:
        start = file.read(_MAX_NPY_HEADER)
    form = "<H" if start[6:7] == b"\x01" else "<I"
    base = 8 + struct.calcsize(form)
    base, begin = base + struct.unpack(form, start[8:base])[0], base
    header = _NPY_HEADER.fullmatch(start[begin:base].decode("latin-1"))
    if not start.startswith(b"\x93NUMPY") or header is None:
        raise ValueError(f"{quoted(member.filename)} is not an array of numbers as NumPy writes it")
    dtype = np.dtype(header["descr"])
    order: Literal["C", "F"] = "F" if header["fortran"] == "True" else "C"
    shape = tuple(int(side) for side in header["shape"].split(",") if side.strip())
    if len(shape) > 32 or member.file_size != base + math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{quoted(member.filename)} has not the size that its shape asks for")

    def read() -> np.ndarray:
        return np.frombuffer(archive.read(member), dtype, offset=base).reshape(shape, order=order)

    return Entry(shape, dtype, read)
