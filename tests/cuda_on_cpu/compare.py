"""A primitive on the GPU, emulated or real, against its reference in float64, on the same numbers."""

import importlib
from typing import Any

import numpy as np
from hypothesis import strategies as st

from nanostyle.backend.gpu.norm import TileStatistics
from tests.cuda_on_cpu.emulator import gpu

# The error that is allowed, as a share of the largest value.
TOLERANCE = {np.dtype(np.float32): 2e-6, np.dtype(np.float16): 1e-3}

dtypes = st.sampled_from([np.float32, np.float16])
channels = st.sampled_from([1, 2, 3, 4, 8, 12, 16, 24, 33, 40])
pictures = st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 11), channels)
seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def normal(rng: np.random.Generator, shape: Any, dtype: Any = np.float32) -> np.ndarray[Any, Any]:
    """Random numbers."""
    return rng.standard_normal(shape).astype(dtype)


def implementation_of(primitive: Any) -> Any:
    """The GPU's implementation of a primitive."""
    module, name = primitive.reference.__module__.rpartition(".")[2], primitive.__name__
    return getattr(importlib.import_module(f"nanostyle.backend.gpu.{module}"), name)


def on_gpu(function: Any, *args: Any, **kwargs: Any) -> Any:
    """What a function gives for NumPy arrays that are uploaded first, as NumPy arrays again."""
    with gpu() as cp:
        return down(function(*up(cp, args), **{k: up(cp, v) for k, v in kwargs.items()}))


def up(cp: Any, value: Any) -> Any:
    """NumPy arrays as arrays of the device."""
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return tuple(up(cp, v) for v in value)
    return cp.asarray(value) if isinstance(value, np.ndarray) else value


def down(value: Any) -> Any:
    """Arrays of the device as NumPy arrays; statistics that are yet to be joined, joined."""
    if isinstance(value, TileStatistics):
        value = value.joined()
    if isinstance(value, tuple):
        return tuple(down(v) for v in value)
    return value.get() if hasattr(value, "get") else value


def wide(value: Any) -> Any:
    """Floating-point arrays in float64."""
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return tuple(wide(v) for v in value)
    return value.astype(np.float64) if isinstance(value, np.ndarray) and value.dtype.kind == "f" else value


def compare(primitive: Any, *args: Any, tolerance: float | None = None, **kwargs: Any) -> Any:
    """Run the implementation and the reference; they must agree. Returns what the implementation gave."""
    got = on_gpu(implementation_of(primitive), *args, **kwargs)
    assert got is not NotImplemented
    want = primitive.reference(*map(wide, args), **{k: wide(v) for k, v in kwargs.items()})
    first = args[0][0] if isinstance(args[0], tuple) else args[0]
    check(got, want, tolerance or TOLERANCE[first.dtype])
    return got


def compare_products(primitive: Any, *args: Any, share: float, **kwargs: Any) -> Any:
    """As `compare`, for sums of products, by `check_products`."""
    got = on_gpu(implementation_of(primitive), *args, **kwargs)
    assert got is not NotImplemented
    check_products(got, primitive, *args, share=share, **kwargs)
    return got


def check_products(got: Any, primitive: Any, *args: Any, share: float, **kwargs: Any) -> None:
    """Sums of products a·b are those of the reference, each to `share` of √Σ(a·b)² and the rounding of its storage.

    Errors of rounding are in proportion to the products, not to their sum, which may all but cancel. They are
    independent, so they add up as the root of the sum of squares; the reference gives that sum for squared arguments.
    Statistics that come with the sums are checked as by `check`.
    """
    options = {k: wide(v) for k, v in kwargs.items()}
    want = primitive.reference(*map(wide, args), **options)
    squares = primitive.reference(*(v if v is None else wide(v) ** 2 for v in args), **options)
    if isinstance(want, tuple):
        check(got[1:], want[1:], share)
        got, want, squares = got[0], want[0], squares[0]
    assert got.shape == want.shape
    storage = np.finfo(got.dtype)
    allowed = share * np.sqrt(squares) + storage.eps / 2 * np.abs(want) + storage.smallest_subnormal
    worst = (np.abs(got - want) / allowed).max(initial=0)
    assert worst <= 1, f"an error is {worst:.3g} times what rounding explains"


def check(got: Any, want: Any, tolerance: float) -> None:
    """Arrays, or tuples of them, agree."""
    if isinstance(want, tuple):
        assert len(got) == len(want)
        for g, w in zip(got, want, strict=True):
            check(g, w, tolerance)
    elif want is None:
        assert got is None
    else:
        assert got.shape == want.shape
        assert np.isfinite(got).all()
        error = np.abs(got - want).max(initial=0)
        assert error <= tolerance * max(1, np.abs(want).max(initial=0)), (
            f"error {error}, largest value {np.abs(want).max()}"
        )
