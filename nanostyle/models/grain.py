"""Grain in the input of a network that stylizes in one pass.

A smooth picture, as a denoised sky or a drawing, has nothing in it but the steps of 8 bits. Instance norm enlarges what
there is: the sky becomes hard stripes along these steps, and flat ground gets no stroke at all. Grain too faint to see
gives the network something to paint with. A photo has grain of its own and is hardly changed by it.
"""

from collections.abc import Sequence

import numpy as np

from nanostyle.backend.types import Pixels

DEVIATION = 1.2 / 255
"""Of the grain, in pictures of 0..1."""


def draw_grain(shape: tuple[int, ...], deviation: float, seed: int | Sequence[int]) -> Pixels:
    """Gray grain, one channel, for pictures of `shape` `(H, W)` or `(N, H, W)`; the same for one seed and shape."""
    drawn = np.random.default_rng(seed).standard_normal((*shape, 1), np.float32)
    grain: Pixels = drawn * np.float32(deviation)
    return grain


def with_grain(pixels: Pixels, shift: tuple[int, int] = (0, 0)) -> Pixels:
    """`pixels` `(H, W, 3)` with the grain that every use has: float32, not clipped to 0..1.

    Of a frame that has moved over its scene by `shift` (down, right) the grain has moved with the scene.
    """
    grain = draw_grain(pixels.shape[:2], DEVIATION, 0)
    return pixels + (np.roll(grain, (-shift[0], -shift[1]), (0, 1)) if any(shift) else grain)
