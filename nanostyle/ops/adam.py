"""Floor 1: the step of Adam, as primitives: no ops, nothing is differentiated through them.

A number that differs from step to step may be an array without axes on a GPU: so a recorded step finds a new one each
time. One that is not finite, as a gradient's factor, stands for a step that is not taken.
"""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from nanostyle.arrays import Array, module_of, primitive

Number: TypeAlias = Array | float


@primitive
def adam_step(
    p: Array, g: Array, m: Array, v: Array, *, lr: float, beta1: float, beta2: float, eps: float, step: float
) -> None:
    """Move `p` against its gradient `g`, in place; `m` and `v` are the running means, `step` counts from 1.

    Source: Kingma 2015, algorithm 1, with its bias correction.
    """
    m += (1 - beta1) * (g - m)
    v += (1 - beta2) * (g * g - v)
    p -= (lr / (1 - beta1**step)) * m / (module_of(p).sqrt(v / (1 - beta2**step)) + eps)


@primitive
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
) -> None:
    """`adam_step` for many parameters, each gradient multiplied by `factor` first; nothing moves if that is not finite.

    `lr`, `step` and `factor` are numbers of the kind that this file's head names.
    """
    factor = float(factor)
    if not np.isfinite(factor):
        return
    for p, g, m, v in zip(ps, gs, ms, vs, strict=True):
        g = g if factor == 1 else g * factor
        adam_step(p, g, m, v, lr=float(lr), beta1=beta1, beta2=beta2, eps=eps, step=float(step))


@primitive
def average_steps(averages: Sequence[Array], ps: Sequence[Array], *, weight: Number, factor: Number) -> None:
    """Move running averages of parameters towards these by `weight`, in place; not where `factor` is not finite."""
    if not np.isfinite(float(factor)):
        return
    for average, p in zip(averages, ps, strict=True):
        average += float(weight) * (p - average)


@primitive
def clipping(gs: Sequence[Array], *, longest: float, scale: Number) -> tuple[Number, Number]:
    """The length of all of `gs / scale` together, and what `gs` is multiplied by to make it at most `longest`.

    Where the first is not finite, neither is the second: such a step is not to be taken.
    """
    total = 0.0
    for g in gs:
        total += float(g.ravel() @ g.ravel())
    norm, scale = total**0.5 / float(scale), float(scale)
    return norm, min(1.0, longest / max(norm, 1e-12)) / scale if np.isfinite(norm) else norm
