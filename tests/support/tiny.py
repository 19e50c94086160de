"""Small networks and pictures for the tests of training: everything in it is made up, and quick."""

import numpy as np
from PIL import Image

from nanostyle.backend.device import CPU
from nanostyle.nets.vgg import LossNetwork
from nanostyle.nn.module import parameters


def loss_parts(pooling="max"):
    """Config and parameters of `loss_network`."""
    rng = np.random.default_rng(99)
    layers = ["conv1_1", "relu1_1", "pool1", "conv2_1", "relu2_1"]
    weights = {}
    for name, C, M in (("conv1_1", 3, 6), ("conv2_1", 6, 8)):
        weights[f"{name}/weight"] = rng.standard_normal((3, 3, C, M)) * np.sqrt(2 / (9 * C))
        weights[f"{name}/bias"] = rng.standard_normal(M) * 0.1
    preprocess = {"order": "BGR", "scale": 1.0, "mean": [0.4, 0.45, 0.5], "std": [0.3, 0.3, 0.25]}
    config = {"layers": layers, "padding": "reflect", "pooling": pooling, "preprocess": preprocess}
    return config, weights


def loss_network(dtype=np.float32, pooling="max", device=CPU, mapped=False):
    """Two blocks of random convolutions; `mapped`: the deeper one is compared through a map."""
    config, weights = loss_parts(pooling)
    if mapped:
        weights["relu2_1/map"] = np.random.default_rng(2).standard_normal((8, 5))
    return LossNetwork(config, weights, dtype=dtype, device=device)


LAYERS = {"content_layers": ("relu2_1",), "style_layers": ("relu1_1", "relu2_1")}


def to_float64(net):
    """The network in double precision, its gammas and betas moved off 1 and 0."""
    rng = np.random.default_rng(7)
    for name, parameter in parameters(net).items():
        parameter.data = parameter.data.astype(np.float64)
        if not name.endswith("/weight"):
            parameter.data += 0.3 * rng.standard_normal(parameter.shape)
        else:
            parameter.data *= 10
    return net


def picture(rng, height, width):
    """Soft blobs of color with some noise: more like a photo than noise alone."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    waves = [np.sin(6.3 * (a * x + b * y + c)) for a, b, c in rng.random((3, 3)) * 3]
    noise = rng.random((height, width, 3)) * 0.2
    return np.clip(0.5 + 0.3 * np.stack(waves, axis=2) + noise - 0.1, 0, 1).astype(np.float32)


def write_pictures(folder, count, size=(40, 48), seed=0):
    """`count` pictures as PNG files `00.png`, `01.png`, ...; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    paths = []
    for i in range(count):
        paths.append(folder / f"{i:02d}.png")
        Image.fromarray((picture(rng, *size) * 255).astype(np.uint8)).save(paths[-1])
    return paths
