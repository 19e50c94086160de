"""A stand-in for CuPy: arrays in "device memory" that do not mix with NumPy's, as CuPy's do not.

While a graph is captured (`cuda.py`), whatever is computed is put on its tape, and what no capture allows is refused:
an upload, a download, a decision that depends on a value.
"""

import threading
import weakref
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

_allocated: "weakref.WeakValueDictionary[int, Any]" = weakref.WeakValueDictionary()


class Tape:
    """What a capture has seen: work that can be done again, and what the arrays held that it wrote to meanwhile."""

    def __init__(self) -> None:
        self._again: list[Callable[[], Any]] = []
        self._before: list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]] = []
        self._new: list[np.ndarray[Any, Any]] = []
        self.broken = False

    def writes_to(self, *arrays: np.ndarray[Any, Any]) -> None:
        """These are about to be changed."""
        self._before += [(a, a.copy()) for a in arrays if a.flags.writeable]

    def allocated(self, *arrays: np.ndarray[Any, Any]) -> None:
        """These are new. What they hold is lost at every launch, unless their memory is not the recording's own."""
        if getattr(_capture, "own_memory", False):
            self._new += arrays

    def add(self, again: Callable[[], Any], result: Any = None) -> None:
        """`again` was carried out; each further time its result is to be where the first one is."""
        made = [r for r in (result if isinstance(result, tuple | list) else [result]) if isinstance(r, np.ndarray)]
        self.allocated(*made)

        def repeat() -> None:
            out = again()
            for place, value in zip(made, out if isinstance(out, tuple | list) else [out], strict=False):
                place[...] = value

        self._again.append(repeat)

    def close(self) -> None:
        """Nothing has been computed yet: take back what was."""
        for array, content in reversed(self._before):
            array[...] = content
        for array in self._new:
            _spoil(array)

    def play(self) -> None:
        """Do it all again. In memory of the recording another array of it may have been meanwhile."""
        for array in self._new:
            _spoil(array)
        for repeat in self._again:
            repeat()


class NotInCapture(Exception):
    """What CUDA refuses while a graph is captured."""


_capture = threading.local()


def tape() -> Tape | None:
    """What this thread records on, if it does."""
    return getattr(_capture, "tape", None)


def set_tape(new: Tape | None) -> None:
    """Record on `new` from now on."""
    _capture.tape = new


def set_own_memory(is_own: bool) -> bool:
    """Whether what this thread allocates from now on is memory of a recording; returns what it was before."""
    before = getattr(_capture, "own_memory", False)
    _capture.own_memory = is_own
    return before


def synchronized(what: str) -> None:
    """Refuse `what`, which waits for the device, while a graph is captured; there will be no graph then."""
    if recording := tape():
        recording.broken = True
        raise NotInCapture(f"{what} while a graph is captured")


CUBLAS = ("matmul", "dot", "vdot", "inner", "tensordot", "einsum")


def multiplied(name: str) -> None:
    """Refuse the function of that name, as CuPy does, if cuBLAS is behind it and a graph is captured."""
    if name in CUBLAS and tape():
        raise NotImplementedError("calling cuBLAS API during stream capture is currently unsupported")


class Usage:
    """Bytes of device memory that are taken, and the most that ever were."""

    def __init__(self) -> None:
        self.now = self.most = 0

    def take(self, array: np.ndarray[Any, Any]) -> None:
        """Count an array until it is forgotten."""
        self.now += array.nbytes
        self.most = max(self.most, self.now)
        weakref.finalize(array, self._release, array.nbytes)

    def _release(self, count: int) -> None:
        self.now -= count


usage = Usage()


