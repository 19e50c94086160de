"""Floor 1: the step of Adam, as a primitive: no op, nothing is differentiated through it."""

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
