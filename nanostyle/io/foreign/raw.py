"""A folder of raw float32 numbers, one file an array, with a `manifest.json` that tells their names and shapes.

So the Python part of deeplearn.js wrote the checkpoints of TensorFlow, and so ml5.js holds lengstrom's networks.
"""

import json
import math
from functools import partial
from pathlib import Path

import numpy as np

from nanostyle.errors import quoted
from nanostyle.io.foreign.entry import Entry

MANIFEST = "manifest.json"
_MOST_BYTES = 8 << 20


def raw_entries(manifest: Path) -> dict[str, Entry]:
    """The arrays that `manifest` names, which lie beside it.

    Raises
    ------
    ValueError
        It is no such manifest, names a file elsewhere, or a file has not the size of its shape.
    OSError
        A file is missing.
    """
    if manifest.stat().st_size > _MOST_BYTES:
        raise ValueError(f"it is larger than {_MOST_BYTES >> 20} MB; it is no list of arrays")
    listed = json.loads(manifest.read_bytes())
    if isinstance(listed, dict) and {"weightsManifest", "modelTopology"} & listed.keys():
        raise ValueError("it is a TensorFlow.js model, which is not read")
    if not isinstance(listed, dict) or not all(isinstance(fields, dict) for fields in listed.values()):
        raise ValueError("it is no list of arrays with file name and shape")
    return {name: _entry(manifest.parent, name, fields) for name, fields in listed.items()}


def _entry(folder: Path, name: str, fields: dict[str, object]) -> Entry:
    file, shape = fields.get("filename"), fields.get("shape")
    if not isinstance(file, str) or Path(file).name != file or "\\" in file:
        raise ValueError(f"{quoted(name)} has no file beside the manifest, but {quoted(str(file))}")
    if not isinstance(shape, list) or len(shape) > 32 or not all(isinstance(n, int) and n >= 0 for n in shape):
        raise ValueError(f"the shape of {quoted(name)} is not in whole numbers")
    path = folder / file
    if path.is_symlink() or path.stat().st_size != 4 * math.prod(shape):
        raise ValueError(f"{quoted(file)} has not the size that its shape asks for, or is a link")
    return Entry(tuple(shape), np.dtype("<f4"), partial(_read, path, tuple(shape)))


def _read(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    return np.fromfile(path, "<f4").reshape(shape)
