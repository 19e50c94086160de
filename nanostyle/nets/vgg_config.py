"""The tables of the VGG networks, and the check of a description."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from nanostyle.errors import quoted

_LAYER = re.compile(r"(conv|relu|pool)\d+(_\d+)?")


# --- loss networks ----------------------------------------------------------------------------------------------


def check_features(config: dict[str, Any], parameters: Mapping[str, np.ndarray]) -> None:
    """Check that the config of a loss network is whole, and that its parameters are those it names.

    The config: `layers`, names in order, each a conv, a relu or a pool by its prefix; `padding` "zero" or "reflect";
    `pooling` "max" or "avg"; `preprocess`: `order` ("RGB" or "BGR"), `scale`, `mean`, `std`, by which a picture in 0..1
    becomes (picture[..., order]·scale - mean) / std. Each conv has `NAME/weight` (K, K, Cin, Cout), K odd, and
    `NAME/bias` (Cout,); the channels chain, from 3. A relu may have `NAME/map` (C, M), through which it is read.

    Raises
    ------
    ValueError
        One line that lists what differs.
    """
    wrong = _wrong_config(config) or _wrong_parameters(config["layers"], parameters)
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise ValueError("the loss network differs from its description: " + "; ".join(wrong[:5]) + more)


def _wrong_config(config: dict[str, Any]) -> list[str]:
    wrong = []
    layers = config.get("layers")
    if not isinstance(layers, list) or not all(isinstance(x, str) and _LAYER.fullmatch(x) for x in layers):
        wrong.append("layers must be a list of names such as conv1_1, relu1_1, pool1")
    elif len(set(layers)) != len(layers) or not layers:
        wrong.append("layers must have at least one name, and each once")
    if config.get("padding") not in ("zero", "reflect"):
        wrong.append("padding must be zero or reflect")
    if config.get("pooling") not in ("max", "avg"):
        wrong.append("pooling must be max or avg")
    pre = config.get("preprocess")
    if not isinstance(pre, dict) or pre.get("order") not in ("RGB", "BGR"):
        wrong.append("preprocess must have the order RGB or BGR")
    elif not (_are_numbers([pre.get("scale")], 1) and _are_numbers(pre.get("mean"), 3)):
        wrong.append("preprocess must have one scale and three means")
    elif not _are_numbers(pre.get("std"), 3) or min(pre["std"]) <= 0:
        wrong.append("preprocess must have three positive std")
    return wrong


def _are_numbers(values: object, count: int) -> bool:
    if not isinstance(values, list) or len(values) != count:
        return False
    return all(isinstance(v, int | float) and abs(v) < 1e9 for v in values)


def _wrong_parameters(layers: list[str], parameters: Mapping[str, np.ndarray]) -> list[str]:
    wrong = []
    left = set(parameters)
    channels = 3
    for layer in layers:
        if layer.startswith("relu") and (matrix := parameters.get(f"{layer}/map")) is not None:
            left.remove(f"{layer}/map")
            if matrix.ndim != 2 or matrix.shape[0] != channels:
                wrong.append(f"{layer}/map is {matrix.shape}, must be ({channels}, M)")
        if not layer.startswith("conv"):
            continue
        weight, bias = (parameters.get(f"{layer}/{part}") for part in ("weight", "bias"))
        left -= {f"{layer}/weight", f"{layer}/bias"}
        if weight is None or bias is None:
            wrong.append(f"{layer} lacks its weight or its bias")
            continue
        side = weight.shape[0] if weight.ndim else 0
        if weight.ndim != 4 or side % 2 == 0 or weight.shape[:3] != (side, side, channels):
            wrong.append(f"{layer}/weight is {weight.shape}, must be (K, K, {channels}, Cout) with K odd")
        channels = weight.shape[-1] if weight.ndim else channels
        if bias.shape != (channels,):
            wrong.append(f"{layer}/bias is {bias.shape}, must be ({channels},)")
    return wrong + [f"{quoted(name)} belongs to no layer" for name in sorted(left)]


BLOCKS = {"VGG-16": (2, 2, 3, 3, 3), "VGG-19": (2, 2, 4, 4, 4)}
WIDTHS = (64, 128, 256, 512, 512)

# torchvision.models.vgg: RGB in 0..1, less ImageNet's mean, over its deviation. Caffe's original (Keras
# `preprocess_input`, mode "caffe"): BGR in 0..255, less the mean; or its channels in the order of RGB.
PREPROCESS: dict[str, dict[str, Any]] = {
    "torch": {"order": "RGB", "scale": 1.0, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
    "caffe": {"order": "BGR", "scale": 255.0, "mean": [103.939, 116.779, 123.68], "std": [1.0, 1.0, 1.0]},
    "caffe-rgb": {"order": "RGB", "scale": 255.0, "mean": [123.68, 116.779, 103.939], "std": [1.0, 1.0, 1.0]},
}


def vgg_layers(blocks: tuple[int, ...]) -> list[str]:
    """conv1_1, relu1_1, …, pool5: the layers before the classifier, in the order of torchvision's `features`."""
    layers = []
    for block, count in enumerate(blocks, start=1):
        for number in range(1, count + 1):
            layers += [f"conv{block}_{number}", f"relu{block}_{number}"]
        layers.append(f"pool{block}")
    return layers


def vgg_shapes(blocks: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """The shape (HWIO) of each parameter: conv1_1/weight, conv1_1/bias, … in order."""
    shapes: dict[str, tuple[int, ...]] = {}
    channels = 3
    for block, (count, width) in enumerate(zip(blocks, WIDTHS, strict=True), start=1):
        for number in range(1, count + 1):
            shapes[f"conv{block}_{number}/weight"] = (3, 3, channels, width)
            shapes[f"conv{block}_{number}/bias"] = (width,)
            channels = width
    return shapes
