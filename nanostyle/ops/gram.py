"""Floor 1: Gram matrices and total variation, the two ops that only this field needs."""

from typing import Any

from nanostyle.arrays import Array, module_of, primitive
from nanostyle.tensor import op


@primitive
def gram_forward(x: Array) -> Array:
    """`(N, C, C)`: for every picture the mean over its pixels of `x xᵀ`."""
    N, H, W, C = x.shape
    f = x.reshape(N, H * W, C)
    return f.swapaxes(1, 2) @ f * (1 / (H * W))


@primitive
def gram_dx(g: Array, x: Array) -> Array:
    """dL/dx, from `g` = dL/dG `(N, C, C)`."""
    N, H, W, C = x.shape
    return (x.reshape(N, H * W, C) @ ((g + g.swapaxes(1, 2)) * (1 / (H * W)))).reshape(x.shape)


@op
def gram(x: Array) -> tuple[Any, ...]:
    """The Gram matrix `(N, C, C)` of feature maps `x (N, H, W, C)`: `G_ij = Σ F_i F_j / (H·W)`.

    Source: Gatys 2016, equation 3. Departure: the mean over the pixels in place of their sum, so that pictures
    of different sizes can be compared; `losses.py` restores the paper's constants where they are asked for.
    """
    return gram_forward(x), (lambda g: gram_dx(g, x),)


@primitive
def total_variation_forward(x: Array) -> Array:
    """See `total_variation`."""
    xp = module_of(x)
    total = xp.zeros((), x.dtype)
    for d in (x[:, 1:] - x[:, :-1], x[:, :, 1:] - x[:, :, :-1]):
        total += (d * d).sum()
    return total / x.size


@primitive
def total_variation_dx(g: Array, x: Array) -> Array:
    """dL/dx, from `g` = dL/d(total variation), an array with no axes."""
    dx = module_of(x).zeros_like(x)
    scale = 2 * g / x.size
    down, right = (x[:, 1:] - x[:, :-1]) * scale, (x[:, :, 1:] - x[:, :, :-1]) * scale
    dx[:, 1:] += down
    dx[:, :-1] -= down
    dx[:, :, 1:] += right
    dx[:, :, :-1] -= right
    return dx


@op
def total_variation(x: Array) -> tuple[Any, ...]:
    """`Σ ((x_{h+1,w} - x_{h,w})² + (x_{h,w+1} - x_{h,w})²) / (N·H·W·C)`: a number, 0 for a flat picture.

    Source: Johnson 2016, section 3.2 (after Mahendran 2015, exponent 2). Departure: divided by the number of
    values, so that the weight holds for every size.
    """
    return total_variation_forward(x), (lambda g: total_variation_dx(g, x),)
