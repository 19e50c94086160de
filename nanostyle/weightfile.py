"""Floor 3: networks on disk, as HDF5 that describes itself.

Root attributes say what the file is (`format`, `version`, `kind`, `config` as JSON, `source`, `license`); there is one
dataset per parameter, `conv1_1/weight` (K, K, Cin, Cout) and `conv1_1/bias` (Cout,). Parameters are stored as float32,
as float16, or in 8 bits: q·scale + offset, with one scale and offset per output channel as attributes of the dataset.
Datasets under `extras/` hold anything else (optimiser state, thumbnails) exactly as it was given.
"""

import hashlib
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import h5py
import numpy as np

from nanostyle.files import write
from nanostyle.untrusted import quoted, reading

FORMAT = "nanostyle"
VERSION = 1
# Networks known by name: their files, and the command that makes or gets one.
FILES = {"builtin": "loss.h5", "vgg16": "vgg16.h5", "vgg19": "vgg19.h5", "any": "any.h5", "styles": "styles.h5"}
LOSS_NETWORKS, TRAINED = ("builtin", "vgg16", "vgg19"), ("any", "styles")
_COMMANDS = {
    "builtin": "nanostyle weights fetch vgg19",
    "vgg16": "nanostyle weights fetch vgg16",
    "vgg19": "nanostyle weights fetch vgg19",
    "any": "nanostyle train --mode predict",
    "styles": "nanostyle train --mode cin",
}

Storage: TypeAlias = Literal["float32", "float16", "uint8"] | None

# What the kinds of files are, in words.
_WORDS = {
    "features": "a loss network",
    "transformer": "a model of `nanostyle train`",
    "predictor": "a model for any painting",
    "style": "a style of --save-style",
    "checkpoint": "the checkpoint of a training",
}

_EXTRAS = "extras/"
# HDF5 keeps at most 64 KiB of attribute with an object.
_MAX_TEXT = 60_000
_LAYER = re.compile(r"(conv|relu|pool)\d+(_\d+)?")
# HDF5's own filters, compiled into every build: deflate, shuffle, Fletcher's checksum. Others load code as plugins.
_OWN_FILTERS = {1, 2, 3}


@dataclass
class WeightFile:
    """What a file of weights holds.

    kind        "features" (a loss network), "transformer", "predictor", or what a caller names it
    config      the network's description, JSON values only; for "features" see `check_features`
    parameters  name -> array; read from a file: float32 (or float64, where stored so), contiguous, read-only
    source      where the weights come from, in words
    license     under what terms
    extras      name -> array of any dtype but objects, kept bit for bit
    """

    kind: str
    config: dict[str, Any]
    parameters: dict[str, np.ndarray]
    source: str
    license: str
    extras: dict[str, np.ndarray] = field(default_factory=dict)


# --- writing ----------------------------------------------------------------------------------------------------


def save(path: str | os.PathLike[str], weights: WeightFile, *, storage: Storage = "float32") -> None:
    """Write `weights` to `path`, atomically.

    `storage` says how the parameters are kept: "float32", "float16" (an eighth of a percent of error), "uint8" (each
    `…/weight` in 8 bits, at most half a 255th of its channel's range of error; the rest float32), or None: as they are.

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
            file[_EXTRAS + name] = array
        file.flush()
        data = file.id.get_file_image()
    write(path, data)


def _write_text(file: h5py.File, name: str, text: str) -> None:
    """Of fixed length: text of variable length is kept in HDF5's global heap, which can hang a reader when damaged."""
    raw = text.encode()
    if len(raw) > _MAX_TEXT:
        raise ValueError(f"the {name} takes {len(raw)} bytes, at most {_MAX_TEXT}; arrays belong into extras")
    file.attrs.create(name, raw, dtype=h5py.string_dtype("utf-8", max(len(raw), 1)))


