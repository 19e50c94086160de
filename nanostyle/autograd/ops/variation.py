"""Total variation."""

from nanostyle.autograd.tensor import Forward, op
from nanostyle.backend.device import module_of
from nanostyle.backend.dispatch import primitive
from nanostyle.backend.types import Array


@primitive
def total_variation_forward(x: Array) -> Array:
    """See `total_variation`."""
    xp = module_of(x)
    total: Array = xp.zeros((), x.dtype)
    for d in (x[:, 1:] - x[:, :-1], x[:, :, 1:] - x[:, :, :-1]):
        total += (d * d).sum()
    mean: Array = total / x.size
    return mean


@primitive
def total_variation_dx(g: Array, x: Array) -> Array:
    """dL/dx, from `g` = dL/d(total variation), an array with no axes."""
    dx: Array = module_of(x).zeros_like(x)
    scale = 2 * g / x.size
    down, right = (x[:, 1:] - x[:, :-1]) * scale, (x[:, :, 1:] - x[:, :, :-1]) * scale
    dx[:, 1:] += down
    dx[:, :-1] -= down
    dx[:, :, 1:] += right
    dx[:, :, :-1] -= right
    return dx


@op
def total_variation(x: Array) -> Forward:
    """`Σ ((x_{h+1,w} - x_{h,w})² + (x_{h,w+1} - x_{h,w})²) / (N·H·W·C)`: a number, 0 for a flat feature map.

    Source: Johnson 2016, section 3.2 (after Mahendran 2015, exponent 2). Departure: divided by the number of
    values, so that the weight holds for every size.
    """
    return total_variation_forward(x), (lambda g: total_variation_dx(g, x),)
