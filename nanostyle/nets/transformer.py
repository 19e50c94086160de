"""The image transformation network, in the form of each of the three papers that use it, and of other programs.

    layer                     size     channels   norm in johnson   dumoulin      ghiasi
    conv1    9x9              1        32         norm, ReLU        CIN, ReLU     batch norm, ReLU
    conv2    3x3, stride 2    1/2      64         norm, ReLU        CIN, ReLU     batch norm, ReLU
    conv3    3x3, stride 2    1/4      128        norm, ReLU        CIN, ReLU     batch norm, ReLU
    residual1 ... residual5   1/4      128        norm, ReLU, norm  CIN           predicted
    up1      3x3, stride 1/2  1/2      64         norm, ReLU        CIN, ReLU     predicted, ReLU
    up2      3x3, stride 1/2  1        32         norm, ReLU        CIN, ReLU     predicted, ReLU
    output   9x9              1        3          none; tanh        CIN; sigmoid  predicted; sigmoid

johnson: Johnson 2016, supplementary table 1, with a bias in every convolution; its norm is batch norm, or instance
norm as Ulyanov 2016 proposes; 1,679,235 parameters. dumoulin: Dumoulin 2017, table 1, no biases; 1,674,432
parameters and 3,206 for each style. ghiasi: Ghiasi 2017, section 3; a prediction network supplies 2,758 numbers for
each picture.

A dumoulin network may have a first style that is no painting's: `photo`, which gives the picture back and is the near
end of a dial of strength. Instance norm forgets how bright and how contrasty a picture was, so no fixed gamma and beta
could do that: in the output layer that style's are the mean and deviation of the picture itself.

Networks of other programs have the same layers: in PyTorch's examples johnson's with instance norm, nearest upsampling
and no tanh; in `lengstrom` (lengstrom/fast-style-transfer) johnson's with instance norm in the output too, no biases,
zeros around the picture and a wider tanh; in TensorFlow's demo for Android dumoulin's of fewer channels and six blocks.

Departures. johnson: every convolution is mirror-padded, where the paper pads the picture by 40 pixels and crops in
the residual blocks; the tanh is scaled to 0..1, as pictures are. All: a picture whose sides 4 does not divide is
mirrored at the bottom and the right, and the result cropped back.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any, Literal

import numpy as np

from nanostyle.autograd import ops
from nanostyle.autograd.tensor import Tensor
from nanostyle.backend import halfway
from nanostyle.backend.device import module_of, storage
from nanostyle.backend.types import Array
from nanostyle.nets.contrast import Contrast, with_contrast
from nanostyle.nets.transformer_config import BLOCKS, OUTPUTS, channels_of, transformer_config
from nanostyle.nn.layers import Conv2d, ConvTranspose2d, Padding
from nanostyle.nn.norms import BatchNorm, ConditionalInstanceNorm, InstanceNorm, Norm, PredictedNorm, Rows

Style = Any | Mapping[str, Rows] | None


@dataclass(frozen=True)
class Layer:
    """A layer of the network and its place in it: all that a walk needs which does not run the network itself.

    Attributes
    ----------
    name : str
        What the names of its parameters begin with: `residual1/conv1`.
    convolution
        The convolution with its norm and ReLU: kernel, stride, upsample, channels, norm and relu are its attributes.
    scale : int
        The picture's side over that of the layer's input: 1, 2 or 4.
    block : str
        `first`: the input is kept; `last`: what was kept is added to the result. Between the two lies a residual block.
    activation : str
        What follows everything else, after the last layer: a key of `ACTIVATIONS`, or `linear`; else none.
    """

    name: str
    convolution: Conv2d | ConvTranspose2d
    scale: int
    block: Literal["", "first", "last"] = ""
    activation: str = ""

    @property
    def scale_out(self) -> int:
        """The picture's side over that of the layer's result."""
        layer = self.convolution
        return self.scale // layer.stride if layer.transposed else self.scale * layer.stride // layer.upsample

    @property
    def macs(self) -> float:
        """Multiplications for each pixel of the picture. A transposed kernel meets every pixel of the input."""
        scale = self.scale if self.convolution.transposed else self.scale_out
        return prod(self.convolution.weight.shape) / scale**2


def _layers(config: Mapping[str, Any], rng: np.random.Generator) -> list[Layer]:
    """The layers of the network that `config` describes, in order: the table at the top of this file."""
    arch = config["arch"]
    first, second, third, fourth, fifth = channels_of(config)
    bias = arch == "johnson"
    padding: Padding = "same" if arch == "lengstrom" else "reflect"
    norm = partial(_norm, config["norm"], styles=config["styles"])
    early = BatchNorm if arch == "ghiasi" else norm

    def conv(K: int, C: int, M: int, norm: Callable[[int], Norm] | None = norm, **options: Any) -> Conv2d:
        return Conv2d(rng, K, C, M, bias=bias, norm=norm(M) if norm else None, padding=padding, **options)

    def up(C: int, M: int) -> Conv2d | ConvTranspose2d:
        if config["upsample"] == "nearest":
            return conv(3, C, M, upsample=2, relu=True)
        return ConvTranspose2d(rng, C, M, bias=bias, norm=norm(M), relu=True, padding=padding)

    layers: list[Layer] = []

    def add(name: str, convolution: Conv2d | ConvTranspose2d, **place: Any) -> None:
        layers.append(Layer(name, convolution, layers[-1].scale_out if layers else 1, **place))

    add("conv1", conv(9, 3, first, early, relu=True))
    add("conv2", conv(3, first, second, early, stride=2, relu=True))
    add("conv3", conv(3, second, third, early, stride=2, relu=True))
    for i in range(1, config.get("blocks", BLOCKS) + 1):
        add(f"residual{i}/conv1", conv(3, third, third, relu=True), block="first")
        add(f"residual{i}/conv2", conv(3, third, third), block="last")
    add("up1", up(third, fourth))
    add("up2", up(fourth, fifth))
    last = conv(9, fifth, 3, None if arch == "johnson" else norm)
    add("output", last, activation=config.get("output", OUTPUTS[arch][0]))
    return layers


def _norm(kind: str, C: int, *, styles: int) -> Norm:
    match kind:
        case "batch":
            return BatchNorm(C)
        case "instance":
            return InstanceNorm(C)
        case "conditional":
            return ConditionalInstanceNorm(C, styles)
        case _:
            return PredictedNorm(C)


class TransformerNet:
    """A picture in, the stylized picture of the same size out.

    Parameters
    ----------
    config
        As `transformer_config` makes it.
    rng
        Where the initial weights come from.

    Attributes
    ----------
    config : dict
        The description, as it stands in a model file.
    layers : list of Layer
        The network, in order. Whoever needs to know what it is made of walks this list.
    macs : float
        Multiplications of all layers for each pixel of the picture.

    Examples
    --------
    >>> net = TransformerNet(transformer_config("johnson", width=0.25), np.random.default_rng(0))
    >>> net(np.zeros((1, 30, 41, 3), np.float32)).shape
    (1, 30, 41, 3)
    >>> [layer.name for layer in net.layers if layer.scale_out != layer.scale]
    ['conv2', 'conv3', 'up1', 'up2']
    """

    def __init__(self, config: Mapping[str, Any], rng: np.random.Generator) -> None:
        self.config = transformer_config(**config)
        self.layers = _layers(self.config, rng)
        self.macs = sum(layer.macs for layer in self.layers)

    def named_layers(self) -> Iterator[tuple[str, Conv2d | ConvTranspose2d]]:
        """The layers by the names that their parameters begin with: what a model file holds."""
        return ((layer.name, layer.convolution) for layer in self.layers)

    @property
    def styles(self) -> int:
        """The number of styles among which a call can choose; 1 where there is no choice."""
        return int(self.config["styles"])

    @property
    def styled_layers(self) -> list[tuple[str, int]]:
        """Name and channels of the layers whose gamma and beta depend on the style, in order."""
        return [(name, norm.channels) for name, norm in self._styled_norms().items()]

    def _styled_norms(self) -> dict[str, Any]:
        norms = {name: layer.norm for name, layer in self.named_layers()}
        return {name: norm for name, norm in norms.items() if norm is not None and norm.styled}

    def blend(self, shares: Mapping[int, float], photo: Array | Contrast) -> dict[str, Rows]:
        """Gamma and beta for `photo (1, H, W, 3)` in a mix of styles, `{row: share}`: what a call takes as `style`.

        In place of the photo there may be its `contrast`.

        No other row has a say in the result, to the bit: it stays what it is when styles are added.
        """
        rows = {}
        for name, norm in self._styled_norms().items():
            own = self.config["identity"] and name == "output"
            parts = [(row, share) for row, share in shares.items() if not (own and row == 0)]
            gamma, beta = (
                sum((share * p.data[row : row + 1] for row, share in parts), start=p.data[:1] * 0)
                for p in (norm.gamma, norm.beta)
            )
            share = shares.get(0, 0.0) if own else 0.0
            # Of a style without the photo in it the photo's contrast need not be known.
            rows[name] = with_contrast((gamma, beta), share, photo) if share else (gamma, beta)
        return rows

    def _output_rows(self, style: Any, photos: Array) -> Rows:
        """The output's gamma and beta `(N, 3)` where the first style is the photo's own."""
        xp, norm = module_of(photos), self._styled_norms()["output"]
        style = xp.asarray(style)
        mix = (style if style.ndim == 2 else style[:, None] == xp.arange(self.styles)).astype(photos.dtype)
        paintings = mix * (xp.arange(self.styles) > 0)
        rows = ops.matmul(paintings, norm.gamma), ops.matmul(paintings, norm.beta)
        return with_contrast(rows, mix[:, :1], photos)

    def __call__(self, x: Any, style: Style = None, *, training: bool = False) -> Tensor:
        """The stylized pictures `(N, H, W, 3)`, 0..1, of the photos `x (N, H, W, 3)`, RGB in 0..1, of any size.

        `style` says in which style: `(N,)` whole numbers, one per picture; `(N, S)`, a mix per picture whose rows
        sum to 1; or `{layer: (gamma, beta)}` for each of `styled_layers`, gamma and beta `(N, C)` tensors or
        arrays. Networks of one style take None. `training` is for batch norm.

        Raises
        ------
        ValueError
            `style` is missing, or its shape does not fit.
        """
        if style is None and self.styled_layers:
            raise ValueError("style: this network has several styles and none was given; pass one number per picture")

        photos = x.data if isinstance(x, Tensor) else x
        own = self.config["identity"] and not isinstance(style, Mapping)

        rows = style if isinstance(style, Mapping) else {layer.name: style for layer in self.layers}
        if own:
            rows = {**rows, "output": self._output_rows(style, photos)}

        _, H, W, _ = x.shape
        x = ops.cast(x, dtype=storage(photos))
        bottom, right = -H % 4, -W % 4
        if bottom or right:
            x = ops.pad(x, pad=(0, bottom, 0, right), mode="reflect")
        kept = None
        for layer in self.layers:
            if layer.block == "first":
                kept = x
            added = kept if layer.block == "last" else None
            x = layer.convolution(x, added, style=rows.get(layer.name), training=training)
            if layer.block == "last":
                kept = added = None
            if layer.activation:
                x = ACTIVATIONS[layer.activation](x)
            halfway.tell(H * W * layer.macs / self.macs)
        x = ops.cast(x, dtype=photos.dtype)
        return ops.crop(x, top=0, left=0, height=H, width=W) if bottom or right else x


def _scaled_tanh(x: Tensor, scale: float) -> Tensor:
    """The paper's scaled tanh, around 0.5."""
    return ops.tanh(x) * scale + 0.5


TANH_SCALES = {"tanh": 0.5, "tanh150": 150 / 255}
"""What the tanh is multiplied by: to 0..1, or somewhat beyond."""

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    **{name: partial(_scaled_tanh, scale=scale) for name, scale in TANH_SCALES.items()},
    "sigmoid": ops.sigmoid,
    "linear": lambda x: x,
}
"""What makes a picture of the last layer's numbers."""

BOUNDED = ("tanh", "sigmoid")
"""Those that give 0..1; what the others give is cut to it."""
