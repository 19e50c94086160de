"""The style prediction network (Ghiasi 2017): from a painting to every gamma and beta of the transformer.

    backbone     painting -> statistics: mean and deviation of every channel of several layers, all 0 or more
    bottleneck   their roots, or the statistics as they are -> 100 numbers: the embedding, linear
    head         embedding -> gamma and beta of each styled layer, linear: 2,758 numbers at full width

Departure. The paper's backbone is the Inception-v3 of a classifier, trained further on 80,000 paintings, and its
statistic the mean of one deep layer. Here it is by default a loss network: the statistics by which a style is judged
are close to what the head needs to know, so much fewer paintings do. A small network trained from scratch can be had
too. Magenta's own network for phones has MobileNet-v2 (`mobilenet.py`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nanostyle.autograd import ops
from nanostyle.autograd.tensor import Tensor, no_grad
from nanostyle.backend.device import CPU, Device, module_of, to_host
from nanostyle.backend.types import Array
from nanostyle.nets.mobilenet import MobileNetBackbone
from nanostyle.nets.transformer import TransformerNet
from nanostyle.nets.vgg import LossNetwork
from nanostyle.nn.layers import Conv2d, Linear
from nanostyle.nn.norms import BatchNorm, Rows

EMBEDDING = 100
"""The length of an embedding, as in the paper."""

# The layers of a loss network whose statistics are taken, as far as it has them.
_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")

# The root of a number that may be 0 has a slope only if something is added.
ROOT_OFFSET = 1e-4

# Paintings that are all alike differ in nothing.
_LEAST_SPREAD = 1e-3

_CONV_CHANNELS = (16, 32, 64, 128)


class _Kernel:
    """Weight and bias of one layer of the backbone, with the names that they have in the loss network's file."""

    def __init__(self, weight: Array, bias: Array) -> None:
        self.weight, self.bias = (Tensor(x, requires_grad=True) for x in (weight, bias))


class VggBackbone:
    """The first layers of a loss network, with weights of their own that can be trained further.

    Parameters
    ----------
    config, parameters
        As for `LossNetwork`; what lies deeper than relu4_1 is left out.
    device
        `cpu` or `cuda`.

    Raises
    ------
    ValueError
        The network has none of relu1_1, relu2_1, relu3_1, relu4_1.
    """

    def __init__(self, config: Mapping[str, Any], parameters: Mapping[str, Array], *, device: Device = CPU) -> None:
        names = list(config["layers"])
        self._layers = [name for name in _LAYERS if name in names]
        names = names[: names.index(self._layers[-1]) + 1] if self._layers else names
        if not self._layers or not any(name.startswith("conv") for name in names):
            raise ValueError(f"backbone: expected a network with {', '.join(_LAYERS)}, got one with {', '.join(names)}")
        self._network = network = LossNetwork({**config, "layers": names}, parameters, device=device)
        for name, kernel in network.weights.items():
            layer = _Kernel(*kernel)
            setattr(self, name, layer)
            network.weights[name] = layer.weight, layer.bias

    takes_roots = True

    @property
    def config(self) -> dict[str, Any]:
        """What makes this backbone again, with its parameters: the loss network's preprocessing is in the weights."""
        network = self._network
        mean = [float(x) for x in to_host(network.mean)]
        return {
            "kind": "vgg",
            "layers": network.layers,
            "padding": network.padding,
            "pooling": network.pooling,
            "preprocess": {"order": "RGB", "scale": 1.0, "mean": mean, "std": [1.0, 1.0, 1.0]},
        }

    @property
    def network(self) -> LossNetwork:
        """The layers themselves, as a network."""
        return self._network

    @property
    def layers(self) -> list[str]:
        """The layers whose statistics are taken."""
        return self._layers

    @property
    def width(self) -> int:
        """The number of statistics."""
        return sum(2 * row.channels for row in self._network.table if row.name in self._layers)

    def __call__(self, x: Any, *, training: bool = False) -> Tensor:
        """The statistics `(N, width)` of pictures `x (N, H, W, 3)`, RGB in 0..1; `training` makes no difference."""
        features = self._network.features(x, self._layers)
        return ops.concat(*(ops.statistics(features[name]) for name in self._layers))


