"""The primitives of `ops/adam.py` on a GPU, by `kernels/adam.cu`: a whole network in one launch."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nanostyle.backend.device import module_of
from nanostyle.backend.gpu.constants import ADAM_NUMBERS
from nanostyle.backend.gpu.graph import constant
from nanostyle.backend.gpu.launch import contiguous, launch
from nanostyle.backend.memory import empty
from nanostyle.backend.types import Array


def adam_steps(
    ps: Sequence[Array],
    gs: Sequence[Array],
    ms: Sequence[Array],
    vs: Sequence[Array],
    *,
    lr: Any,
    beta1: float,
    beta2: float,
    eps: float,
    step: Any,
    factor: Any = 1.0,
) -> Any:
    """See `ops.adam.adam_steps`."""
    if not _in_place(*ps, *ms, *vs) or not _float32(*gs):
        return NotImplemented
    gs = [contiguous(g) for g in gs]
    tables = _tables(ps, gs, ms, vs)
    numbers = (_number(x, ps[0]) for x in (factor, lr, step))
    launch("adam", "adam_many", len(tables[2]), *tables, *numbers, beta1, beta2, eps, HALF=0)
    return None


def average_steps(averages: Sequence[Array], ps: Sequence[Array], *, weight: Any, factor: Any) -> Any:
    """See `ops.adam.average_steps`."""
    if not _in_place(*averages) or not _float32(*ps):
        return NotImplemented
    ps = [contiguous(p) for p in ps]
    tables = _tables(averages, ps)
    numbers = (_number(x, ps[0]) for x in (factor, weight))
    launch("adam", "average_many", len(tables[2]), *tables, *numbers, HALF=0)
    return None


def clipping(gs: Sequence[Array], *, longest: float, scale: Any) -> Any:
    """See `ops.adam.clipping`."""
    if not _float32(*gs):
        return NotImplemented
    gs = [contiguous(g) for g in gs]
    tables = _tables(gs)
    partial = empty((len(tables[2]),), np.float32, like=gs[0])
    launch("adam", "squares", partial.size, *tables, partial, HALF=0)
    norm, factor = (empty((), np.float32, like=gs[0]) for _ in range(2))
    launch("adam", "clipping", 1, partial, _number(scale, gs[0]), norm, factor, partial.size, longest, HALF=0)
    return norm, factor


def _float32(*arrays: Array) -> bool:
    return all(a.dtype == np.float32 for a in arrays)


def _in_place(*arrays: Array) -> bool:
    return _float32(*arrays) and all(a.flags.c_contiguous for a in arrays)


def _number(x: Any, like: Array) -> Array:
    """`x` in the device's memory, where the kernels look for what may differ from step to step."""
    return x if hasattr(x, "dtype") else module_of(like).full((), x, np.float32)


def _tables(*lists: Sequence[Array]) -> tuple[Array, Array, Array]:
    """What the kernels know of many arrays: addresses `(arrays, lists)`, sizes, chunks `(blocks, 2)`."""
    sizes = [a.size for a in lists[0]]
    chunks = [(i, begin) for i, size in enumerate(sizes) for begin in range(0, size, ADAM_NUMBERS)]
    return (
        constant(np.array([_address(a) for row in zip(*lists, strict=True) for a in row], np.uint64)),
        constant(np.array(sizes, np.int32)),
        constant(np.array(chunks, np.int32)),
    )


def _address(x: Any) -> int:
    return x.data.ptr
