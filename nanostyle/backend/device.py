"""NumPy or CuPy: where arrays live, and what a GPU does differently. This file alone imports cupy."""

import importlib
import importlib.util
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from nanostyle.backend.types import Array, R
from nanostyle.errors import NanostyleError

# --- NumPy or CuPy ----------------------------------------------------------------------------------------

CuPy: TypeAlias = Any  # the module cupy and its objects, which have no types


def cupy() -> ModuleType | None:
    """The cupy module, or None where it is not installed. Installed is not usable: see `pick_device`."""
    return _find_cupy()


@cache
def _find_cupy() -> ModuleType | None:
    return importlib.import_module("cupy") if importlib.util.find_spec("cupy") else None


def loaded_cupy() -> CuPy:
    """The cupy module, for code that runs only where it is."""
    return _find_cupy()


def module_of(x: object) -> CuPy:
    """`numpy` or `cupy`: the module whose functions work on the array `x`."""
    module = None if isinstance(x, np.ndarray | np.generic) else _find_cupy()
    return np if module is None else module.get_array_module(x)


PRECISIONS = ("fp32", "tf32", "fp16")


@dataclass(frozen=True)
class Device:
    """Where arrays live, and the precision in which a GPU multiplies.

    Attributes
    ----------
    name : str
        `cpu` or `cuda`.
    precision : str
        `fp32`; on a GPU also `tf32`, which keeps float32 and multiplies with 10 bits of mantissa on the tensor cores,
        and `fp16`, which keeps feature maps in float16 too. Sums, statistics, parameters and pictures are float32 in
        all three.
    """

    name: str = "cpu"
    precision: str = "fp32"

    @property
    def is_gpu(self) -> bool:
        """Whether arrays live on a GPU."""
        return self.name != "cpu"

    def use(self) -> "Device":
        """Compute in this precision from now on, in the whole process."""
        global _precision
        _precision = self.precision
        return self

    def __str__(self) -> str:
        return self.name


CPU = Device()

_precision = CPU.precision


def pick_device(wish: str = "auto", precision: str = "auto") -> Device:
    """The device that `wish` (`auto`, `cpu` or `cuda`) stands for on this machine.

    `precision` `auto` is fp32 on a CPU and tf32 on a GPU.

    Raises
    ------
    ValueError
        A word that is not known.
    NanostyleError
        `cuda` is asked for and cannot be had, and the message says why; or a precision that only a GPU has is asked of
        a CPU. A wish is never quietly replaced.
    """
    if wish not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device: expected auto, cpu or cuda, got {wish!r}")
    if precision not in ("auto", *PRECISIONS):
        raise ValueError(f"precision: expected auto, {', '.join(PRECISIONS)}, got {precision!r}")
    if wish != "cpu" and _has_gpu(needed=wish == "cuda"):
        return Device("cuda", "tf32" if precision == "auto" else precision)
    if precision not in ("auto", "fp32"):
        raise NanostyleError(f"precision {precision}: only a GPU has it", hint="use {precision} fp32 or {device} cuda")
    return CPU


def _has_gpu(*, needed: bool) -> bool:
    """Whether CuPy and a GPU are there; NanostyleError if not, where one is `needed`."""
    cp = cupy()
    if cp is not None and cp.is_available():
        return True
    if needed:
        why = "CuPy finds no usable GPU and driver" if cp else "CuPy is not installed"
        raise NanostyleError(
            f"device cuda: {why}",
            hint="install nanostyle[cuda12] or nanostyle[cuda13] on a machine with an NVIDIA GPU, or use {device} cpu",
        )
    return False


def to_device(x: npt.NDArray[Any], device: Device) -> Array:
    """Copy a NumPy array to `device`; on a CPU, or if it is there already, it is the same array.

    If it is read-only, nothing may write to the copy either: what is computed from it may be kept.
    """
    if not device.is_gpu or module_of(x) is not np:
        return x
    copy: Array = loaded_cupy().asarray(x)
    if not x.flags.writeable:
        _gpu("weight_cache").mark_read_only(copy)
    return copy


def to_host(x: Array) -> npt.NDArray[Any]:
    """The array's values as a NumPy array; a NumPy array is returned as it is."""
    if isinstance(x, np.ndarray):
        return x
    on_host: npt.NDArray[Any] = x.get()
    return on_host


def to_staging(x: Array) -> npt.NDArray[Any]:
    """The array's values as a NumPy array, of a GPU's array in pinned memory; a NumPy array is returned as it is."""
    if isinstance(x, np.ndarray):
        return x
    staged: npt.NDArray[Any] = _gpu("upload").fetched(x)
    return staged


# --- what a GPU does differently ---------------------------------------------------------------------------


def precision() -> str:
    """The precision of the device in use; see `Device.use`."""
    return _precision


def storage(x: Array) -> np.dtype[Any]:
    """The type in which a network keeps its feature maps, for pictures `x`; see `Device`."""
    half = _precision == "fp16" and module_of(x) is not np and x.dtype == np.float32
    return np.dtype(np.float16) if half else x.dtype


def repeated(work: Callable[..., R], device: Device) -> Callable[..., R]:
    """`work`, a function of arrays that will be called again and again, in the form that is fastest on `device`.

    On a GPU its arrays are uploaded, and where their shapes come a second time its launches are recorded and then
    repeated: see `nanostyle.backend.gpu.graph`, which says what `work` must keep to. Its results are
    arrays of the device that the next call overwrites.
    """
    if not device.is_gpu:
        return work
    recorded: Callable[..., R] = _gpu("graph").Repeated(work)
    return recorded


def ahead(batches: Generator[npt.NDArray[Any], None, None], device: Device) -> Generator[Array, None, None]:
    """The arrays of `batches` on `device`; to a GPU the next one is copied while the last one is worked on."""
    if not device.is_gpu:
        return batches
    uploaded: Generator[Array, None, None] = _gpu("upload").uploaded(batches)
    return uploaded


def _gpu(name: str) -> ModuleType:
    return importlib.import_module(f"nanostyle.backend.gpu.{name}")
