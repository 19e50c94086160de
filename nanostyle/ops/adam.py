"""Floor 1: the step of Adam, as primitives: no ops, nothing is differentiated through them."""

from collections.abc import Sequence

from nanostyle.arrays import Array, module_of, primitive


@primitive
def adam_step(
    p: Array, g: Array, m: Array, v: Array, *, lr: float, beta1: float, beta2: float, eps: float, step: int
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
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    step: int,
    factor: float = 1.0,
) -> None:
    """`adam_step` for many parameters, each gradient multiplied by `factor` first."""
    for p, g, m, v in zip(ps, gs, ms, vs, strict=True):
        g = g if factor == 1 else g * factor
        adam_step(p, g, m, v, lr=lr, beta1=beta1, beta2=beta2, eps=eps, step=step)


@primitive
def squared_norm(gs: Sequence[Array]) -> Array | float:
    """The sum of the squares of all numbers of all `gs`: a number, or an array without axes."""
    total = 0.0
    for g in gs:
        total += float(g.ravel() @ g.ravel())
    return total
