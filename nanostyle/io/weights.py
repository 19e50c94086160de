"""Weights files: HDF5 that describes its own network.

Root attributes say what the file is (`format`, `version`, `kind`, `config` as JSON, `source`, `license`); there is one
dataset per parameter, `conv1_1/weight` (K, K, Cin, Cout) and `conv1_1/bias` (Cout,). Parameters are stored as float32,
as float16, or in 8 bits: q·scale + offset, with one scale and offset per output channel as attributes of the dataset,
or table[q], with a table of 256 values as an attribute. Datasets under `extras/` hold anything else (optimizer state,
thumbnails) exactly as it was given.
"""

import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import h5py
import numpy as np

from nanostyle.errors import quoted
from nanostyle.io.atomic import write
from nanostyle.io.quantize import CLUSTERS, cluster, quantize
from nanostyle.io.untrusted import reading

FORMAT = "nanostyle"
VERSION = 1

Storage: TypeAlias = Literal["float32", "float16", "uint8", "kmeans8"]
STORAGES: tuple[Storage, ...] = get_args(Storage)
"""How a file can keep the weights; `save_weights` says what each costs."""

# What the kinds of files are, in words.
_WORDS = {
    "features": "a loss network",
    "transformer": "a model of `nanostyle train`",
    "predictor": "a model for any painting",
    "style": "a saved style",
    "checkpoint": "the checkpoint of a training",
}

EXTRAS = "extras/"
# HDF5 keeps at most 64 KiB of attribute with an object.
_MAX_TEXT = 60_000
# HDF5's own filters, compiled into every build: deflate, shuffle, Fletcher's checksum. Others load code as plugins.
_OWN_FILTERS = {1, 2, 3}


@dataclass
class WeightFile:
    """The contents of a weights file.

    kind        "features" (a loss network), "transformer", "predictor", or what a caller names it
    config      the network's description, JSON values only
    parameters  name -> array; read from a file: float32 (or float64, where stored so), contiguous, read-only
    source      where the weights come from, in words
    license     the terms of use
    extras      name -> array of any dtype but objects, kept bit for bit
    """

    kind: str
    config: dict[str, Any]
    parameters: dict[str, np.ndarray]
    source: str
    license: str
    extras: dict[str, np.ndarray] = field(default_factory=dict)


# --- writing ----------------------------------------------------------------------------------------------------


def save_weights(path: str | os.PathLike[str], weights: WeightFile, *, storage: Storage | None = "float32") -> None:
    """Write `weights` to `path`, atomically.

    `storage` says how the parameters are kept: "float32"; "float16" (an eighth of a percent of error); "uint8" (each
    `…/weight` in 8 bits, at most half a 255th of its channel's range of error; the rest float32); "kmeans8" (each
    `…/weight` and `…/map` in 8 bits, as the 256 values that fit it best; the rest float32); or None: as they are.

    Raises
    ------
    ValueError
        A parameter is not finite, or does not fit into float16; the config is not JSON, or not under 60 KB.
    OSError
        The file cannot be written.
    """
    # In memory first: where a disk is full HDF5 cannot even close its file.
    with h5py.File("in memory", "w", driver="core", backing_store=False) as file:
        file.attrs["version"] = VERSION
        texts = {"format": FORMAT, "kind": weights.kind, "config": json.dumps(weights.config, allow_nan=False)}
        for name, text in (texts | {"source": weights.source, "license": weights.license}).items():
            _write_text(file, name, text)
        for name, array in weights.parameters.items():
            try:
                _write(file, name, np.asarray(array), storage)
            except ValueError as error:
                raise ValueError(f"cannot write {path}: {name} {error}") from error
        for name, array in weights.extras.items():
            file[EXTRAS + name] = array
        file.flush()
        data = file.id.get_file_image()
    write(path, data)


