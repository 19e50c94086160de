"""Primitives and their implementations: which function computes, by the type of the array."""

import contextlib
import importlib
import importlib.util
from collections.abc import Callable, Iterator
from functools import cache, wraps
from typing import Any

import numpy as np

import nanostyle.backend.threads  # noqa: F401  (BLAS has one thread before anything computes)
from nanostyle.backend.device import module_of
from nanostyle.backend.types import P, R

# --- primitives and their twins ---------------------------------------------------------------------------

_twins_on = True


@contextlib.contextmanager
def reference_only() -> Iterator[None]:
    """Within the block every primitive runs as its plain reference: for debugging and for tests."""
    global _twins_on
    before, _twins_on = _twins_on, False
    try:
        yield
    finally:
        _twins_on = before


def primitive(fn: Callable[P, R]) -> Callable[P, R]:
    """Mark a plain array function that may have a faster twin of the same name and signature.

    The twin of `ops/conv.py: conv2d_forward` is `cpu/conv.py: conv2d_forward` for float32 arrays of NumPy and
    `gpu/conv.py: conv2d_forward` for arrays of CuPy; the first argument (or the first of its arrays) decides. A twin
    may return `NotImplemented` for what it does not cover. Without a twin, and for every other type, the function
    itself runs: it is the reference, reachable as `.reference`.
    """
    stem = fn.__module__.rpartition(".")[2]

    @wraps(fn)
    def dispatch(*args: P.args, **kwargs: P.kwargs) -> R:
        twin = _twin(_home(args[0]), stem, fn.__name__) if _twins_on else None
        result = NotImplemented if twin is None else twin(*args, **kwargs)
        return fn(*args, **kwargs) if result is NotImplemented else result

    dispatch.reference = fn  # type: ignore[attr-defined]
    return dispatch


def _home(x: Any) -> str | None:
    if isinstance(x, tuple | list):
        x = x[0]
    if module_of(x) is np:
        return "cpu" if x.dtype == np.float32 else None
    return "gpu"


@cache
def _twin(home: str | None, stem: str, name: str) -> Callable[..., Any] | None:
    if home is None or importlib.util.find_spec(f"nanostyle.backend.{home}.{stem}") is None:
        return None
    return getattr(importlib.import_module(f"nanostyle.backend.{home}.{stem}"), name, None)
