"""The MobileNet-v2 backbone as an ONNX graph."""

from typing import Any

import numpy as np

from nanostyle.export.graph import Graph
from nanostyle.nets.mobilenet import MobileNetBackbone


def mobilenet(g: Graph, x: str, prefix: str, backbone: MobileNetBackbone) -> str:
    """Add the backbone to a graph: the means `(N, 1280)` of pictures `(N, 3, H, W)`."""
    x = _relu6(g, _convolution(g, x, f"{prefix}/first", backbone.first))
    for i, block in enumerate(backbone.block, start=1):
        kept = x
        for name, layer in block.layers:
            x = _convolution(g, x, f"{prefix}/block{i}/{name}", layer)
            x = x if name == "project" else _relu6(g, x)
        x = g.op("Add", x, kept) if block.adds else x
    x = _relu6(g, _convolution(g, x, f"{prefix}/last", backbone.last))
    return g.op("ReduceMean", x, g.whole(2, 3), keepdims=0)


def _convolution(g: Graph, x: str, name: str, layer: Any) -> str:
    weight = np.asarray(layer.weight.data)
    more = {"group": weight.shape[2]} if layer.depthwise else {}
    # The kernel of a depthwise convolution (K, K, C) is stored as (K, K, 1, C).
    kernel = (weight[:, :, None] if layer.depthwise else weight).transpose(3, 2, 0, 1)
    return g.op(
        "Conv",
        x,
        g.weight(f"{name}/weight", kernel),
        g.weight(f"{name}/bias", np.asarray(layer.bias.data)),
        auto_pad="SAME_UPPER",
        strides=[layer.stride, layer.stride],
        **more,
    )


def _relu6(g: Graph, x: str) -> str:
    return g.op("Clip", x, g.constant(0), g.constant(6))