def _write_text(file: h5py.File, name: str, text: str) -> None:
    """Write text of fixed length: that of variable length is in HDF5's global heap, whose damage can hang a reader."""
    raw = text.encode()
    if len(raw) > _MAX_TEXT:
        raise ValueError(f"the {name} takes {len(raw)} bytes, at most {_MAX_TEXT}; arrays belong into extras")
    file.attrs.create(name, raw, dtype=h5py.string_dtype("utf-8", max(len(raw), 1)))


def _write(file: h5py.File, name: str, array: np.ndarray, storage: Storage | None) -> None:
    if not np.isfinite(array).all():
        raise ValueError("holds NaN or infinity")
    if storage == "uint8" and name.endswith("/weight"):
        file[name], scale, offset = quantize(array)
        file[name].attrs["scale"], file[name].attrs["offset"] = scale, offset
    elif storage == "kmeans8" and name.endswith(("/weight", "/map")):
        file[name], table = cluster(array)
        file[name].attrs["table"] = table
    elif storage is None or array.dtype.kind != "f":
        file[name] = array
    else:
        with np.errstate(over="ignore"):
            stored = array.astype(np.float16 if storage == "float16" else np.float32)
        if not np.isfinite(stored).all():
            raise ValueError(f"is too large for {stored.dtype}")
        file[name] = stored


# --- reading ----------------------------------------------------------------------------------------------------


def load_weights(path: str | os.PathLike[str], kind: str | tuple[str, ...] | None = None) -> WeightFile:
    """Read the weights in `path`, and check them; `kind` is the kind (or kinds) that the caller can use.

    Nothing larger than the file itself is ever read, and no code out of it is run.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is not a nanostyle file of this version and kind, is damaged or cut short, or its parameters are not finite.
    """
    kinds = (kind,) if isinstance(kind, str) else kind
    with reading(path), _opened(path) as file:
        weights = _read_header(file, kinds)
        size = Path(path).stat().st_size
        for name, dataset in datasets(file):
            stored = dataset.get_storage_size()
            if math.prod(dataset.shape) * dataset.dtype.itemsize != stored or stored > size:
                raise ValueError(f"{quoted(name)} is not all there, or is packed; the file is damaged")
            if name.startswith(EXTRAS):
                weights.extras[name.removeprefix(EXTRAS)] = values(dataset)
            else:
                weights.parameters[name] = _read_parameter(name, dataset)
    return weights


def _opened(path: str | os.PathLike[str]) -> h5py.File:
    if not h5py.is_hdf5(path):
        raise ValueError(f"it is no {FORMAT} file, which are HDF5; `nanostyle weights convert` reads other programs'")
    try:
        return h5py.File(path, "r", locking=False)
    except OSError as error:
        if error.errno is None and "truncated" in str(error):
            raise ValueError("it is cut short; get or make it again") from error
        raise


def datasets(file: h5py.File) -> Iterator[tuple[str, Any]]:
    """Each dataset of an HDF5 file and its path; anything a hostile file could do harm with is a ValueError.

    Datasets are h5py's `DatasetID`. To read a model through its classes `Group` and `Dataset` takes twice as long.
    Refused are links out of the file, virtual and external datasets, filters that are plugins, arrays of objects, and
    groups that contain themselves (every object is met once, which bounds the walk by the size of the file).
    """
    met = set()
    pending: list[tuple[str, Any]] = [("", file.id)]
    for path, group in pending:  # grows as it goes
        for key in group:
            name = path + key.decode("utf-8", "surrogateescape")
            if group.links.get_info(key).type != h5py.h5l.TYPE_HARD:
                raise ValueError(f"{quoted(name)} is a link; links are not followed")
            item = h5py.h5o.open(group, key)
            address = h5py.h5o.get_info(item).addr
            if address in met:
                raise ValueError(f"{quoted(name)} is in the file under two names")
            met.add(address)
            if isinstance(item, h5py.h5g.GroupID):
                pending.append((name + "/", item))
            elif isinstance(item, h5py.h5d.DatasetID):
                _check_dataset(name, item)
                yield name, item