class DeviceArray(np.lib.mixins.NDArrayOperatorsMixin):
    """An array of the device. Its content is in `host`, which nothing but this package may look at."""

    __slots__ = ("__weakref__", "host")

    def __init__(self, host: np.ndarray[Any, Any]) -> None:
        self.host = host
        if host.base is None and host.ctypes.data not in _allocated:
            _allocated[host.ctypes.data] = host
            usage.take(host)

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **kwargs: Any) -> Any:
        lowered = tuple(_lower(i) for i in inputs)
        multiplied(ufunc.__name__)
        if out is None:
            return _lift(_carried_out(getattr(ufunc, method), lowered, kwargs))
        places = tuple(o.host for o in out)
        _in_place(lambda: getattr(ufunc, method)(*lowered, out=places, **kwargs), *places)
        return out[0]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # NumPy would find its way to the content by them
            raise AttributeError(name)
        if name in ("item", "tolist"):
            synchronized(name)
        multiplied(name)
        value = getattr(self.host, name)
        return _lifted(value) if callable(value) else _lift(value)

    @property
    def flags(self) -> Any:
        """What CuPy knows of an array: whether it may be written to is not among it."""
        of_host = self.host.flags
        names = ("c_contiguous", "f_contiguous", "owndata")
        return SimpleNamespace(**{name: getattr(of_host, name) for name in names})

    def __getitem__(self, key: Any) -> Any:
        return _lift(_carried_out(self.host.__getitem__, (_lower(key),), {}))

    def __setitem__(self, key: Any, value: Any) -> None:
        place, value = _lower(key), _lower(value)
        _in_place(lambda: self.host.__setitem__(place, value), self.host)

    def __len__(self) -> int:
        return len(self.host)

    def __float__(self) -> float:
        synchronized("float()")
        return float(self.host)

    def __bool__(self) -> bool:
        synchronized("bool()")
        return bool(self.host)

    def get(self, out: np.ndarray[Any, Any] | None = None) -> np.ndarray[Any, Any]:
        """A copy in host memory."""
        synchronized("get()")
        if out is None:
            return self.host.copy()
        np.copyto(out, self.host, casting="no")
        return out

    def set(self, value: np.ndarray[Any, Any], stream: Any = None) -> None:
        """Copy from host memory: on another stream than the current one, as late as may be."""
        synchronized("set()")
        if not isinstance(value, np.ndarray) or (value.shape, value.dtype) != (self.shape, self.dtype):
            raise ValueError(f"set: {self.shape} {self.dtype} from {value.shape} {value.dtype}")
        if stream is None:
            self.host[...] = value
        else:
            _spoil(self.host)
            stream.later(lambda: np.copyto(self.host, value))

    @property
    def data(self) -> Any:
        """`data.ptr` is the address, as in CuPy."""
        return type("MemoryPointer", (), {"ptr": self.host.ctypes.data})


def memory_at(address: int) -> np.ndarray[Any, Any]:
    """The array that was allocated at an address."""
    return _allocated[address]


def _spoil(x: np.ndarray[Any, Any]) -> None:
    """Fill with NaN."""
    if x.flags.c_contiguous:
        x.reshape(-1).view(np.uint8)[...] = 0xFF


def _carried_out(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The result of a NumPy function; on the tape, unless it is a view of what there was."""
    result = function(*args, **kwargs)
    recording = tape()
    if recording and isinstance(result, np.ndarray | np.generic | tuple | list):
        result = np.asarray(result) if isinstance(result, np.generic) else result
        given = [a for a in (getattr(function, "__self__", None), *args) if isinstance(a, np.ndarray)]
        if not isinstance(result, np.ndarray) or not any(np.may_share_memory(a, result) for a in given):
            recording.add(lambda: function(*args, **kwargs), result)
    return result


def _in_place(work: Callable[[], Any], *places: np.ndarray[Any, Any]) -> None:
    if recording := tape():
        recording.writes_to(*places)
        recording.add(work)
    work()


def _lower(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.ndim:
        raise TypeError("Unsupported type <class 'numpy.ndarray'>: an array of NumPy among arrays of the device")
    if isinstance(value, tuple | list):
        return type(value)(_lower(v) for v in value)
    return value.host if isinstance(value, DeviceArray) else value


def _lift(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return DeviceArray(np.asarray(value))
    return type(value)(_lift(v) for v in value) if type(value) in (tuple, list) else value


def _lifted(function: Any) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        lowered, named = _lower(args), {k: _lower(v) for k, v in kwargs.items()}
        if "out" not in kwargs:
            return _lift(_carried_out(function, lowered, named))
        _in_place(lambda: function(*lowered, **named), named["out"])
        return kwargs["out"]

    return call


class FakeCupy:
    """The module: NumPy's functions on arrays of the device."""

    ndarray = DeviceArray

    def __init__(self, module: ModuleType = np) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        multiplied(name)
        value = getattr(self._module, name)
        if isinstance(value, ModuleType):
            return FakeCupy(value)
        return value if isinstance(value, type) or not callable(value) else _lifted(value)

    def get_array_module(self, *args: Any) -> Any:
        """This module if there is an array of the device among `args`."""
        return self if any(isinstance(a, DeviceArray) for a in args) else np

    def asarray(self, x: Any, dtype: Any = None) -> DeviceArray:
        """Upload; an array of the device stays what it is."""
        if isinstance(x, DeviceArray) and dtype in (None, x.dtype):
            return x
        if not isinstance(x, DeviceArray):
            synchronized("an upload")
        return DeviceArray(np.array(x.host if isinstance(x, DeviceArray) else x, dtype))

    def empty(self, shape: Any, dtype: Any = np.float32) -> DeviceArray:
        """Memory full of NaN: what a kernel does not write shows."""
        x = np.empty(shape, dtype)
        _spoil(x)
        if recording := tape():
            recording.allocated(x)
        return DeviceArray(x)
