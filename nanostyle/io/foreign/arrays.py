"""The arrays in other programs' files: torch, safetensors, ONNX, TensorFlow, NumPy, Keras (HDF5), raw float32.

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
from typing import BinaryIO

import h5py

from nanostyle.io.foreign.entry import KNOWN, Entry
from nanostyle.io.foreign.graphdef import graph_entries
from nanostyle.io.foreign.npz import npy_entry
from nanostyle.io.foreign.onnx import onnx_file
from nanostyle.io.foreign.raw import MANIFEST, raw_entries
from nanostyle.io.foreign.safetensors import safetensors_entries
from nanostyle.io.foreign.tflite import MAGIC, tflite_file
from nanostyle.io.foreign.torch import legacy_entries, torch_entries
from nanostyle.io.untrusted import reading
from nanostyle.io.weights import datasets, values


@contextmanager
def open_arrays(path: str | os.PathLike[str]) -> Iterator[Mapping[str, Entry]]:
    """Open a file of weights, whose format is told by its first bytes: name -> Entry, in the order of the file.

    A folder stands for the `manifest.json` in it. The entries can be read until the block ends; what goes wrong in the
    block is told as `untrusted.reading` does.

    Raises
    ------
    FileNotFoundError, OSError
        There is no such file, or it cannot be read.
    ValueError
        It is of none of the known formats, is damaged, or holds more than arrays.
    """
    path = Path(path)
    path = path / MANIFEST if (path / MANIFEST).is_file() else path
    with reading(path), path.open("rb") as file:
        start = file.read(16)
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        suffix = path.suffix.lower()
        if start.startswith(b"\x89HDF\r\n\x1a\n"):
            with h5py.File(path, "r", locking=False) as hdf5:
                yield _hdf5_entries(hdf5)
        elif start.startswith(b"PK"):
            with zipfile.ZipFile(file) as archive:
                yield _zip_entries(archive, size)
        elif suffix == ".json":
            yield raw_entries(path)
        elif start[8:9] == b"{":
            yield safetensors_entries(file, size)
        elif start.startswith(b"\x80") or suffix in (".pth", ".pt"):
            yield legacy_entries(file)
        elif start[4:8] == MAGIC:
            yield tflite_file(contents(file, size))
        elif told := _NOT_READ.get(suffix):
            raise ValueError(f"it is {told}, which is not read; read are {KNOWN}")
        elif start[:1] in (b"\x08", b"\x0a"):  # the first fields of an ONNX model and of a TensorFlow graph
            data = contents(file, size)
            yield onnx_file(data) if start[:1] == b"\x08" else graph_entries(data)
        else:
            raise ValueError(f"its format is unknown; read are {KNOWN}, told by their contents")


# What other programs have that is known and not read, by the suffix.
_NOT_READ = {
    ".t7": "a file of Lua's Torch",
    ".ckpt": "a checkpoint of TensorFlow",
    ".mlmodel": "a Core ML model",
}


def contents(file: BinaryIO, size: int) -> memoryview:
    """The contents of a file of Protocol Buffers, which has at most 2 GB by its own rule."""
    if size > 2**31:
        raise ValueError(f"it has {size / 1e9:.1f} GB; a file of this format has at most 2 GB")
    return memoryview(file.read(size))


# --- HDF5 -------------------------------------------------------------------------------------------------------


def _hdf5_entries(file: h5py.File) -> dict[str, Entry]:
    return {name: Entry(item.shape, item.dtype, partial(values, item)) for name, item in datasets(file)}


# --- zip: torch since 1.6, and NumPy ----------------------------------------------------------------------------


def _zip_entries(archive: zipfile.ZipFile, size: int) -> dict[str, Entry]:
    members = {member.filename: member for member in archive.infolist()}
    pickled = [name for name in members if name.endswith("/data.pkl")]
    if len(pickled) == 1:
        return torch_entries(archive, members, pickled[0].removesuffix("data.pkl"), size)
    if all(name.endswith(".npy") for name in members):
        return {name.removesuffix(".npy"): npy_entry(archive, member) for name, member in members.items()}
    raise ValueError(f"it is a zip of neither torch (data.pkl) nor NumPy (.npy); read are {KNOWN}")
