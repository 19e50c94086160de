"""The networks as ONNX graphs: each walks the network's own list of layers."""

from collections.abc import Mapping

import numpy as np

from nanostyle.autograd.ops.norm import EPS
from nanostyle.autograd.tensor import Tensor
from nanostyle.backend.cpu.norm import FLAT
from nanostyle.backend.types import Array
from nanostyle.export.graph import Graph
from nanostyle.export.mobilenet import mobilenet
from nanostyle.nets.mobilenet import MobileNetBackbone
from nanostyle.nets.predictor import ROOT_OFFSET, ConvBackbone, StylePredictor, VggBackbone
from nanostyle.nets.transformer import BOUNDED, TANH_SCALES, Layer, TransformerNet
from nanostyle.nets.vgg import LossNetwork
from nanostyle.nn.layers import Conv2d, ConvTranspose2d, Linear, same_padding
from nanostyle.nn.module import state

Rows = tuple[str, str]
"""The names of gamma and beta `(N, C)` or `(1, C)`."""

_PIXELS = (2, 3)  # the axes of height and width


class TransformerGraph:
    """Adds the transformer network to a graph, for pictures `(N, 3, H, W)` of any size from 5 x 5 on."""

    def __init__(self, graph: Graph, net: TransformerNet, prefix: str = "") -> None:
        self.graph, self.net, self.prefix = graph, net, prefix
        self._values = {prefix + name: np.asarray(value) for name, value in state(net).items()}

    def __call__(self, photo: str, rows: Mapping[str, Rows]) -> str:
        """The stylized picture, of the photo's size; `rows` are gamma and beta of the styled layers."""
        g = self.graph
        size = g.op("Shape", photo, start=2, end=4)
        x = self._whole_quarters(photo, size)
        kept = ""
        for layer in self.net.layers:
            if layer.block == "first":
                kept = x
            x = self._layer(x, layer, rows.get(layer.name), kept if layer.block == "last" else "")
            x = self._activated(x, layer.activation)
        return g.op("Slice", x, g.whole(0, 0), size, g.whole(*_PIXELS))

    def _activated(self, x: str, activation: str) -> str:
        """What `ACTIVATIONS` has, cut to 0..1."""
        g = self.graph
        if activation == "sigmoid":
            x = g.op("Sigmoid", x)
        elif activation in TANH_SCALES:
            x = g.op("Add", g.op("Mul", g.op("Tanh", x), g.constant(TANH_SCALES[activation])), g.constant(0.5))
        return g.op("Clip", x, g.constant(0), g.constant(1)) if activation and activation not in BOUNDED else x

    def _whole_quarters(self, x: str, size: str) -> str:
        """Mirrored at the bottom and the right until 4 divides the sides."""
        g = self.graph
        more = g.op("Mod", g.op("Neg", size), g.whole(4))
        return g.op("Pad", x, g.op("Concat", g.whole(0, 0, 0, 0, 0, 0), more, axis=0), mode="reflect")

    def _layer(self, x: str, layer: Layer, rows: Rows | None, residual: str) -> str:
        g, convolution, norm = self.graph, layer.convolution, layer.convolution.norm
        name = self.prefix + layer.name
        x = add_convolution(g, x, name, convolution)
        if norm is None:
            return g.op("Relu", x) if convolution.relu else x
        if norm.kind == "batch":
            x = batch_norm(g, x, f"{name}/norm", self._values)
        else:
            x = instance_norm(g, x, rows or self._own_rows(name))
        if residual:
            x = g.op("Add", x, residual)
        return g.op("Relu", x) if convolution.relu else x

    def _own_rows(self, layer: str) -> Rows:
        g = self.graph
        gamma, beta = (g.op("Unsqueeze", self._parameter(layer, part), g.whole(0)) for part in ("gamma", "beta"))
        return gamma, beta

    def rows_of(self, weights: str) -> dict[str, Rows]:
        """Gamma and beta of a network of many styles, in parts of `weights` `(N, S)`.

        Where the first style is the photo's own, its rows of the output come from the photo: see `photo_rows`.
        """
        g = self.graph
        rows = {}
        for name, _ in self.net.styled_layers:
            parts = weights
            if name == "output" and self.net.config["identity"]:
                parts = g.op("Mul", weights, g.constant([[0.0] + [1.0] * (self.net.styles - 1)]))
            gamma, beta = (g.op("MatMul", parts, self._parameter(name, part)) for part in ("gamma", "beta"))
            rows[name] = gamma, beta
        return rows

    def _parameter(self, layer: str, part: str) -> str:
        name = f"{layer}/norm/{part}"
        return self.graph.weight(name, self._values[name])

    def photo_rows(self, rows: Rows, weights: str, photo: str) -> Rows:
        """The output's rows, plus the photo's own brightness and contrast in the part of the style `photo`."""
        g = self.graph
        share = g.op("Slice", weights, g.whole(0), g.whole(1), g.whole(1))
        # What the sigmoid turns into the picture; cut off where black and white would lie at infinity.
        values = g.op("Clip", photo, g.constant(0.02), g.constant(0.98))
        values = g.op("Log", g.op("Div", values, g.op("Sub", g.constant(1), values)))
        mean, _, variance = _moments(g, values)
        own = g.op("Sqrt", variance), mean
        flat = (g.op("Squeeze", x, g.whole(*_PIXELS)) for x in own)
        gamma, beta = (g.op("Add", row, g.op("Mul", share, x)) for row, x in zip(rows, flat, strict=True))
        return gamma, beta


