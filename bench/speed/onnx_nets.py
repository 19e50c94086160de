"""The transformer network as an ONNX file, of the operations that runtimes know best, for photos of one size."""

from collections.abc import Mapping

import numpy as np

import nanostyle
from nanostyle.autograd.ops.norm import EPS
from nanostyle.export.graph import Graph
from nanostyle.export.networks import add_convolution
from nanostyle.nets.transformer import TransformerNet
from nanostyle.nn.module import state

Rows = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""Gamma and beta `(1, C)` of each layer that has them."""


def graph_of(net: TransformerNet, H: int, W: int, rows: Rows | None = None) -> bytes:
    """The network as an ONNX file for photos `(1, 3, H, W)`, of sides that 4 divides; `rows` as `net` has them."""
    g, values = Graph(), state(net)
    x, kept = g.input("photo", (1, 3, H, W)), ""
    for layer in net.layers:
        if layer.block == "first":
            kept = x
        x = add_convolution(g, x, layer.name, layer.convolution)
        if layer.convolution.norm is not None:
            own = (values[f"{layer.name}/norm/{part}"] for part in ("gamma", "beta") if rows is None)
            gamma, beta = own if rows is None else rows[layer.name]
            norm = [g.weight(f"{layer.name}/{part}", v.reshape(-1)) for part, v in (("gamma", gamma), ("beta", beta))]
            x = g.op("InstanceNormalization", x, *norm, epsilon=EPS)
        if layer.block == "last":
            x = g.op("Add", x, kept)
        if layer.convolution.relu:
            x = g.op("Relu", x)
    if net.layers[-1].activation == "sigmoid":
        x = g.op("Sigmoid", x, name="picture")
    else:
        x = g.op("Mul", g.op("Add", g.op("Tanh", x), g.constant(1)), g.constant(0.5), name="picture")
    model = g.model("transformer", x, (1, 3, H, W), {"nanostyle": nanostyle.__version__})
    return bytes(model.SerializeToString())