def _write(file: h5py.File, name: str, array: np.ndarray, storage: Storage) -> None:
    if not np.isfinite(array).all():
        raise ValueError("holds NaN or infinity")
    if storage == "uint8" and name.endswith("/weight"):
        file[name], scale, offset = quantise(array)
        file[name].attrs["scale"], file[name].attrs["offset"] = scale, offset
    elif storage is None or array.dtype.kind != "f":
        file[name] = array
    else:
        with np.errstate(over="ignore"):
            stored = array.astype(np.float16 if storage == "float16" else np.float32)
        if not np.isfinite(stored).all():
            raise ValueError(f"is too large for {stored.dtype}")
        file[name] = stored


def quantise(array: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`array` (…, M) in 8 bits: q (…, M), scale (M,), offset (M,), with array ≈ q·scale + offset."""
    axes = tuple(range(array.ndim - 1))
    low, high = array.min(axes).astype(np.float32), array.max(axes).astype(np.float32)
    scale = (high - low) / np.float32(255)
    steps = np.divide(array - low, scale, out=np.zeros(array.shape, np.float32), where=scale > 0)
    return np.rint(steps).clip(0, 255).astype(np.uint8), scale, low


# --- reading ----------------------------------------------------------------------------------------------------


def load(path: str | os.PathLike[str], kind: str | tuple[str, ...] | None = None) -> WeightFile:
    """Read the weights in `path`, and check them; `kind` is the kind (or kinds) that the caller can use.

    Nothing larger than the file itself is ever read, and no code out of it is run.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is not a nanostyle file of this version and kind, is damaged or cut short, or its parameters are not finite
        or, for "features", not those of the network that the config describes.
    """
    kinds = (kind,) if isinstance(kind, str) else kind
    with reading(path), _opened(path) as file:
        weights = _read_header(file, kinds)
        size = Path(path).stat().st_size
        for name, dataset in datasets(file):
            if dataset.nbytes != dataset.id.get_storage_size() or dataset.nbytes > size:
                raise ValueError(f"{quoted(name)} is not all there, or is packed; the file is damaged")
            if name.startswith(_EXTRAS):
                weights.extras[name.removeprefix(_EXTRAS)] = np.asarray(dataset[()])
            else:
                weights.parameters[name] = _read_parameter(name, dataset)
        if weights.kind == "features":
            check_features(weights)
    return weights


def _opened(path: str | os.PathLike[str]) -> h5py.File:
    if not h5py.is_hdf5(path):
        raise ValueError(f"it is no {FORMAT} file, which are HDF5; `nanostyle weights convert` reads other programs'")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        if error.errno is None and "truncated" in str(error):
            raise ValueError("it is cut short; get or make it again") from error
        raise


def datasets(file: h5py.File) -> Iterator[tuple[str, h5py.Dataset]]:
    """Each dataset of an HDF5 file and its path; what a hostile file could do harm with is a ValueError.

    That is: links out of the file, virtual and external datasets, filters that are plugins, arrays of objects, and
    groups that contain themselves (every object is met once, which bounds the walk by the size of the file).
    """
    met = set()
    pending: list[tuple[str, h5py.Group]] = [("", file)]
    for path, group in pending:  # grows as it goes
        for key in group:
            name = path + key
            if not isinstance(group.get(key, getlink=True), h5py.HardLink):
                raise ValueError(f"{quoted(name)} is a link; links are not followed")
            item = group[key]
            address = h5py.h5o.get_info(item.id).addr
            if address in met:
                raise ValueError(f"{quoted(name)} is in the file under two names")
            met.add(address)
            if isinstance(item, h5py.Group):
                pending.append((name + "/", item))
            elif isinstance(item, h5py.Dataset):
                _check_dataset(name, item)
                yield name, item


def _check_dataset(name: str, dataset: h5py.Dataset) -> None:
    settings = dataset.id.get_create_plist()
    filters = {settings.get_filter(i)[0] for i in range(settings.get_nfilters())}
    if dataset.is_virtual or dataset.external:
        raise ValueError(f"{quoted(name)} keeps its numbers in another file")
    if not filters <= _OWN_FILTERS:
        raise ValueError(f"{quoted(name)} is packed with a plugin; only gzip is read")
    if dataset.shape is None or dataset.dtype.kind not in "fiub":
        raise ValueError(f"{quoted(name)} is not an array of numbers")


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


def _read_parameter(name: str, dataset: h5py.Dataset) -> np.ndarray:
    array = np.asarray(dataset[()])
    if "scale" in dataset.attrs:
        scale, offset = (_attribute(dataset, part, "f") for part in ("scale", "offset"))
        if not (_is_channels(scale, array) and _is_channels(offset, array)):
            raise ValueError(f"{quoted(name)} needs a scale and an offset for each output channel")
        with np.errstate(over="ignore", invalid="ignore"):
            array = array * scale + offset
    if array.dtype.kind == "f":
        array = array.astype(np.float64 if array.dtype.itemsize > 4 else np.float32, copy=False)
    if not np.isfinite(array).all():
        raise ValueError(f"{quoted(name)} holds NaN or infinity")
    array.flags.writeable = False
    return array


def _is_channels(value: np.ndarray, array: np.ndarray) -> bool:
    """Is `value` one float32 for each channel (the last axis) of `array`?"""
    return array.ndim > 0 and value.dtype == np.float32 and value.shape == array.shape[-1:]


# --- loss networks ----------------------------------------------------------------------------------------------


def check_features(weights: WeightFile) -> None:
    """Check that the config of a loss network (kind "features") is whole, and that its parameters are those it names.

    The config: `layers`, names in order, each a conv, a relu or a pool by its prefix; `padding` "zero" or "reflect";
    `pooling` "max" or "avg"; `preprocess`: `order` ("RGB" or "BGR"), `scale`, `mean`, `std`, by which a picture in 0..1
    becomes (picture[..., order]·scale - mean) / std. Each conv has `NAME/weight` (K, K, Cin, Cout), K odd, and
    `NAME/bias` (Cout,); the channels chain, from 3. A relu may have `NAME/map` (C, M), through which it is read.

    Raises
    ------
    ValueError
        One line that lists what differs.
    """
    wrong = _wrong_config(weights.config) or _wrong_parameters(weights.config["layers"], weights.parameters)
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise ValueError("the loss network differs from its description: " + "; ".join(wrong[:5]) + more)


def _wrong_config(config: dict[str, Any]) -> list[str]:
    wrong = []
    layers = config.get("layers")
    if not isinstance(layers, list) or not all(isinstance(x, str) and _LAYER.fullmatch(x) for x in layers):
        wrong.append("layers must be a list of names such as conv1_1, relu1_1, pool1")
    elif len(set(layers)) != len(layers) or not layers:
        wrong.append("layers must have at least one name, and each once")
    if config.get("padding") not in ("zero", "reflect"):
        wrong.append("padding must be zero or reflect")
    if config.get("pooling") not in ("max", "avg"):
        wrong.append("pooling must be max or avg")
    pre = config.get("preprocess")
    if not isinstance(pre, dict) or pre.get("order") not in ("RGB", "BGR"):
        wrong.append("preprocess must have the order RGB or BGR")
    elif not (_are_numbers([pre.get("scale")], 1) and _are_numbers(pre.get("mean"), 3)):
        wrong.append("preprocess must have one scale and three means")
    elif not _are_numbers(pre.get("std"), 3) or min(pre["std"]) <= 0:
        wrong.append("preprocess must have three positive std")
    return wrong


def _are_numbers(values: object, count: int) -> bool:
    if not isinstance(values, list) or len(values) != count:
        return False
    return all(isinstance(v, int | float) and abs(v) < 1e9 for v in values)


def _wrong_parameters(layers: list[str], parameters: Mapping[str, np.ndarray]) -> list[str]:
    wrong = []
    left = set(parameters)
    channels = 3
    for layer in layers:
        if layer.startswith("relu") and (matrix := parameters.get(f"{layer}/map")) is not None:
            left.remove(f"{layer}/map")
            if matrix.ndim != 2 or matrix.shape[0] != channels:
                wrong.append(f"{layer}/map is {matrix.shape}, must be ({channels}, M)")
        if not layer.startswith("conv"):
            continue
        weight, bias = (parameters.get(f"{layer}/{part}") for part in ("weight", "bias"))
        left -= {f"{layer}/weight", f"{layer}/bias"}
        if weight is None or bias is None:
            wrong.append(f"{layer} lacks its weight or its bias")
            continue
        side = weight.shape[0] if weight.ndim else 0
        if weight.ndim != 4 or side % 2 == 0 or weight.shape[:3] != (side, side, channels):
            wrong.append(f"{layer}/weight is {weight.shape}, must be (K, K, {channels}, Cout) with K odd")
        channels = weight.shape[-1] if weight.ndim else channels
        if bias.shape != (channels,):
            wrong.append(f"{layer}/bias is {bias.shape}, must be ({channels},)")
    return wrong + [f"{quoted(name)} belongs to no layer" for name in sorted(left)]


# --- where files are --------------------------------------------------------------------------------------------


def cache_folder() -> Path:
    """The user's folder for files that can be had again."""
    if os.name == "nt":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "nanostyle"


def find(name: str | os.PathLike[str], among: Collection[str] = tuple(FILES)) -> Path:
    """The file of a network: `name` is one of those in `among`, or the path of a file.

    A name is looked for in the folder `NANOSTYLE_WEIGHTS` names, in the package, in a checkout, in the user's cache.

    Raises
    ------
    FileNotFoundError
        It lists each file looked for, and the command that gets one.
    ValueError
        `name` is no network's name, and does not look like the name of a file.
    """
    path = Path(name)
    if str(name) not in among:
        if path.exists():
            return path
        if path.suffix or len(path.parts) > 1:
            raise FileNotFoundError(f"there is no file {path}; known by name are {', '.join(among)}")
        raise ValueError(f"there is no network {path}; known are {', '.join(among)}, or give a file")
    candidates = places(str(name))
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(
        f"there are no weights for {name}: looked for {', '.join(map(str, candidates))}; "
        f"get {'others' if name == 'builtin' else 'them'} with: {_COMMANDS[str(name)]}"
    )


def places(name: str) -> list[Path]:
    """Where the file of the network called `name` is looked for, in this order."""
    package = Path(__file__).resolve().parent
    own = os.environ.get("NANOSTYLE_WEIGHTS")
    installed = [package / "weights"]
    checkout = [package.parent / "weights" / "builtin", package.parent / "weights"]
    here = checkout if (package.parent / "pyproject.toml").is_file() else installed
    return [folder / FILES[name] for folder in [*([Path(own)] if own else []), *here, cache_folder()]]


def sha256(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def describe(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What `nanostyle weights info` prints of a file: label -> text or number, in order. Raises what `load` does."""
    weights = load(path)
    config = weights.config
    with reading(path), h5py.File(path, "r") as file:
        stored = {str(item.dtype) for name, item in datasets(file) if not name.startswith(_EXTRAS)}
    pre = config.get("preprocess")
    return {
        "file": str(path),
        "kind": weights.kind,
        "architecture": config.get("architecture", "not stated"),
        "layers": " ".join(config.get("layers", [])),
        "padding": config.get("padding", ""),
        "pooling": config.get("pooling", ""),
        "preprocessing": json.dumps(pre) if pre else "",
        "parameters": sum(array.size for array in weights.parameters.values()),
        "storage": ", ".join(sorted(stored)),
        "bytes": Path(path).stat().st_size,
        "source": weights.source,
        "license": weights.license,
        "sha256": sha256(path),
    }
