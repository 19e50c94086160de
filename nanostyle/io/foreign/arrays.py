"""The arrays in other programs' files: torch (.pth), safetensors, NumPy (.npz), Keras (HDF5).

`open_arrays` lists what a file holds; an array is read only when its `read` is called, so that the half gigabyte of a
VGG's classifier is passed over. No format's own library is needed, no code in a file is run, and every size is
checked against the bytes that are there before anything is allocated.
"""

import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import h5py

from nanostyle.io.foreign.entry import KNOWN, Entry
from nanostyle.io.foreign.npz import npy_entry
from nanostyle.io.foreign.safetensors import safetensors_entries
from nanostyle.io.foreign.torch import legacy_entries, torch_entries
from nanostyle.io.untrusted import reading
from nanostyle.io.weights import datasets


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
            with h5py.File(path, "r", locking=False) as hdf5:
                yield _hdf5_entries(hdf5)
        elif start.startswith(b"PK"):
            with zipfile.ZipFile(file) as archive:
                yield _zip_entries(archive, size)
        elif start[8:9] == b"{":
            yield safetensors_entries(file, size)
        elif start.startswith(b"\x80") or suffix in (".pth", ".pt"):
            yield legacy_entries(file)
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
        return torch_entries(archive, members, pickled[0].removesuffix("data.pkl"), size)
    if all(name.endswith(".npy") for name in members):
        return {name.removesuffix(".npy"): npy_entry(archive, member) for name, member in members.items()}
    raise ValueError(f"it is a zip of neither torch (data.pkl) nor NumPy (.npy); read are {KNOWN}")
