"""Made pictures: a photo and two paintings, and colors that are drawn."""

import numpy as np


def picture(height, width, seed=0):
    """A smooth picture of some colors."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    waves = [np.sin(2 * np.pi * (a * x + b * y + c)) for a, b, c in rng.uniform(-3, 3, (3, 3))]
    return (0.5 + 0.4 * np.stack(waves, axis=-1)).astype(np.float32)


PHOTO, ART, OTHER_ART = picture(24, 32, 1), picture(40, 20, 2), picture(30, 30, 3)


def colored(seed, spread=0.05, size=(40, 50)):
    """A picture whose colors stay away from black and white, so that nothing is cut off."""
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(3, 3)) * spread
    pixels = rng.uniform(0.4, 0.6, 3) + rng.normal(size=(*size, 3)).clip(-2, 2) @ mix.T
    return pixels.clip(0.01, 0.99).astype(np.float32)
