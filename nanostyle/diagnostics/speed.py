"""Time the networks with random weights on this machine: the table of `nanostyle bench networks`."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from math import prod
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from nanostyle.autograd.tensor import Tensor, no_grad
from nanostyle.backend.device import CPU, Device
from nanostyle.backend.memory import empty
from nanostyle.backend.threads import parallel, thread_count
from nanostyle.backend.types import Array
from nanostyle.nets.cost import transformer_flops, vgg_flops
from nanostyle.nets.perceptual import PerceptualLoss, PixelObjective, StyleTarget
from nanostyle.nets.transformer import TransformerNet
from nanostyle.nets.transformer_config import transformer_config
from nanostyle.nets.vgg import LossNetwork
from nanostyle.nets.vgg_config import BLOCKS, PREPROCESS, vgg_layers, vgg_shapes

SIZES = {"256x256": (256, 256), "512x512": (512, 512), "1920x1080": (1080, 1920)}


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes
    ----------
    name : str
        What was done, and at which size.
    milliseconds : float
        The median time.
    gflops : float
        Billions of multiplications and additions per second, counted as direct convolution takes them: the fast
        algorithms need fewer, so this may exceed what the machine can do.
    share : float
        `gflops` as a part of the machine's matrix product, measured just before.
    """

    name: str
    milliseconds: float
    gflops: float
    share: float


def networks(*, rounds: int = 5) -> Iterator[Row]:
    """Time the networks on the CPU: stylizing, then VGG-19 to relu4_1 with the gradient to the picture."""
    net, network = transformer(), vgg19()
    for name, (H, W) in SIZES.items():
        yield _row(f"transformer {name}", partial(stylize, net, picture(1, H, W)), transformer_flops(net, H, W), rounds)
    for name in ("256x256", "512x512"):
        H, W = SIZES[name]
        loss = gatys_objective(network, picture(1, H, W, seed=1), picture(1, H, W, seed=2))
        # Forward once and back once, and each convolution costs the same in both directions.
        yield _row(f"VGG-19 gradient {name}", partial(loss, picture(1, H, W)), 2 * vgg_flops(network, H, W), rounds)


def _row(name: str, work: Callable[[], Any], flops: float, rounds: int) -> Row:
    peak = gemm_peak()
    work()  # weights are brought into their form, memory is touched
    seconds = median(seconds_of(work) for _ in range(rounds))
    gflops = flops / seconds / 1e9
    return Row(name, seconds * 1e3, gflops, gflops / peak)


def seconds_of(work: Callable[[], Any]) -> float:
    """The time that `work` takes, once."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def gemm_peak(side: int = 2048, rounds: int = 5) -> float:
    """The machine's best: GFLOP/s of the float32 product of two square matrices, on `thread_count()` threads."""
    a, b, product = (empty((side, side)) for _ in range(3))
    a[...], b[...] = 1, 1
    rows = np.array_split(np.arange(side), max(8, thread_count()))
    blocks = [slice(r[0], r[-1] + 1) for r in rows]

    def multiply() -> None:
        parallel(lambda block: np.matmul(a[block], b, out=product[block]), blocks)

    return 2 * side**3 / min(seconds_of(multiply) for _ in range(rounds)) / 1e9


# --- the networks -----------------------------------------------------------------------------------------


def picture(N: int, H: int, W: int, *, seed: int = 0) -> Array:
    """Pictures `(N, H, W, 3)` of noise, 0..1."""
    return np.random.default_rng(seed).random((N, H, W, 3), np.float32)


def transformer(upsample: str = "nearest", *, seed: int = 0) -> TransformerNet:
    """The network of Johnson 2016 with instance norm and random weights."""
    config = transformer_config("johnson", norm="instance", upsample=upsample)
    return TransformerNet(config, np.random.default_rng(seed))


def vgg19(*, seed: int = 0, dtype: npt.DTypeLike = np.float32, device: Device = CPU) -> LossNetwork:
    """VGG-19 to relu4_1 with random weights that keep the size of what goes through (He 2015)."""
    rng = np.random.default_rng(seed)
    layers = vgg_layers(BLOCKS["VGG-19"])
    layers = layers[: layers.index("relu4_1") + 1]
    parameters: dict[str, Array] = {}
    for name, shape in vgg_shapes(BLOCKS["VGG-19"]).items():
        layer, part = name.split("/")
        if layer in layers:
            size = 0.1 if part == "bias" else (2 / prod(shape[:3])) ** 0.5
            parameters[name] = rng.standard_normal(shape, np.float32) * size
    config = {"layers": layers, "padding": "zero", "pooling": "max", "preprocess": PREPROCESS["torch"]}
    return LossNetwork(config, parameters, dtype=dtype, device=device)


def stylize(net: TransformerNet, photo: Array) -> Array:
    """What `net` makes of pictures `(N, H, W, 3)`."""
    with no_grad():
        return net(Tensor(photo)).data


def gatys_objective(network: LossNetwork, photo: Array, painting: Array, *, device: Device = CPU) -> PixelObjective:
    """Content at the deepest style layer and style at all of them (Johnson 2016, section 3.2), each counting 1.

    `photo` and `painting` are pictures `(1, H, W, 3)` on the network's `device`.
    """
    layers = network.style_layers
    loss = PerceptualLoss(network, content_layers=layers[-1:], style_weight=float(len(layers)))
    return PixelObjective(loss, photo, [StyleTarget(loss.grams(painting))], device=device)
