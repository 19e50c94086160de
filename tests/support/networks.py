"""Small loss networks for tests, and the real one where its file is at hand."""

import numpy as np
import pytest

from nanostyle.nets.vgg import LossNetwork
from nanostyle.nets.vgg_config import PREPROCESS
from tests.support.paths import DATA

REAL_VGG19 = DATA / "vgg19" / "vgg19_normalised_relu4_1.npz"

needs_real_vgg19 = pytest.mark.skipif(not REAL_VGG19.exists(), reason=f"no file {REAL_VGG19}: set NANOSTYLE_DATA")

CAFFE, TORCH = PREPROCESS["caffe"], PREPROCESS["torch"]


def vgg_parts(channels=(4, 6, 8), convs=2, *, seed=0, preprocess=TORCH, padding="zero", pooling="max"):
    """Config and random parameters of a VGG with one block per entry of `channels`."""
    rng = np.random.default_rng(seed)
    layers, parameters, width = [], {}, 3
    for i, C in enumerate(channels, 1):
        for j in range(1, convs + 1):
            layers += [f"conv{i}_{j}", f"relu{i}_{j}"]
            parameters[f"conv{i}_{j}/weight"] = (
                rng.standard_normal((3, 3, width, C)) * (2 / (9 * width)) ** 0.5
            ).astype(np.float32)
            parameters[f"conv{i}_{j}/bias"] = (0.1 * rng.standard_normal(C)).astype(np.float32)
            width = C
        layers.append(f"pool{i}")
    return {"layers": layers, "padding": padding, "pooling": pooling, "preprocess": preprocess}, parameters


def tiny_vgg(*, dtype=np.float32, **parts):
    """A loss network that runs in no time."""
    return LossNetwork(*vgg_parts(**parts), dtype=dtype)
