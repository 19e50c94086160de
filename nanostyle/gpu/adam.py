"""Floor 0: the primitives of `ops/adam.py` on a GPU, by `kernels/adam.cu`: a whole network in one launch."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from nanostyle.arrays import Array, empty, module_of
from nanostyle.gpu.launch import THREADS, blocks, contiguous, launch
from nanostyle.gpu.math import join_sums

_CHUNK = 16 * THREADS  # numbers of a block; the same in kernels/adam.cu


def adam_step(
    p: Array, g: Array, m: Array, v: Array, *, lr: float, beta1: float, beta2: float, eps: float, step: int
) -> Any:
    """See `ops.adam.adam_step`."""
    if not _float32(p, g, m, v) or not all(a.flags.c_contiguous for a in (p, m, v)):
        return NotImplemented
    numbers = (lr / (1 - beta1**step), beta1, beta2, eps, 1 - beta2**step)
    launch("adam", "adam_one", blocks(p.size), p, contiguous(g), m, v, *numbers, p.size, HALF=0)
    return None


def adam_steps(
    ps: Sequence[Array],
    gs: Sequence[Array],
    ms: Sequence[Array],
    vs: Sequence[Array],
    *,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    step: int,
    factor: float = 1.0,
) -> Any:
    """See `ops.adam.adam_steps`."""
    if not _float32(*ps, *gs, *ms, *vs) or not all(a.flags.c_contiguous for a in (*ps, *ms, *vs)):
        return NotImplemented
    gs = [contiguous(g) for g in gs]
    tables = _tables(ps, gs, ms, vs)
    numbers = (factor, lr / (1 - beta1**step), beta1, beta2, eps, 1 - beta2**step)
    launch("adam", "adam_many", len(tables[2]), *tables, *numbers, HALF=0)
    return None


def squared_norm(gs: Sequence[Array]) -> Any:
    """See `ops.adam.squared_norm`."""
    if not _float32(*gs):
        return NotImplemented
    gs = [contiguous(g) for g in gs]
    tables = _tables(gs)
    partial = empty((1, len(tables[2])), np.float32, like=gs[0])
    launch("adam", "squares", partial.size, *tables, partial, HALF=0)
    return join_sums(partial, 1.0)[0]


def _float32(*arrays: Array) -> bool:
    return all(a.dtype == np.float32 for a in arrays)


def _tables(*lists: Sequence[Array]) -> tuple[Array, Array, Array]:
    """What the kernels know of many arrays: addresses `(arrays, lists)`, sizes, chunks `(blocks, 2)`."""
    addresses = tuple(_address(a) for row in zip(*lists, strict=True) for a in row)
    return _uploaded(module_of(lists[0][0]), addresses, tuple(a.size for a in lists[0]))


# In training the same arrays come at every step: the gradients of a recorded step stay where they are.
@lru_cache(maxsize=16)
def _uploaded(xp: Any, addresses: tuple[int, ...], sizes: tuple[int, ...]) -> tuple[Array, Array, Array]:
    chunks = [(i, begin) for i, size in enumerate(sizes) for begin in range(0, size, _CHUNK)]
    return (
        xp.asarray(np.array(addresses, np.uint64)),
        xp.asarray(np.array(sizes, np.int32)),
        xp.asarray(np.array(chunks, np.int32)),
    )


def _address(x: Any) -> int:
    return x.data.ptr
