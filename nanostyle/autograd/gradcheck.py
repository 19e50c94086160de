"""Is a gradient the derivative? Directional finite differences in float64, for users and for tests."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from nanostyle.autograd.tensor import Tensor


class Check(NamedTuple):
    """The two numbers that ought to agree: d/dt f(inputs + t·direction) at 0, in two ways."""

    analytic: float
    numeric: float

    @property
    def error(self) -> float:
        """Their relative difference; absolute where both are below 1e-4, where the differences lose digits."""
        return abs(self.analytic - self.numeric) / max(abs(self.analytic), abs(self.numeric), 1e-4)


def gradcheck(
    f: Callable[..., Tensor],
    inputs: Sequence[npt.NDArray[np.float64]],
    *,
    frozen: Sequence[int] = (),
    seed: int = 0,
    step: float = 1e-6,
) -> Check:
    """Compare the gradient of `f` with finite differences along one random direction.

    A random `weight` makes one number of the output, `Σ weight·f(inputs)`; a random direction, over all inputs
    at once except those whose positions are `frozen`, makes one derivative of all gradients. So one evaluation
    of `f` on each side suffices, whatever the sizes.

    Raises
    ------
    ValueError
        An input is not float64: in float32 finite differences show nothing.
    """
    if any(x.dtype != np.float64 for x in inputs):
        raise ValueError(f"gradcheck: expected float64 inputs, got {[str(x.dtype) for x in inputs]}")
    rng = np.random.default_rng(seed)
    directions = [np.zeros_like(x) if i in frozen else rng.standard_normal(x.shape) for i, x in enumerate(inputs)]

    leaves = [Tensor(x, requires_grad=i not in frozen) for i, x in enumerate(inputs)]
    y = f(*leaves)
    weight = np.asarray(rng.standard_normal(y.shape))
    y.backward(weight)
    analytic = sum(float(np.vdot(t.grad, d)) for t, d in zip(leaves, directions, strict=True) if t.grad is not None)

    ahead, behind = (
        float(np.vdot(weight, f(*(Tensor(x + h * d) for x, d in zip(inputs, directions, strict=True))).data))
        for h in (step, -step)
    )
    return Check(analytic, (ahead - behind) / (2 * step))
