"""Memory on a GPU and number of operations of the networks, computed from their lists of layers.

Memory is in bytes for each pixel of the picture, so that what does not fit is refused before it is begun. On the CPU
the same work takes less: it is done in blocks. Multiplications and additions are those of direct convolution; the fast
algorithms need fewer.
"""

from collections.abc import Iterable
from math import prod

from nanostyle.backend.device import precision
from nanostyle.nets.transformer import Layer, TransformerNet
from nanostyle.nets.vgg import LossNetwork

# Pictures themselves, in float32: the photo, the result, and what is between them.
_PICTURES = 40.0
# Channels of a picture of three, while a layer has the taps of a row as channels (gpu/conv.py).
_UNFOLDED = 32


def _bytes_of_a_number() -> int:
    return 2 if precision() == "fp16" else 4


# --- memory -------------------------------------------------------------------------------------------------


def transformer_pass(net: TransformerNet) -> float:
    """Bytes per pixel of a pass of `net` without gradient.

    Where a layer works, its input, its convolution and its norm are there, and in a residual block what will be added.
    A layer from or to three channels has the other ones and its taps instead.

    >>> import numpy as np
    >>> from nanostyle.nets.transformer_config import transformer_config
    >>> transformer_pass(TransformerNet(transformer_config("johnson"), np.random.default_rng(0)))
    360.0
    """
    return _PICTURES + _bytes_of_a_number() * max(_numbers(layer) for layer in net.layers)


def _numbers(layer: Layer) -> float:
    """How many numbers there are for each pixel of the picture while a layer works."""
    C, M = layer.convolution.channels
    before, after = C / layer.scale**2, M / layer.scale_out**2
    usual = before * (2 if layer.block == "last" else 1) + 2 * after
    return max(usual, max(before, after) + _UNFOLDED) if min(C, M) == 3 else usual


def layer_in_bands(layer: Layer) -> float:
    """Bytes per pixel of the work of a layer on rows: what is read is there too, before it is normalized."""
    own = _PICTURES if layer.scale == 1 else 0
    return own + 4 * (_numbers(layer) + layer.convolution.channels[0] / layer.scale**2)


def loss_gradient(network: LossNetwork, layers: Iterable[str]) -> float:
    """Bytes per pixel of the loss at `layers` of `network` and its gradient.

    Every layer is kept, and a few of the widest beside it; a ReLU is one array with its convolution.
    """
    wanted = set(layers)
    names = [layer.name for layer in network.table]
    used = network.table[: 1 + max(names.index(name) for name in wanted)]
    kept = sum(layer.channels / layer.scale**2 for layer in used if layer.kind != "relu")
    widest = max(layer.channels / layer.scale**2 for layer in used)
    return _PICTURES + _bytes_of_a_number() * (kept + max(4 * widest, widest + _UNFOLDED))


def training_step(net: TransformerNet, network: LossNetwork, layers: Iterable[str]) -> float:
    """Bytes per pixel of a step of training `net` with the loss at `layers` of `network`: what both keep.

    Each layer of `net` keeps its convolution and its norm; the last one's result is a picture, which is counted
    already. Then there is what the widest layer works on.
    """
    results = [layer.convolution.channels[1] / layer.scale_out**2 for layer in net.layers[:-1]]
    kept = 2 * sum(results) + max(3 * max(results), max(results) + _UNFOLDED)
    return loss_gradient(network, layers) + _bytes_of_a_number() * kept


# --- multiplications and additions --------------------------------------------------------------------------


def transformer_flops(net: TransformerNet, H: int, W: int) -> float:
    """Multiplications and additions of `net` for one picture of `H` x `W` pixels."""
    return 2 * net.macs * H * W


def vgg_flops(network: LossNetwork, H: int, W: int) -> float:
    """Multiplications and additions of the convolutions of `network`, forward, for one picture of `H` x `W` pixels."""
    total = 0
    for layer in network.table:
        if layer.kind == "conv":
            pixels = (H // layer.scale) * (W // layer.scale)
            total += 2 * prod(network.weights[layer.name][0].shape) * pixels
    return total