class ConvBackbone:
    """Four convolutions of 3 x 3 and stride 2 with batch norm and ReLU, to 16, 32, 64 and 128 channels."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.conv = [
            Conv2d(rng, 3, C, M, stride=2, bias=False, norm=BatchNorm(M), relu=True)
            for C, M in zip((3, *_CONV_CHANNELS), _CONV_CHANNELS, strict=False)
        ]

    config: Mapping[str, Any] = {"kind": "conv"}
    width = 2 * sum(_CONV_CHANNELS)
    takes_roots = True

    def __call__(self, x: Any, *, training: bool = False) -> Tensor:
        """The statistics `(N, width)` of pictures `x (N, H, W, 3)`, RGB in 0..1; `training` is for batch norm."""
        statistics = []
        for layer in self.conv:
            x = layer(x, training=training)
            statistics.append(ops.statistics(x))
        return ops.concat(*statistics)


Backbone = VggBackbone | ConvBackbone | MobileNetBackbone


class StylePredictor:
    """From paintings to embeddings, and from embeddings to rows of gamma and beta.

    Parameters
    ----------
    styled_layers
        Those of the transformer: name and channels.
    rng
        Where the initial weights come from.
    """

    def __init__(self, backbone: Backbone, styled_layers: Sequence[tuple[str, int]], rng: np.random.Generator) -> None:
        self.backbone = backbone
        # Statistics are brought to mean 0 and deviation 1 over paintings, so that one rate of learning suits all.
        self.center = np.zeros(backbone.width, np.float32)
        self.spread = np.ones(backbone.width, np.float32)
        self.bottleneck = Linear(rng, backbone.width, EMBEDDING)
        channels = sum(C for _, C in styled_layers)
        # Gamma and beta of no style in particular, and what an embedding adds: at first little.
        self.gamma, self.beta = (Tensor(make(channels, np.float32), requires_grad=True) for make in (np.ones, np.zeros))
        self.head = Linear(rng, EMBEDDING, 2 * channels, deviation=0.1, bias=False)
        self._styled_layers = list(styled_layers)

    @property
    def styled_layers(self) -> list[tuple[str, int]]:
        """Name and channels of the layers whose gamma and beta are predicted, in order."""
        return self._styled_layers

    def calibrate(self, paintings: Sequence[Array]) -> None:
        """Take center and spread of the statistics from `paintings`, each `(1, H, W, 3)`."""
        with no_grad():
            statistics = [self._statistics(Tensor(p)).data[0] for p in paintings]
        xp = module_of(statistics[0])
        values = xp.stack(statistics)
        if len(paintings) < 2:
            return  # of one there is no spread
        spread = values.std(axis=0)
        self.center = values.mean(axis=0)
        # What hardly differs among these says nothing, and would be blown up in others.
        self.spread = xp.maximum(spread, max(0.1 * float(spread.mean()), _LEAST_SPREAD))

    def embed(self, paintings: Any, *, training: bool = False) -> Tensor:
        """The embeddings `(N, 100)` of `paintings (N, H, W, 3)`, RGB in 0..1."""
        return self.bottleneck((self._statistics(paintings, training=training) - self.center) / self.spread)

    def _statistics(self, paintings: Any, *, training: bool = False) -> Tensor:
        """Roots of the statistics of the backbone: a few paintings have values far above all others."""
        statistics = self.backbone(paintings, training=training)
        return ops.sqrt(statistics + ROOT_OFFSET) if self.backbone.takes_roots else statistics

    def rows(self, embedding: Any) -> dict[str, Rows]:
        """Gamma and beta `(N, C)` of each styled layer for embeddings `(N, 100)`: the `style` of the transformer."""
        added, channels = self.head(embedding), len(self.gamma.data)
        gammas = self.gamma + ops.narrow(added, start=0, length=channels)
        betas = self.beta + ops.narrow(added, start=channels, length=channels)
        rows: dict[str, Rows] = {}
        start = 0
        for name, C in self._styled_layers:
            rows[name] = ops.narrow(gammas, start=start, length=C), ops.narrow(betas, start=start, length=C)
            start += C
        return rows


class PredictionNet:
    """The transformer and the predictor of its gammas and betas: all that is needed to take up any painting's style.

    >>> from nanostyle.nets.transformer_config import transformer_config
    >>> rng = np.random.default_rng(0)
    >>> net = PredictionNet(TransformerNet(transformer_config("ghiasi", width=0.25), rng), ConvBackbone(rng), rng)
    >>> photo, painting = rng.random((1, 16, 24, 3), np.float32), rng.random((1, 32, 32, 3), np.float32)
    >>> embedding = net.predictor.embed(painting)
    >>> embedding.shape, net(photo, embedding).shape
    ((1, 100), (1, 16, 24, 3))
    """

    def __init__(self, transformer: TransformerNet, backbone: Backbone, rng: np.random.Generator) -> None:
        self.transformer = transformer
        self.predictor = StylePredictor(backbone, transformer.styled_layers, rng)

    @property
    def config(self) -> dict[str, Any]:
        """What makes this network again, with its parameters."""
        return {"transformer": self.transformer.config, "backbone": dict(self.predictor.backbone.config)}

    def __call__(self, photos: Any, embedding: Any, *, training: bool = False) -> Tensor:
        """`photos (N, H, W, 3)`, RGB in 0..1, in the styles of `embedding` `(N, 100)`, or `(1, 100)` for all."""
        return self.transformer(photos, self.predictor.rows(embedding), training=training)
