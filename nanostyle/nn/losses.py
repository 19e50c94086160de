"""The terms of the loss of a stylized picture.

Two scales. `relative`, the default, divides by the size of what is aimed at, so one weight holds for every
picture size, layer and network. `paper` is the exact formula of Gatys 2016.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

import numpy as np

from nanostyle.autograd.ops import (
    avg_pool,
    cast,
    concat,
    crop,
    gram,
    matmul,
    mean,
    relative_distance,
    reshape,
    squared_distance,
)
from nanostyle.autograd.tensor import Tensor
from nanostyle.backend.device import module_of
from nanostyle.backend.types import Array

Scale = Literal["relative", "paper"]


def content_loss(F: Tensor, P: Array, *, scale: Scale = "relative") -> Tensor:
    """How far the features `F` are from those of the photo, `P`, both `(N, H, W, C)`: a number.

    `relative`: the mean over the pictures of ||F - P||² / ||P||². `paper`: ½ Σ (F - P)² (Gatys 2016, equation 1).

    >>> P = np.full((1, 2, 2, 3), 2.0)
    >>> [content_loss(Tensor(P + 1), P, scale=scale).item() for scale in ("relative", "paper")]
    [0.25, 6.0]
    """
    if scale == "relative":
        return relative_distance(F, target=P)
    return squared_distance(F, P, weight=module_of(P).full(len(P), 0.5, np.float32))


def style_loss(G: Tensor, A: Array, *, scale: Scale = "relative", weight: Array | None = None) -> Tensor:
    """How far the Gram matrices `G` of one layer are from those of the style, `A`, both `(N, C, C)`: a number.

    `relative`: the mean over the pictures of ||G - A||² / ||A||², each times its `weight` `(N,)` if given.
    `paper`: Σ (G - A)² / (4 C²) (Gatys 2016, equation 4: with Gram matrices that are sums over the M pixels it
    reads 1 / (4 C² M²); ours are means).

    >>> A = np.full((1, 2, 2), 2.0)
    >>> [style_loss(Tensor(A + 1), A, scale=scale).item() for scale in ("relative", "paper")]
    [0.25, 0.25]
    """
    if scale == "relative":
        return relative_distance(G, target=A, weight=weight)
    N, C = G.shape[:2]
    share = module_of(A).full(N, 1 / (4 * C**2), A.dtype)
    return squared_distance(G, A, weight=share if weight is None else share * weight)


def grid_loss(y: Tensor, *, period: int = 4) -> Tensor:
    """How much pictures `(N, H, W, C)` repeat a grid of `period` x `period` pixels: a number, 0 for none.

    The variance of the means of all pixels that stand at the same place of the grid. A network that enlarges in steps
    treats the pixels of a step differently (Odena 2016, "Deconvolution and Checkerboard Artifacts"), and where it meets
    much contrast, a ReLU makes of that a difference of brightness: a weave, to which Gram matrices are all but blind.
    The loss is ours, not of a paper. What is left over at the bottom and the right does not count.

    >>> woven = np.zeros((1, 8, 8, 1))
    >>> woven[:, ::4] = 1
    >>> grid_loss(Tensor(woven)).item(), grid_loss(Tensor(np.ones((1, 8, 8, 1)))).item()
    (0.1875, 0.0)

    Raises
    ------
    ValueError
        The pictures are smaller than the grid.
    """
    N, H, W, C = y.shape
    h, w = H // period, W // period
    if not h or not w:
        raise ValueError(f"grid loss: expected pictures of at least {period}x{period}, got {W}x{H}")
    y = cast(crop(y, top=0, left=0, height=h * period, width=w * period), dtype=np.result_type(y.dtype, np.float32))
    means = mean(reshape(y, shape=(N, h, period, w, period, C)), axis=(1, 3))
    d = means - mean(means, axis=(1, 2), keepdims=True)
    return mean(d * d)


# Brightness, red against green, blue against yellow: orthonormal, the two of color times 4. Pictures vary in
# brightness far more than in color, and a loss that weighs both alike hardly sees color.
_OPPONENT = np.array([[1, 1, 1], [1, -1, 0], [1, 1, -2]]).T / np.sqrt([3, 2, 6]) * [1, 4, 4]
_POOLED = 4

# Typical of paintings of many colors. Without them those of few, whose faults nobody sees, would outweigh all others.
_LEAST_SPREAD, _LEAST_COVARIANCE = 0.15, 0.02


@cache
def _opponent(xp: Any, dtype: np.dtype[Any]) -> Array:
    """The matrix where the pictures are: kept, for what is recorded on a GPU may not upload."""
    matrix: Array = xp.asarray(_OPPONENT, dtype)
    return matrix


def palette(y: Tensor) -> Tensor:
    """The colors of pictures `(N, H, W, 3)`, RGB in 0..1: mean and covariance in an opponent space, `(N, 4, 3)`.

    The first row is the mean, the others are the covariance matrix, of the means of 4 x 4 pixels: what the eye takes
    for color is not that of single pixels.

    Raises
    ------
    ValueError
        The pictures are smaller than 4 x 4.
    """
    y = cast(y, dtype=np.result_type(y.dtype, np.float32))
    pooled = avg_pool(y, size=_POOLED, stride=_POOLED)
    colors = matmul(pooled, _opponent(module_of(y.data), y.dtype))
    center = mean(colors, axis=(1, 2), keepdims=True)
    return concat(reshape(center, shape=(len(y.data), 1, 3)), gram(colors - center), axis=1)


def palette_loss(P: Tensor, A: Array, *, weight: Array | None = None) -> Tensor:
    """How far palettes `P` are from those of the style, `A`, both `(N, 4, 3)` as `palette` gives them: a number.

    The mean over the pictures of ||mean - mean_A||² / trace(covariance_A) + ||covariance - covariance_A||² /
    ||covariance_A||², each times its `weight` `(N,)` if given. The divisors are at least what is typical of paintings
    of many colors. The term is ours, not of a paper.
    """
    xp, N = module_of(A), len(A)
    spread = xp.maximum(xp.trace(A[:, 1:], axis1=1, axis2=2), _LEAST_SPREAD)
    size = xp.maximum((A[:, 1:] ** 2).sum(axis=(1, 2)), _LEAST_COVARIANCE)
    # One distance serves both: the rows are scaled, then compared.
    scale = xp.stack([1 / spread, *[1 / size] * 3], axis=1)[:, :, None] ** 0.5
    share = xp.full(N, 1 / N, A.dtype) if weight is None else weight / N
    return squared_distance(P * scale, A * scale, weight=share)


def normalized(weights: Sequence[float] | None, count: int) -> list[float]:
    """`weights` divided by their sum; equal parts without them.

    >>> normalized([1, 3], 2), normalized(None, 2)
    ([0.25, 0.75], [0.5, 0.5])

    Raises
    ------
    ValueError
        There is not one weight per style, or they are not finite numbers of 0 or more with one above 0.
    """
    weights = [1.0] * count if weights is None or not len(weights) else list(weights)
    total = sum(weights)
    if len(weights) != count:
        raise ValueError(f"weight: expected one for each of {count} styles, in their order, got {len(weights)}")
    if not all(w >= 0 for w in weights) or not (0 < total < np.inf):
        raise ValueError(f"weight: expected numbers of 0 or more, at least one above 0, got {weights}")
    return [w / total for w in weights]
