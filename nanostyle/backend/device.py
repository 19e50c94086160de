"""NumPy or CuPy: where arrays live, and what a GPU does differently. This file alone imports cupy."""

import importlib
import importlib.util
from collections.abc import Callable, Generator
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from nanostyle.backend.types import Array, R
from nanostyle.errors import NanostyleError

# --- NumPy or CuPy ----------------------------------------------------------------------------------------


@cache
def cupy() -> ModuleType | None:
    """The cupy module, or None where it is not installed. Installed is not usable: see `pick_device`."""
    return importlib.import_module("cupy") if importlib.util.find_spec("cupy") else None


def module_of(x: Any) -> Any:
    """`numpy` or `cupy`: the module whose functions work on the array `x`."""
    return np if isinstance(x, np.ndarray | np.generic) or cupy() is None else cupy().get_array_module(x)  # type: ignore[union-attr]


def pick_device(wish: str = "auto") -> str:
    """The device that `wish` (`auto`, `cpu` or `cuda`) stands for on this machine: `cpu` or `cuda`.

    Raises
    ------
    NanostyleError
        `cuda` is asked for and cannot be had; the message says why. A wish is never quietly replaced.
    """
    if wish not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device: expected auto, cpu or cuda, got {wish!r}")
    if wish == "cpu":
        return "cpu"
    cp = cupy()
    if cp is not None and cp.is_available():
        return "cuda"
    if wish == "auto":
        return "cpu"
    why = "CuPy finds no usable GPU and driver" if cp else "CuPy is not installed"
    raise NanostyleError(
        f"device cuda: {why}; install nanostyle[cuda12] or nanostyle[cuda13] on a machine with an NVIDIA GPU,"
        " or use --device cpu"
    )


def to_device(x: npt.NDArray[Any], device: str) -> Array:
    """Copy a NumPy array to `device`; on `cpu`, or if it is there already, it is the same array.

    If it is read-only nothing may write to the copy either: what is derived from it may be kept.
    """
    if device == "cpu" or module_of(x) is not np:
        return x
    copy = cupy().asarray(x)  # type: ignore[union-attr]
    if not x.flags.writeable:
        _gpu("weight_cache").settle(copy)
    return copy


def to_host(x: Array) -> npt.NDArray[Any]:
    """The array's values as a NumPy array; a NumPy array is returned as it is."""
    return x if isinstance(x, np.ndarray) else x.get()


# --- what a GPU does differently ---------------------------------------------------------------------------

PRECISIONS = ("fp32", "tf32", "fp16")

_precision = "fp32"


def set_precision(wish: str = "auto", device: str = "cpu") -> str:
    """Compute in `wish` on `device` from now on: `fp32`, `tf32` or `fp16`; `auto`: the first on a CPU, else the second.

    tf32 keeps float32 and multiplies with 10 bits of mantissa on the GPU's tensor cores; fp16 keeps feature maps in
    float16 too. Sums, statistics, parameters and pictures are float32 in all three. Returns what was chosen.

    Raises
    ------
    NanostyleError
        A CPU is asked for what only a GPU has.
    """
    global _precision
    if wish not in ("auto", *PRECISIONS):
        raise ValueError(f"precision: expected auto, {', '.join(PRECISIONS)}, got {wish!r}")
    chosen = {"cpu": "fp32", "cuda": "tf32"}[device] if wish == "auto" else wish
    if device == "cpu" and chosen != "fp32":
        raise NanostyleError(f"precision {chosen}: only a GPU has it; use --precision fp32 or --device cuda")
    _precision = chosen
    return chosen


def precision() -> str:
    """What `set_precision` chose last."""
    return _precision


def storage(x: Array) -> np.dtype[Any]:
    """The type in which a network keeps the feature maps of pictures like `x`; see `set_precision`."""
    half = _precision == "fp16" and module_of(x) is not np and x.dtype == np.float32
    return np.dtype(np.float16) if half else x.dtype


def repeated(work: Callable[..., R], device: str) -> Callable[..., R]:
    """`work`, a function of arrays that will be called again and again, in the form that is fastest on `device`.

    On a GPU its arrays are uploaded, and where their shapes come a second time its launches are recorded and then
    repeated: see `nanostyle.backend.gpu.graph`, which says what `work` must keep to. Its results are
    arrays of the device that the next call overwrites.
    """
    return work if device == "cpu" else _gpu("graph").Repeated(work)


def ahead(batches: Generator[npt.NDArray[Any], None, None], device: str) -> Generator[Array, None, None]:
    """The arrays of `batches` on `device`; to a GPU the next one is copied while the last one is worked on."""
    return batches if device == "cpu" else _gpu("upload").uploaded(batches)


def _gpu(name: str) -> Any:
    return importlib.import_module(f"nanostyle.backend.gpu.{name}")
