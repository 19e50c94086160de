"""A stand-in for CuPy: arrays in "device memory" that do not mix with NumPy's, as CuPy's do not."""

import weakref
from types import ModuleType
from typing import Any

import numpy as np

_allocated: "weakref.WeakValueDictionary[int, Any]" = weakref.WeakValueDictionary()


class DeviceArray(np.lib.mixins.NDArrayOperatorsMixin):
    """An array of the device. Its content is in `host`, which nothing but this package may look at."""

    __slots__ = ("host",)

    def __init__(self, host: np.ndarray[Any, Any]) -> None:
        self.host = host
        if host.base is None:
            _allocated[host.ctypes.data] = host

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **kwargs: Any) -> Any:
        if out is not None:
            kwargs["out"] = tuple(o.host for o in out)
        result = getattr(ufunc, method)(*(_lower(i) for i in inputs), **kwargs)
        return out[0] if out is not None else _lift(result)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # NumPy would find its way to the content by them
            raise AttributeError(name)
        value = getattr(self.host, name)
        return _lifted(value) if callable(value) else _lift(value)

    def __getitem__(self, key: Any) -> Any:
        return _lift(self.host[_lower(key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        self.host[_lower(key)] = _lower(value)

    def __len__(self) -> int:
        return len(self.host)

    def __float__(self) -> float:
        return float(self.host)

    def get(self) -> np.ndarray[Any, Any]:
        """A copy in host memory."""
        return self.host.copy()

    @property
    def data(self) -> Any:
        """`data.ptr` is the address, as in CuPy."""
        return type("MemoryPointer", (), {"ptr": self.host.ctypes.data})


def memory_at(address: int) -> np.ndarray[Any, Any]:
    """The array that was allocated at an address."""
    return _allocated[address]


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
        return _lift(function(*_lower(args), **{k: _lower(v) for k, v in kwargs.items()}))

    return call


class FakeCupy:
    """The module: NumPy's functions on arrays of the device."""

    ndarray = DeviceArray

    def __init__(self, module: ModuleType = np) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._module, name)
        if isinstance(value, ModuleType):
            return FakeCupy(value)
        return value if isinstance(value, type) or not callable(value) else _lifted(value)

    def get_array_module(self, *args: Any) -> Any:
        """This module if there is an array of the device among `args`."""
        return self if any(isinstance(a, DeviceArray) for a in args) else np

    def asarray(self, x: Any, dtype: Any = None) -> DeviceArray:
        """Upload."""
        return DeviceArray(np.array(x.host if isinstance(x, DeviceArray) else x, dtype))

    def empty(self, shape: Any, dtype: Any = np.float32) -> DeviceArray:
        """Memory full of NaN: what a kernel does not write shows."""
        x = np.empty(shape, dtype)
        x.reshape(-1).view(np.uint8)[...] = 0xFF
        return DeviceArray(x)
