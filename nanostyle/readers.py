"""Floor 3: the arrays in other programs' files: torch (.pth), safetensors, NumPy (.npz), Keras (HDF5).

`open_arrays` lists what a file holds; an array is read only when its `read` is called, so that the half gigabyte of a
VGG's classifier is passed over. No format's own library is needed, no code in a file is run, and every size is
checked against the bytes that are there before anything is allocated.
"""

import io
import json
import math
import os
import re
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Literal

import h5py
import numpy as np

from nanostyle import pickles
from nanostyle.pickles import Storage, TensorView
from nanostyle.untrusted import quoted, reading
from nanostyle.weightfile import datasets

KNOWN = ".pth (torch), .safetensors, .npz (NumPy), .h5 (Keras)"

_MAX_HEADER = 8 << 20
_MAX_NPY_HEADER = 1 << 16
_NPY_HEADER = re.compile(
    r"\{'descr': '(?P<descr>[<>|][fiub]\d{1,2})', 'fortran_order': (?P<fortran>True|False),"
    r" 'shape': \((?P<shape>[\d, ]{0,300})\),? *\} *\n?"
)
# The first two of the four pickles with which torch opened a file before 1.6.
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_VERSION = 1001

_SAFETENSORS_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1"}


@dataclass(frozen=True)
class Entry:
    """An array in a file: its shape and type are known, its numbers are read when `read()` is called."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[], np.ndarray]


@contextmanager
def open_arrays(path: str | os.PathLike[str]) -> Iterator[Mapping[str, Entry]]:
    """Open a file of weights, whose format is told by its first bytes: name -> Entry, in the order of the file.

    The entries can be read until the block ends; what goes wrong in the block is told as `untrusted.reading` does.

    Raises
    ------
    FileNotFoundError, OSError
        There is no such file, or it cannot be read.
    ValueError
        It is of none of the known formats, is damaged, or holds more than arrays.
    """
    with reading(path), Path(path).open("rb") as file:
        start = file.read(16)
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        suffix = Path(path).suffix.lower()
        if start.startswith(b"\x89HDF\r\n\x1a\n"):
            with h5py.File(path, "r") as hdf5:
                yield _hdf5_entries(hdf5)
        elif start.startswith(b"PK"):
            with zipfile.ZipFile(file) as archive:
                yield _zip_entries(archive, size)
        elif start[8:9] == b"{":
            yield _safetensors_entries(file, size)
        elif start.startswith(b"\x80") or suffix in (".pth", ".pt"):
            yield _legacy_entries(file)
        else:
            raise ValueError(f"its format is unknown; read are {KNOWN}, told by their contents")


# --- HDF5 -------------------------------------------------------------------------------------------------------


def _hdf5_entries(file: h5py.File) -> dict[str, Entry]:
    return {name: Entry(item.shape, item.dtype, partial(item.__getitem__, ())) for name, item in datasets(file)}


# --- zip: torch since 1.6, and NumPy ----------------------------------------------------------------------------


def _zip_entries(archive: zipfile.ZipFile, size: int) -> dict[str, Entry]:
    members = {member.filename: member for member in archive.infolist()}
    pickled = [name for name in members if name.endswith("/data.pkl")]
    if len(pickled) == 1:
        return _torch_entries(archive, members, pickled[0].removesuffix("data.pkl"), size)
    if all(name.endswith(".npy") for name in members):
        return {name.removesuffix(".npy"): _npy_entry(archive, member) for name, member in members.items()}
    raise ValueError(f"it is a zip of neither torch (data.pkl) nor NumPy (.npy); read are {KNOWN}")


def _torch_entries(
    archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo], folder: str, size: int
) -> dict[str, Entry]:
    """The tensors of `folder`data.pkl, whose numbers are in `folder`data/KEY."""
    # torch never compresses; a file that does, or whose members overlap, is made to unpack to more than it is.
    if any(m.compress_type != zipfile.ZIP_STORED for m in members.values()):
        raise ValueError("its members are compressed, which torch never does; refused as a zip bomb")
    if sum(m.file_size for m in members.values()) > size:
        raise ValueError("its members are larger than the file; refused as a zip bomb")
    order = members.get(folder + "byteorder")
    if order and archive.read(order) != b"little":
        raise ValueError("its numbers are big-endian; save it again on a machine of today")

    def numbers(storage: Storage) -> np.ndarray:
        member = members.get(f"{folder}data/{storage.key}")
        if member is None or member.file_size != storage.nbytes:
            raise ValueError(f"the data {quoted(storage.key)} are missing or not {storage.count} {storage.dtype}")
        return np.frombuffer(archive.read(member), storage.dtype)

    return _tensors(pickles.load(io.BytesIO(archive.read(folder + "data.pkl"))), numbers)


def _npy_entry(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Entry:
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


# --- torch before 1.6 -------------------------------------------------------------------------------------------


def _legacy_entries(file: BinaryIO) -> dict[str, Entry]:
    """Four pickles (magic number, version, sizes of C types, the object), the list of keys, then the storages."""
    magic = pickles.load(file)
    if magic != _LEGACY_MAGIC or pickles.load(file) != _LEGACY_VERSION:
        raise ValueError(f"it is a pickle, but not one of torch; read are {KNOWN}")
    pickles.load(file)
    storages: dict[str, Storage] = {}
    content = pickles.load(file, storages)
    keys = pickles.load(file)
    if not isinstance(keys, list) or set(keys) != set(storages):
        raise ValueError("its list of data is not that of its tensors")
    positions = {}
    position = file.tell()
    for key in keys:
        positions[key] = position
        position += 8 + storages[key].nbytes
    if position > file.seek(0, os.SEEK_END):
        raise ValueError("it is cut short: data of its tensors are missing")

    def numbers(storage: Storage) -> np.ndarray:
        file.seek(positions[storage.key])
        if int.from_bytes(file.read(8), "little") != storage.count:
            raise ValueError(f"the data {quoted(storage.key)} are not {storage.count} numbers")
        return np.frombuffer(file.read(storage.nbytes), storage.dtype)

    return _tensors(content, numbers)


def _tensors(content: object, numbers: Callable[[Storage], np.ndarray]) -> dict[str, Entry]:
    """The tensors of what a torch file holds: a state dict, or a dict with one in it, as in {epoch, model}."""
    dicts = [content, *content.values()] if isinstance(content, dict) else []
    named = [
        {k: v for k, v in d.items() if isinstance(k, str) and isinstance(v, TensorView)}
        for d in dicts
        if isinstance(d, dict)
    ]
    views = max(named, key=len, default={})

    def read(view: TensorView) -> np.ndarray:
        return view.of(numbers(view.storage))

    return {name: Entry(view.shape, view.storage.dtype, partial(read, view)) for name, view in views.items()}


# --- safetensors ------------------------------------------------------------------------------------------------


def _safetensors_entries(file: BinaryIO, size: int) -> dict[str, Entry]:
    """Eight bytes with the length of a JSON header (name -> dtype, shape, data_offsets), the header, the numbers."""
    length = int.from_bytes(file.read(8), "little")
    if length > min(size - 8, _MAX_HEADER):
        raise ValueError(f"its header claims {length} bytes; it is cut short or damaged")
    header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    return {name: _safetensors_entry(file, name, fields, 8 + length, size) for name, fields in header.items()}


def _safetensors_entry(file: BinaryIO, name: str, fields: dict[str, Any], base: int, size: int) -> Entry:
    shape, (begin, end) = tuple(fields["shape"]), fields["data_offsets"]
    code = _SAFETENSORS_TYPES.get(fields["dtype"])
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
