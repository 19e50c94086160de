"""Grain in the input of a network that stylizes in one pass.

A smooth picture, as a denoised sky or a drawing, has nothing in it but the steps of 8 bits. Instance norm enlarges what
there is: the sky becomes hard stripes along these steps, and flat ground gets no stroke at all. Grain too faint to see
gives the network something to paint with. A photo has grain of its own and is hardly changed by it.
"""

from collections.abc import Sequence
from functools import lru_cache
from threading import Lock

import numpy as np

from nanostyle.backend.rows import Computed, Rows
from nanostyle.backend.types import Pixels

DEVIATION = 1.2 / 255
"""Of the grain, in pictures of 0..1."""

_BLOCK = 32  # rows that are drawn at once


def draw_grain(shape: tuple[int, ...], deviation: float, seed: int | Sequence[int]) -> Pixels:
    """Gray grain, one channel, for pictures of `shape` `(H, W)` or `(N, H, W)`; the same for one seed and shape."""
    drawn = np.random.default_rng(seed).standard_normal((*shape, 1), np.float32)
    grain: Pixels = drawn * np.float32(deviation)
    return grain


# The frames of a video have the same grain.
_SMALL = 1 << 21  # pixels; of larger pictures the grain is not kept
_kept = lru_cache(2)(draw_grain)


def with_grain(pixels: Pixels, shift: tuple[int, int] = (0, 0)) -> Pixels:
    """`pixels` `(H, W, 3)` with the grain that every use has: float32, not clipped to 0..1.

    Of a frame that has moved over its scene by `shift` (down, right) the grain has moved with the scene.
    """
    height, width = pixels.shape[:2]
    grain = (_kept if height * width <= _SMALL else draw_grain)((height, width), DEVIATION, 0)
    return pixels + (np.roll(grain, (-shift[0], -shift[1]), (0, 1)) if any(shift) else grain)


def grainy_rows(photo: Rows) -> Rows:
    """`with_grain` for rows: the same grain, drawn again for every range of rows that is read."""
    height, width, _ = photo.shape
    rng, lock = np.random.default_rng(0), Lock()  # several bands are read at once
    states = [rng.bit_generator.state]  # before each block of rows

    def draw(start: int, stop: int) -> Pixels:
        first, last = start // _BLOCK, -(-stop // _BLOCK)
        drawn = []
        with lock:
            for i in range(min(first, len(states) - 1), last):
                rng.bit_generator.state = states[i]
                block = rng.standard_normal((min(_BLOCK, height - i * _BLOCK), width, 1), np.float32)
                if i + 1 == len(states):
                    states.append(rng.bit_generator.state)
                if i >= first:
                    drawn.append(block)
        grain: Pixels = np.concatenate(drawn)[start - first * _BLOCK : stop - first * _BLOCK]
        grainy: Pixels = photo.read(start, stop) + grain * np.float32(DEVIATION)
        return grainy

    return Computed(photo.shape, draw)
