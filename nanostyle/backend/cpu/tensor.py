"""Adding up gradients in strips: the twin of the primitive in `tensor.py`."""

import numpy as np

from nanostyle.backend.cpu.blocking import chunks, contiguous
from nanostyle.backend.threads import parallel
from nanostyle.backend.types import Array


def add_up(a: Array, b: Array, *, out: Array) -> Array:
    """See `tensor.add_up`. Not for an `out` whose values do not lie one after the other."""
    if not out.flags.c_contiguous or b.dtype != a.dtype:
        return NotImplemented
    a_flat, b_flat, out_flat = contiguous(a).reshape(-1), contiguous(b).reshape(-1), out.reshape(-1)
    parallel(lambda part: np.add(a_flat[part], b_flat[part], out=out_flat[part]), chunks(out.size))
    return out
