"""The sum of two gradients: a primitive of `autograd/tensor.py`, block by block."""

import numpy as np

from nanostyle.backend.cpu.blocking import contiguous, flat_blocks
from nanostyle.backend.threads import parallel
from nanostyle.backend.types import Array


def add_up(a: Array, b: Array, *, out: Array) -> Array:
    """See `tensor.add_up`. Not for an `out` whose values do not lie one after the other."""
    if not out.flags.c_contiguous or b.dtype != a.dtype:
        return NotImplemented
    a_flat, b_flat, out_flat = contiguous(a).reshape(-1), contiguous(b).reshape(-1), out.reshape(-1)
    parallel(lambda block: np.add(a_flat[block], b_flat[block], out=out_flat[block]), flat_blocks(out.size))
    return out
