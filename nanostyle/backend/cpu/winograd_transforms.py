"""Winograd transforms: fast algorithms for a kernel of 3, along one axis, each as three small matrices.

A tile of outputs is `output @ ((kernel @ w) * (window @ x))`: the pixels of its window and the three weights are
each transformed to P points, multiplied point by point, and transformed back. In two dimensions each matrix acts on the
rows and on the columns; summed over channels, the products are P² matrix products of (tiles, C) and (C, M).

Winograd's minimal filtering is one instance (Lavin & Gray 2016, "Fast Algorithms for Convolutional Neural
Networks"). Stride and upsampling are others: their outputs fall into classes (even and odd pixels) with two-tap or
one-tap kernels of their own, and the matrices of the classes stand side by side.
"""

from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from typing import NamedTuple

import numpy as np

from nanostyle.backend.types import Array

# The interpolation points, besides ∞, by their number. Chosen for a small rounding error, and such that the
# matrices of pixels hold exact binary fractions. Against 0, ±1, ±2 the error of F(4, 3) is halved.
_POINTS = {
    2: ("0", "1"),
    3: ("0", "1", "-1"),
    4: ("0", "3/4", "-3/4", "2"),
    5: ("0", "5/8", "-5/8", "3/2", "-3/2"),
}


class Transforms(NamedTuple):
    """One algorithm along one axis; the same one serves rows and columns.

    Tile t holds the outputs from `t·len(output)` on and reads the pixels from `t·step + start` on.
    """

    window: Array  # (P, pixels read)
    kernel: Array  # (P, 3)
    output: Array  # (pixels written, P)
    step: int
    start: int


@cache
def forward_transforms(tile: int, stride: int, upsample: int, pad: int) -> Transforms:
    """The convolution with (stride, upsample) one of (1, 1), (2, 1) and (1, 2), the last with pad 1.

    `tile` is 4 or 2: a larger tile multiplies less and rounds more.
    """
    if upsample == 2:
        # Output 2t reads the pixels t-1, t, t of the upsampled input, output 2t+1 the pixels t, t, t+1.
        A, G, B = minimal_filter(tile, 2)
        even = (np.pad(B, ((0, 0), (0, 1))), G @ [[1, 0, 0], [0, 1, 1]], _every_other(A, 0))
        odd = (np.pad(B, ((0, 0), (1, 0))), G @ [[1, 1, 0], [0, 0, 1]], _every_other(A, 1))
        return _side_by_side([even, odd], step=tile, start=-pad)
    if stride == 2:
        # Output t reads the pixels 2t, 2t+2 by the outer weights and 2t+1 by the middle one.
        A, G, B = minimal_filter(tile, 2)
        outer = (_every_other(B.T, 0, of=2 * tile + 1).T, G @ [[1, 0, 0], [0, 0, 1]], A)
        middle = (_every_other(np.eye(tile), 1, of=2 * tile + 1).T, np.tile([0, 1, 0], (tile, 1)), np.eye(tile))
        return _side_by_side([outer, middle], step=2 * tile, start=-pad)
    A, G, B = minimal_filter(tile, 3)
    return _side_by_side([(B, G, A)], step=tile, start=-pad)


@cache
def dx_transforms(tile: int, stride: int, upsample: int, pad: int) -> Transforms:
    """The gradient of that convolution with respect to its input, as a convolution over the gradient of its result.

    It leaves out what the border's pixels would receive.
    """
    if upsample == 2:
        # Pixel t was read by the outputs 2t-1, 2t, 2t+1, 2t+2, by the weights 2, 1+2, 0+1, 0.
        A, G, B = minimal_filter(tile, 2)
        width = 2 * tile + 2
        odd = (_every_other(B.T, 0, of=width).T, G @ [[0, 0, 1], [1, 1, 0]], A)
        even = (_every_other(B.T, 1, of=width).T, G @ [[0, 1, 1], [1, 0, 0]], A)
        return _side_by_side([odd, even], step=2 * tile, start=-pad)
    if stride == 2:
        # Of the padded input, pixel 2t was read by the outputs t-1 and t, by the outer weights; pixel 2t+1 by t.
        A, G, B = minimal_filter(tile, 2)
        first = pad % 2
        one = np.pad(np.eye(tile), ((0, 0), (1 - first, first)))
        outer = (B, G @ [[0, 0, 1], [1, 0, 0]], _every_other(A, first))
        middle = (one, np.tile([0, 1, 0], (tile, 1)), _every_other(np.eye(tile), 1 - first))
        return _side_by_side([outer, middle], step=tile, start=pad // 2 - 1 + first)
    A, G, B = minimal_filter(tile, 3)
    return _side_by_side([(B, G[:, ::-1], A)], step=tile, start=pad - 2)


def _every_other(matrix: Array, first: int, of: int = 0) -> Array:
    """The rows of `matrix`, set at every other row from `first` on, among rows of zeros (`of` in all)."""
    spread = np.zeros((of or 2 * len(matrix), matrix.shape[1]))
    spread[first::2][: len(matrix)] = matrix
    return spread


def _side_by_side(parts: Sequence[tuple[Array, Array, Array]], *, step: int, start: int) -> Transforms:
    windows, kernels, outputs = zip(*parts, strict=True)
    return Transforms(
        np.concatenate(windows).astype(np.float32),
        np.concatenate(kernels).astype(np.float32),
        np.concatenate(outputs, axis=1).astype(np.float32),
        step,
        start,
    )


def minimal_filter(m: int, r: int) -> tuple[Array, Array, Array]:
    """F(m, r) in float64: A `(m, n)`, G `(n, r)`, B `(n, n)` with n = m + r - 1, so that y = A ((G w) * (B x)).

    y has m outputs of the correlation of n pixels x with r weights w. By interpolation at n - 1 points and ∞
    (Toom-Cook, transposed), in exact fractions.
    """
    points = [Fraction(p) for p in _POINTS[m + r - 2]]
    n = m + r - 1
    at_infinity = [Fraction(0)] * (n - 1) + [Fraction(1)]
    powers = [[p**i for i in range(n)] for p in points] + [at_infinity]
    others = [[q for q in points if q != p] for p in points]
    scale = [_polynomial(roots, p) for p, roots in zip(points, others, strict=True)] + [Fraction(1)]
    A = [[powers[j][i] for j in range(n - 1)] + [Fraction(i == m - 1)] for i in range(m)]
    G = [[powers[j][i] / scale[j] for i in range(r)] for j in range(n - 1)] + [[Fraction(i == r - 1) for i in range(r)]]
    B = [[*_coefficients(roots), Fraction(0)] for roots in others] + [_coefficients(points)]
    a, g, b = (np.array(rows, dtype=np.float64) for rows in (A, G, B))
    return a, g, b


def _polynomial(roots: Sequence[Fraction], x: Fraction) -> Fraction:
    """The value at `x` of the polynomial Π (x - root)."""
    value = Fraction(1)
    for root in roots:
        value *= x - root
    return value


def _coefficients(roots: Sequence[Fraction]) -> list[Fraction]:
    """The coefficients of Π (x - root), the constant first."""
    c = [Fraction(1)]
    for root in roots:
        c = [up - root * here for up, here in zip([Fraction(0), *c], [*c, Fraction(0)], strict=True)]
    return c
