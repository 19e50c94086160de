"""Primitives and their implementations: which function computes, by the type of the array."""

import contextlib
import importlib
import importlib.util
from collections.abc import Callable, Iterator
from functools import cache, update_wrapper
from typing import Generic

import numpy as np

import nanostyle.backend.threads  # noqa: F401  (BLAS has one thread before anything computes)
from nanostyle.backend.device import module_of
from nanostyle.backend.types import P, R

_use_implementations = True


@contextlib.contextmanager
def reference_only() -> Iterator[None]:
    """Within the block every primitive runs as its plain reference: for debugging and for tests."""
    global _use_implementations
    before, _use_implementations = _use_implementations, False
    try:
        yield
    finally:
        _use_implementations = before


class primitive(Generic[P, R]):
    """A plain array function that may have a faster implementation of the same name and signature.

    The primitive `autograd/ops/conv.py: conv2d_forward` is implemented by `backend/cpu/conv.py: conv2d_forward` for
    float32 arrays of NumPy, and by `backend/gpu/conv.py: conv2d_forward` for arrays of CuPy. The first argument (or the
    first of its arrays) decides. An implementation may return `NotImplemented` for what it does not cover. Then, or
    without one, or for any other type, the function itself runs.

    Attributes
    ----------
    reference : Callable
        The function itself: short, and right for any type on NumPy and on CuPy.
    """

    __name__: str
    __module__: str

    def __init__(self, reference: Callable[P, R]) -> None:
        self.reference = reference
        update_wrapper(self, reference)
        self._stem = reference.__module__.rpartition(".")[2]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Compute, by the fastest implementation for the arguments."""
        run = _implementation(_home(args[0]), self._stem, self.__name__) if _use_implementations else None
        if run is not None:
            result: R = run(*args, **kwargs)
            if result is not NotImplemented:
                return result
        return self.reference(*args, **kwargs)


def _home(x: object) -> str | None:
    """The back end that computes with `x`, an array or a sequence of arrays."""
    if isinstance(x, tuple | list):
        x = x[0]
    if module_of(x) is np:
        return "cpu" if getattr(x, "dtype", None) == np.float32 else None
    return "gpu"


@cache
def _implementation(home: str | None, stem: str, name: str) -> Callable[..., R] | None:
    """The function `name` of `nanostyle/backend/<home>/<stem>.py`, if there is one."""
    if home is None or importlib.util.find_spec(f"nanostyle.backend.{home}.{stem}") is None:
        return None
    found: Callable[..., R] | None = getattr(importlib.import_module(f"nanostyle.backend.{home}.{stem}"), name, None)
    return found