def _check_dataset(name: str, dataset: Any) -> None:
    settings = dataset.get_create_plist()
    filters = {settings.get_filter(i)[0] for i in range(settings.get_nfilters())}
    if settings.get_layout() == h5py.h5d.VIRTUAL or settings.get_external_count() > 0:
        raise ValueError(f"{quoted(name)} keeps its numbers in another file")
    if not filters <= _OWN_FILTERS:
        raise ValueError(f"{quoted(name)} is packed with a plugin; only gzip is read")
    if dataset.get_space().get_simple_extent_type() == h5py.h5s.NULL or dataset.dtype.kind not in "fiub":
        raise ValueError(f"{quoted(name)} is not an array of numbers")


def values(dataset: Any) -> np.ndarray:
    """The numbers of a dataset, a `DatasetID`."""
    array = np.empty(dataset.shape, dataset.dtype)
    if array.size:
        dataset.read(h5py.h5s.ALL, h5py.h5s.ALL, array)
    return array


def _read_header(file: h5py.File, kinds: tuple[str, ...] | None) -> WeightFile:
    if "format" not in file.attrs or _text(file, "format") != FORMAT:
        raise ValueError(f"it is not a {FORMAT} file; `nanostyle weights convert` reads those of other programs")
    version = _attribute(file, "version", "iu")
    if version != VERSION:
        raise ValueError(f"it is of version {version}, this nanostyle reads version {VERSION}")
    kind = _text(file, "kind")
    if kinds and kind not in kinds:
        expected = " or ".join(_WORDS.get(k, k) for k in kinds)
        raise ValueError(f"it is {_WORDS.get(kind, f'a file of kind {quoted(kind)}')}, expected {expected}")
    config = json.loads(_text(file, "config"))
    if not isinstance(config, dict):
        raise ValueError("its config is not a JSON object")
    return WeightFile(kind, config, {}, _text(file, "source"), _text(file, "license"))


def _attribute(item: h5py.File | h5py.Dataset, name: str, kinds: str) -> np.ndarray:
    """An attribute whose dtype is of one of `kinds` (the letters of `dtype.kind`)."""
    if name not in item.attrs or item.attrs.get_id(name).dtype.kind not in kinds:
        raise ValueError(f"its attribute {name} is missing, or of another type")
    return np.asarray(item.attrs[name])


def _text(file: h5py.File, name: str) -> str:
    return bytes(_attribute(file, name, "S")).decode().rstrip("\0")


def _read_parameter(name: str, dataset: Any) -> np.ndarray:
    array = values(dataset)
    if h5py.h5a.exists(dataset, b"scale"):
        scale, offset = (_attribute(h5py.Dataset(dataset), part, "f") for part in ("scale", "offset"))
        if not (_is_channels(scale, array) and _is_channels(offset, array)):
            raise ValueError(f"{quoted(name)} needs a scale and an offset for each output channel")
        with np.errstate(over="ignore", invalid="ignore"):
            array = array * scale + offset
    elif h5py.h5a.exists(dataset, b"table"):
        table = _attribute(h5py.Dataset(dataset), "table", "f")
        if array.dtype != np.uint8 or table.dtype != np.float32 or table.shape != (CLUSTERS,):
            raise ValueError(f"{quoted(name)} needs indices of 8 bits and a table of {CLUSTERS} numbers")
        array = table[array]
    if array.dtype.kind == "f":
        array = array.astype(np.float64 if array.dtype.itemsize > 4 else np.float32, copy=False)
    if not np.isfinite(array).all():
        raise ValueError(f"{quoted(name)} holds NaN or infinity")
    array.flags.writeable = False
    return array


def _is_channels(value: np.ndarray, array: np.ndarray) -> bool:
    """Whether `value` is one float32 for each channel (the last axis) of `array`."""
    return array.ndim > 0 and value.dtype == np.float32 and value.shape == array.shape[-1:]
