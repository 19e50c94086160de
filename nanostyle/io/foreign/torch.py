"""The arrays in PyTorch files, old and new."""

import io
import os
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from typing import BinaryIO

import numpy as np

from nanostyle.errors import quoted
from nanostyle.io.foreign import pickles
from nanostyle.io.foreign.entry import KNOWN, Entry
from nanostyle.io.foreign.pickles import Storage, TensorView

# The first two of the four pickles with which torch opened a file before 1.6.
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_VERSION = 1001


def torch_entries(
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


# --- torch before 1.6 -------------------------------------------------------------------------------------------


def legacy_entries(file: BinaryIO) -> dict[str, Entry]:
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
