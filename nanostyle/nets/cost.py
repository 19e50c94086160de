"""How much memory the networks take on a GPU, so that what does not fit is refused before it is begun.

Bytes for each pixel of the picture. On the CPU the same work takes less: it is done in blocks.
"""

from collections.abc import Iterable

from nanostyle.backend.device import precision
from nanostyle.nets.transformer import TransformerNet
from nanostyle.nets.vgg import LossNetwork

# Pictures themselves, in float32: the photo, the result, and what is between them.
_PICTURES = 40.0
# Channels of a picture of three, while a layer has the taps of a row as channels (gpu/conv.py).
_UNFOLDED = 32


def _of_a_number() -> int:
    return 2 if precision() == "fp16" else 4


def transformer_pass(net: TransformerNet) -> float:
    """Of a pass without gradient: where it is widest the last block's input, its convolution and its norm are there.

    In a narrow network it is at the first and last layer.
    """
    widest, before = net.output.weight.shape[2], net.up2.weight.shape[2] / 4
    return _PICTURES + _of_a_number() * max(2 * widest + before, widest + _UNFOLDED)


def loss_gradient(network: LossNetwork, layers: Iterable[str]) -> float:
    """Of the loss at `layers` of `network` and its gradient: every layer is kept, and a few of the widest beside it."""
    deepest = max(network.layers.index(name) for name in layers)
    numbers, widest, pixels, channels = 0.0, 0.0, 1.0, 3
    for name in network.layers[: deepest + 1]:
        if name.startswith("conv"):
            channels = network.weights[name][0].shape[3]
        if name.startswith("pool"):
            pixels /= 4
        if not name.startswith("relu"):  # one array with its convolution
            numbers += channels * pixels
        widest = max(widest, channels * pixels)
    return _PICTURES + _of_a_number() * (numbers + max(4 * widest, widest + _UNFOLDED))


def training_step(net: TransformerNet, network: LossNetwork, layers: Iterable[str]) -> float:
    """Of a step of training `net` with the loss at `layers` of `network`: what both keep."""
    c32, c64, c128 = (layer.weight.shape[3] for layer in (net.conv1, net.conv2, net.conv3))
    # Each layer's convolution and norm; residual blocks are at a quarter of the side. Then what the widest works on.
    kept = 2 * (2 * c32 + 2 * c64 / 4 + 11 * c128 / 16) + max(3 * c32, c32 + _UNFOLDED)
    return loss_gradient(network, layers) + _of_a_number() * kept
