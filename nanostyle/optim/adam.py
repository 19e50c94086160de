"""Adam (Kingma 2015): its primitives, and the optimizer over named parameters.

The primitives have no gradients. On a GPU the numbers that differ from step to step (rate, step number, factor) may be
arrays without axes: a recorded step reads them anew each time. A `factor` that is infinite or NaN means that the step
is not taken, and nothing changes.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from nanostyle.autograd.tensor import Tensor
from nanostyle.backend.device import module_of
from nanostyle.backend.dispatch import primitive
from nanostyle.backend.types import Array, Number


@primitive
def adam_step(
    p: Array, g: Array, m: Array, v: Array, *, lr: float, beta1: float, beta2: float, eps: float, step: float
) -> None:
    """Move `p` against its gradient `g`, in place; `m` and `v` are Adam's moments, `step` counts from 1.

    All four have one shape. Source: Kingma 2015, algorithm 1, with its bias correction.
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
    """`adam_step` for many parameters, each gradient multiplied by `factor` first."""
    factor = float(factor)
    if not np.isfinite(factor):
        return
    for p, g, m, v in zip(ps, gs, ms, vs, strict=True):
        g = g if factor == 1 else g * factor
        adam_step(p, g, m, v, lr=float(lr), beta1=beta1, beta2=beta2, eps=eps, step=float(step))


@primitive
def average_steps(averages: Sequence[Array], ps: Sequence[Array], *, weight: Number, factor: Number) -> None:
    """Move each running average towards its parameter by the share `weight`, in place."""
    if not np.isfinite(float(factor)):
        return
    for average, p in zip(averages, ps, strict=True):
        average += float(weight) * (p - average)


@primitive
def clip_grad_norm(gs: Sequence[Array], *, max_norm: float, scale: Number) -> tuple[Number, Number]:
    """The norm of all of `gs / scale` together, and the factor on `gs` that makes it at most `max_norm`.

    Where the norm is not finite, the factor is not either. Source: Pascanu 2013, algorithm 1.
    """
    total = 0.0
    for g in gs:
        total += float(g.ravel() @ g.ravel())
    norm, scale = total**0.5 / float(scale), float(scale)
    return norm, min(1.0, max_norm / max(norm, 1e-12)) / scale if np.isfinite(norm) else norm


class Adam:
    """Adam (Kingma 2015, algorithm 1) over named parameters, whose arrays are changed in place.

    Attributes
    ----------
    lr : float
        The learning rate; may be changed between steps.
    m, v : dict of Array
        The moments, by the parameter's name: running means of the gradient and of its square.
    t : int
        Steps done.

    Examples
    --------
    >>> p = Tensor(np.array([3.0, -2.0]), requires_grad=True)
    >>> adam = Adam({"p": p}, lr=0.5)
    >>> for _ in range(2):
    ...     p.grad = 2 * p.data
    ...     adam.step()
    >>> p.data.round(2)
    array([ 2.  , -1.01])
    """

    def __init__(
        self, parameters: Mapping[str, Tensor], *, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999)
    ) -> None:
        self.parameters = dict(parameters)
        self.lr, self.betas, self.eps, self.t = lr, betas, 1e-8, 0
        self.m = {name: module_of(p.data).zeros_like(p.data) for name, p in self.parameters.items()}
        self.v = {name: module_of(p.data).zeros_like(p.data) for name, p in self.parameters.items()}

    def step(self) -> None:
        """Move every parameter that has a gradient, in place, and forget the gradients."""
        self.t += 1
        self.move(self.lr, self.t)

    def move(self, lr: Number, t: Number, factor: Number = 1.0) -> None:
        """Take step number `t` at the rate `lr`, with the gradients times `factor`; `self.t` stays as it is."""
        moved = {name: p for name, p in self.parameters.items() if p.grad is not None}
        if not moved:
            return
        adam_steps(
            [p.data for p in moved.values()],
            [p.grad for p in moved.values() if p.grad is not None],
            [self.m[name] for name in moved],
            [self.v[name] for name in moved],
            lr=lr,
            beta1=self.betas[0],
            beta2=self.betas[1],
            eps=self.eps,
            step=t,
            factor=factor,
        )
        for p in moved.values():
            p.grad = None