def instance_norm(g: Graph, x: str, rows: Rows) -> str:
    """`gamma·(x - μ)/σ + beta`; a channel that varies by rounding alone is taken for constant, as on the CPU."""
    mean, centered, variance = _moments(g, x)
    rstd = g.op("Reciprocal", g.op("Sqrt", g.op("Add", variance, g.constant(EPS))))
    largest = g.op("ReduceMax", g.op("Add", g.op("Mul", mean, mean), variance), g.whole(1), keepdims=1)
    varies = g.op("Greater", variance, g.op("Mul", largest, g.constant(FLAT)))
    rstd = g.op("Where", varies, rstd, g.constant(0))
    gamma, beta = (g.op("Unsqueeze", row, g.whole(*_PIXELS)) for row in rows)
    return g.op("Add", g.op("Mul", centered, g.op("Mul", gamma, rstd)), beta)


def batch_norm(g: Graph, x: str, name: str, values: Mapping[str, np.ndarray]) -> str:
    """Batch norm in use, with its running averages."""
    parts = (f"{name}/{part}" for part in ("gamma", "beta", "running_mean", "running_variance"))
    return g.op("BatchNormalization", x, *(g.weight(part, np.asarray(values[part])) for part in parts), epsilon=EPS)


def _moments(g: Graph, x: str) -> tuple[str, str, str]:
    """Mean `(N, C, 1, 1)`, `x` minus it, and variance, over the pixels."""
    axes = g.whole(*_PIXELS)
    mean = g.op("ReduceMean", x, axes, keepdims=1)
    centered = g.op("Sub", x, mean)
    return mean, centered, g.op("ReduceMean", g.op("Mul", centered, centered), axes, keepdims=1)


