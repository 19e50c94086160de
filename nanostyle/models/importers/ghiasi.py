"""Magenta's network for any painting (Ghiasi 2017) as two TensorFlow Lite models: `style_transfer` and `style_predict`.

The first is a ghiasi transformer with the batch norms of its first layers in their biases, and the head of the
prediction network: a 1x1 convolution of the embedding for each gamma and beta. The second is MobileNet-v2 and the
bottleneck. Kernels are `(M, K, K, C)`, of depthwise convolutions `(1, K, K, C)`; numbers of 8 bits come as float32.
"""

from collections.abc import Iterable, Mapping

import numpy as np

from nanostyle.autograd.ops.norm import EPS
from nanostyle.errors import quoted
from nanostyle.io.foreign.entry import Entry
from nanostyle.io.foreign.tflite import TfliteFile
from nanostyle.models.importers.foreign import ForeignNetwork, layer_names, numbers, size_config
from nanostyle.models.importers.magenta import layers_of
from nanostyle.nets.mobilenet import TABLE
from nanostyle.nets.predictor import EMBEDDING

PROGRAM = "Magenta's network for any painting"
_LICENSE = "Apache-2.0 (Magenta)"

STYLE_SIZE = 256
"""The side at which style_predict looks at paintings."""

_TRANSFORMER, _PREDICTOR = "transformer/contract/conv1/weights", "mobilenet_conv/Conv/weights"
_READ = "/read"  # what some converters put behind a name
_BATCH_NORMED = ("conv1", "conv2", "conv3")


def recognizes(entries: Iterable[str]) -> bool:
    """Whether arrays of these names are those of the first model."""
    names = {name.removesuffix(_READ) for name in entries}
    return _TRANSFORMER in names and any(name.startswith("style_params/") for name in names)


def predicts(entries: Iterable[str]) -> bool:
    """Whether arrays of these names are those of the second model."""
    return _PREDICTOR in set(entries)


def network(entries: Mapping[str, Entry], more: Mapping[str, Entry]) -> ForeignNetwork:
    """The network whose transformer `entries` hold, and whose style prediction `more`.

    Its state has the names of a predictor's.

    Raises
    ------
    ValueError
        An array is missing, or of another form.
    """
    if not isinstance(entries, TfliteFile) or not isinstance(more, TfliteFile):
        raise ValueError("expected TensorFlow Lite models")
    blocks = sum(map(_is_block, entries))
    state: dict[str, np.ndarray] = {}
    gamma, beta = [], []
    for ours, theirs in zip(layer_names(blocks), layers_of(blocks), strict=True):
        kernel, bias = _convolution(entries, theirs)
        state[f"{ours}/weight"] = kernel
        if ours in _BATCH_NORMED:
            one = np.ones_like(bias)
            norm = {"gamma": one, "beta": bias, "running_mean": 0 * one, "running_variance": one - EPS}
            state |= {f"{ours}/norm/{part}": value for part, value in norm.items()}
        else:  # its mean is taken out: the bias makes no difference
            beta.append(_convolution(entries, f"style_params/{theirs}/StyleNorm/Conv"))
            gamma.append(_convolution(entries, f"style_params/{theirs}/StyleNorm/Conv_1"))
    transformer = {"arch": "ghiasi", **size_config(state, blocks)}
    state = {f"transformer/{name}": value for name, value in state.items()}
    head = np.concatenate([kernel.reshape(EMBEDDING, -1) for kernel, _ in gamma + beta], axis=1)
    state["predictor/head/weight"] = head / _gain(EMBEDDING)
    for name, parts in (("gamma", gamma), ("beta", beta)):
        state[f"predictor/{name}"] = np.concatenate([bias for _, bias in parts])
    return ForeignNetwork(PROGRAM, transformer, state | _predictor(more), _LICENSE)


def _is_block(name: str) -> bool:
    name = name.removesuffix(_READ)
    return name.startswith("transformer/residual/") and name.endswith("/conv1/weights")


def _gain(C: int) -> float:
    """What `Linear` multiplies the product by."""
    return float(10 * C**-0.5)


def _predictor(entries: TfliteFile) -> dict[str, np.ndarray]:
    """Backbone and bottleneck."""
    layers = [("first", "MobilenetV2/Conv")]
    for i in range(sum(count for _, _, count, _ in TABLE)):
        parts = ("expand", "depthwise", "project") if i else ("depthwise", "project")
        theirs = f"MobilenetV2/expanded_conv_{i}" if i else "MobilenetV2/expanded_conv"
        layers += [(f"block{i + 1}/{part}", f"{theirs}/{part}") for part in parts]
    layers.append(("last", "MobilenetV2/Conv_1"))
    state = {}
    for ours, theirs in layers:
        depthwise = ours.endswith("/depthwise")
        kernel, bias = _convolution(entries, theirs, "depthwise_weights" if depthwise else "weights")
        state[f"predictor/backbone/{ours}/weight"] = kernel[..., 0] if depthwise else kernel
        state[f"predictor/backbone/{ours}/bias"] = bias
    kernel, bias = _convolution(entries, "mobilenet_conv/Conv")
    width = kernel.shape[2]
    state["predictor/bottleneck/weight"] = kernel.reshape(width, EMBEDDING) / _gain(width)
    state["predictor/bottleneck/bias"] = bias
    return state | {"predictor/center": np.zeros(width), "predictor/spread": np.ones(width)}


def _convolution(entries: TfliteFile, layer: str, kernel: str = "weights") -> tuple[np.ndarray, np.ndarray]:
    """Kernel `(K, K, C, M)` and bias `(M,)` of a convolution; equal biases of several are one array of any name."""
    names = [f"{layer}/{kernel}", f"{layer}/{kernel}{_READ}"]
    name = next((name for name in names if name in entries), names[0])
    weight = numbers(entries, name, 4).transpose(1, 2, 3, 0)
    after = {name, f"{name}_dequantize"}
    biases = [inputs[2] for inputs in entries.inputs if len(inputs) == 3 and inputs[1] in after]
    if len(biases) != 1:
        raise ValueError(f"{quoted(name)} is not the kernel of one convolution")
    return weight, numbers(entries, biases[0].removesuffix("_dequantize"), 1)
