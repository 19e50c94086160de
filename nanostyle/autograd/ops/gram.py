"""Gram matrices, the statistics of style."""

from nanostyle.autograd.tensor import Forward, op
from nanostyle.backend.dispatch import primitive
from nanostyle.backend.types import Array


@primitive
def gram_forward(x: Array) -> Array:
    """`(N, C, C)`: for every feature map the mean over its pixels of `x xᵀ`."""
    N, H, W, C = x.shape
    f = x.reshape(N, H * W, C)
    G: Array = f.swapaxes(1, 2) @ f * (1 / (H * W))
    return G


@primitive
def gram_dx(g: Array, x: Array) -> Array:
    """dL/dx, from `g` = dL/dG `(N, C, C)`."""
    N, H, W, C = x.shape
    dx: Array = x.reshape(N, H * W, C) @ ((g + g.swapaxes(1, 2)) * (1 / (H * W)))
    return dx.reshape(x.shape)


@op
def gram(x: Array) -> Forward:
    """The Gram matrix `(N, C, C)` of feature maps `x (N, H, W, C)`: `G_ij = Σ F_i F_j / (H·W)`.

    Source: Gatys 2016, equation 3. Departure: the mean over the pixels in place of their sum, so that feature maps
    of different sizes can be compared; `nn/losses.py` restores the paper's constants where they are asked for.
    """
    return gram_forward(x), (lambda g: gram_dx(g, x),)