def add_convolution(g: Graph, x: str, name: str, layer: Conv2d | ConvTranspose2d) -> str:
    """The convolution of a layer, without what follows it. A bias that the norm takes out again is left out."""
    weight = np.asarray(layer.weight.data)
    bias = layer.bias if layer.norm is None or layer.norm.kind == "batch" else None
    more = [] if bias is None else [g.weight(f"{name}/bias", np.asarray(bias.data))]
    same = layer.padding == "same"
    before, behind = same_padding(layer.kernel, layer.stride)
    zeros: dict[str, list[int]] = {"pads": [before, before, behind, behind]} if same else {}
    if layer.transposed:
        w = g.weight(f"{name}/weight", weight.transpose(2, 3, 0, 1))
        twice = zeros or {"pads": [1, 1, 1, 1], "output_padding": [1, 1]}
        return g.op("ConvTranspose", x, w, *more, strides=[2, 2], **twice)
    if layer.upsample > 1:
        scales = g.constant((1, 1, layer.upsample, layer.upsample))
        nearest = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        x = g.op("Resize", x, "", scales, **nearest)
    x = x if same else _padded(g, x, layer.kernel // 2, "reflect")
    w = g.weight(f"{name}/weight", weight.transpose(3, 2, 0, 1))
    return g.op("Conv", x, w, *more, strides=[layer.stride, layer.stride], **zeros)


def _padded(g: Graph, x: str, pad: int, mode: str) -> str:
    return g.op("Pad", x, g.whole(0, 0, pad, pad, 0, 0, pad, pad), mode="constant" if mode == "zero" else mode)


# --- the prediction network -------------------------------------------------------------------------------


class PredictorGraph:
    """Adds the style prediction network to a graph."""

    def __init__(self, graph: Graph, predictor: StylePredictor, prefix: str = "predictor/") -> None:
        self.graph, self.predictor, self.prefix = graph, predictor, prefix

    def embed(self, painting: str) -> str:
        """The embedding `(N, 100)` of paintings `(N, 3, H, W)`."""
        g, predictor = self.graph, self.predictor
        backbone = predictor.backbone
        if isinstance(backbone, MobileNetBackbone):
            statistics = mobilenet(g, painting, f"{self.prefix}backbone", backbone)
        else:
            walk = self._vgg if isinstance(backbone, VggBackbone) else self._conv
            layers = walk(painting, backbone)  # type: ignore[arg-type]
            statistics = g.op("Concat", *(part for x in layers for part in self._statistics(x)), axis=1)
        if backbone.takes_roots:
            statistics = g.op("Sqrt", g.op("Add", statistics, g.constant(ROOT_OFFSET)))
        centered = g.op("Sub", statistics, self._weight("center", predictor.center, exact=True))
        normal = g.op("Div", centered, self._weight("spread", predictor.spread, exact=True))
        return self._linear(normal, "bottleneck", predictor.bottleneck)

    def rows(self, embedding: str) -> dict[str, Rows]:
        """Gamma and beta of each styled layer, from an embedding."""
        g, predictor = self.graph, self.predictor
        added, channels = self._linear(embedding, "head", predictor.head), predictor.gamma.shape[0]
        gammas = g.op("Add", self._columns(added, 0, channels), self._weight("gamma", predictor.gamma.data))
        betas = g.op("Add", self._columns(added, channels, channels), self._weight("beta", predictor.beta.data))
        rows: dict[str, Rows] = {}
        start = 0
        for name, C in predictor.styled_layers:
            rows[name] = self._columns(gammas, start, C), self._columns(betas, start, C)
            start += C
        return rows

    def _weight(self, name: str, values: Array, *, exact: bool = False) -> str:
        return self.graph.weight(self.prefix + name, np.asarray(values), exact=exact)

    def _linear(self, x: str, name: str, layer: Linear) -> str:
        g = self.graph
        y = g.op("MatMul", x, self._weight(f"{name}/weight", layer.weight.data))
        y = g.op("Mul", y, g.constant(layer.gain))
        return y if layer.bias is None else g.op("Add", y, self._weight(f"{name}/bias", layer.bias.data))

    def _columns(self, x: str, start: int, count: int) -> str:
        g = self.graph
        return g.op("Slice", x, g.whole(start), g.whole(start + count), g.whole(1))

    def _vgg(self, x: str, backbone: VggBackbone) -> list[str]:
        """The layers of the loss network whose statistics count."""
        g, network = self.graph, backbone.network
        x = g.op("Sub", x, g.constant(np.asarray(network.mean).reshape(1, 3, 1, 1)))
        found = []
        for row in network.table:
            if row.kind == "conv":
                x = self._vgg_convolution(x, network, row.name)
            elif row.kind == "relu":
                x = g.op("Relu", x)
            else:
                kind = "MaxPool" if network.pooling == "max" else "AveragePool"
                x = g.op(kind, x, kernel_shape=[2, 2], strides=[2, 2])
            if row.name in backbone.layers:
                found.append(x)
        return found

    def _vgg_convolution(self, x: str, network: LossNetwork, name: str) -> str:
        g = self.graph
        # Tensors where they can be trained; an array's `data` is its buffer.
        w, b = (np.asarray(part.data if isinstance(part, Tensor) else part) for part in network.weights[name])
        x = _padded(g, x, w.shape[0] // 2, network.padding)
        weight = self._weight(f"backbone/{name}/weight", w.transpose(3, 2, 0, 1))
        return g.op("Conv", x, weight, self._weight(f"backbone/{name}/bias", b))

    def _conv(self, x: str, backbone: ConvBackbone) -> list[str]:
        """The layers of the small backbone that was trained from scratch."""
        prefix = f"{self.prefix}backbone/"
        values = {prefix + name: value for name, value in state(backbone).items()}
        found = []
        for i, layer in enumerate(backbone.conv, start=1):
            x = add_convolution(self.graph, x, f"{prefix}conv{i}", layer)
            x = self.graph.op("Relu", batch_norm(self.graph, x, f"{prefix}conv{i}/norm", values))
            found.append(x)
        return found

    def _statistics(self, x: str) -> tuple[str, str]:
        """Mean and deviation of every channel, `(N, C)` each."""
        g = self.graph
        mean, _, variance = _moments(g, x)
        deviation = g.op("Sqrt", g.op("Add", variance, g.constant(EPS)))
        mean, deviation = (g.op("Squeeze", y, g.whole(*_PIXELS)) for y in (mean, deviation))
        return mean, deviation
