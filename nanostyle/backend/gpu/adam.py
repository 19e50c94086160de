"""The primitives of `optim/adam.py` on a GPU, by `kernels/adam.cu`: a whole network in one launch."""

from collections.abc import Sequence
from types import NotImplementedType

import numpy as np

from nanostyle.backend.device import CuPy, module_of
from nanostyle.backend.gpu.constants import ADAM_NUMBERS
from nanostyle.backend.gpu.graph import constant
from nanostyle.backend.gpu.launch import contiguous, launch
from nanostyle.backend.memory import empty
from nanostyle.backend.types import Array, Number


def adam_steps(
    ps: Sequence[Array],
    gs: Sequence[Array],
    ms: Sequence[Array],
    vs: Sequence[Array],
    *,
    lr: Number,
    beta1: float,
    beta2: float,
    eps: float,
    step: Number,
    factor: Number = 1.0,
) -> NotImplementedType | None:
    """See `optim.adam.adam_steps`."""
    if not _in_place(*ps, *ms, *vs) or not _float32(*gs):
        return NotImplemented
    gs = [contiguous(g) for g in gs]
    tables = _tables(ps, gs, ms, vs)
    numbers = (_number(x, ps[0]) for x in (factor, lr, step))
    launch("adam", "adam_many", len(tables[2]), *tables, *numbers, beta1, beta2, eps, HALF=0)
    return None


def average_steps(
    averages: Sequence[Array], ps: Sequence[Array], *, weight: Number, factor: Number
) -> NotImplementedType | None:
    """See `optim.adam.average_steps`."""
    if not _in_place(*averages) or not _float32(*ps):
        return NotImplemented
    ps = [contiguous(p) for p in ps]
    tables = _tables(averages, ps)
    numbers = (_number(x, ps[0]) for x in (factor, weight))
    launch("adam", "average_many", len(tables[2]), *tables, *numbers, HALF=0)
    return None


def clip_grad_norm(gs: Sequence[Array], *, max_norm: float, scale: Number) -> tuple[Number, Number]:
    """See `optim.adam.clip_grad_norm`."""
    if not _float32(*gs):
        return NotImplemented
    gs = [contiguous(g) for g in gs]
    tables = _tables(gs)
    partial = empty((len(tables[2]),), np.float32, like=gs[0])
    launch("adam", "squares", partial.size, *tables, partial, HALF=0)
    norm, factor = (empty((), np.float32, like=gs[0]) for _ in range(2))
    launch("adam", "clip_grad_norm", 1, partial, _number(scale, gs[0]), norm, factor, partial.size, max_norm, HALF=0)
    return norm, factor


def _float32(*arrays: Array) -> bool:
    return all(a.dtype == np.float32 for a in arrays)


def _in_place(*arrays: Array) -> bool:
    return _float32(*arrays) and all(a.flags.c_contiguous for a in arrays)


def _number(x: Number, like: Array) -> Array:
    """`x` in the device's memory, where the kernels look for what may differ from step to step."""
    if not isinstance(x, int | float):
        return x
    uploaded: Array = module_of(like).full((), x, np.float32)
    return uploaded


def _tables(*lists: Sequence[Array]) -> tuple[Array, Array, Array]:
    """What the kernels know of many arrays: addresses `(arrays, lists)`, sizes, blocks `(blocks, 2)`."""
    sizes = [a.size for a in lists[0]]
    blocks = [(i, begin) for i, size in enumerate(sizes) for begin in range(0, size, ADAM_NUMBERS)]
    return (
        constant(np.array([_address(a) for row in zip(*lists, strict=True) for a in row], np.uint64)),
        constant(np.array(sizes, np.int32)),
        constant(np.array(blocks, np.int32)),
    )


def _address(x: CuPy) -> int:
    address: int = x.data.ptr
    return address
