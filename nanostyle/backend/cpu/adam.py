"""Adam: a primitive of `optim/adam.py`, block by block."""

from types import NotImplementedType

import numpy as np

from nanostyle.backend.cpu.blocking import contiguous, flat_blocks
from nanostyle.backend.memory import scratch
from nanostyle.backend.threads import parallel
from nanostyle.backend.types import Array


def adam_step(
    p: Array, g: Array, m: Array, v: Array, *, lr: float, beta1: float, beta2: float, eps: float, step: float
) -> NotImplementedType | None:
    """See `optim.adam.adam_step`. Not for parameters whose values do not lie one after the other."""
    if not all(x.flags.c_contiguous for x in (p, m, v)):
        return NotImplemented
    # Both corrections of the bias, moved into the rate and into epsilon (Kingma 2015, end of section 2).
    root = (1 - beta2**step) ** 0.5
    rate, eps = lr * root / (1 - beta1**step), eps * root
    ps, gs, ms, vs = (x.reshape(-1) for x in (p, contiguous(g), m, v))

    def job(block: slice) -> None:
        p, g, m, v = ps[block], gs[block], ms[block], vs[block]
        t = scratch("adam", p.shape)
        np.multiply(np.subtract(g, m, out=t), 1 - beta1, out=t)
        np.add(m, t, out=m)
        np.subtract(np.multiply(g, g, out=t), v, out=t)
        np.add(v, np.multiply(t, 1 - beta2, out=t), out=v)
        np.add(np.sqrt(v, out=t), eps, out=t)
        np.divide(m, t, out=t)
        np.subtract(p, np.multiply(t, rate, out=t), out=p)

    parallel(job, flat_blocks(p.size))
    return None
