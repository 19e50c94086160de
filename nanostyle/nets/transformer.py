"""The image transformation network, in the form of each of the three papers that use it.

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

Departures. johnson: every convolution is mirror-padded, where the paper pads the picture by 40 pixels and crops in
the residual blocks; the tanh is scaled to 0..1, as pictures are. All: a picture whose sides 4 does not divide is
mirrored at the bottom and the right, and the result cropped back.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from nanostyle.autograd import ops
from nanostyle.autograd.tensor import Tensor
from nanostyle.backend.device import module_of, storage
from nanostyle.backend.types import Array
from nanostyle.nn.layers import Conv2d, ConvTranspose2d, Residual
from nanostyle.nn.norms import BatchNorm, ConditionalInstanceNorm, InstanceNorm, Norm, PredictedNorm, Rows

Style = Any | Mapping[str, Rows] | None

# What can be chosen for each architecture; the first is the default.
NORMS = {"johnson": ("instance", "batch"), "dumoulin": ("conditional",), "ghiasi": ("predicted",)}
UPSAMPLE = {"johnson": ("fractional", "nearest"), "dumoulin": ("nearest",), "ghiasi": ("nearest",)}

MAX_STYLES = 10_000


def transformer_config(
    arch: str,
    *,
    norm: str | None = None,
    upsample: str | None = None,
    width: float = 1.0,
    styles: int = 1,
    identity: bool = False,
) -> dict[str, Any]:
    """The description of a `TransformerNet`, as it stands in a model file.

    Parameters
    ----------
    arch
        `johnson`, `dumoulin` or `ghiasi`.
    norm
        For johnson `instance` (default) or `batch`; the others have one kind each.
    upsample
        For johnson `fractional` (default: transposed convolution, as in the paper) or `nearest` (enlarge, then
        convolve: no checkerboard); `nearest` for the others.
    width
        Times the channels of the papers, 0.05 to 2.
    styles
        The rows of gamma and beta, where the norm is conditional.
    identity
        Whether the first of several styles is `photo`.

    Raises
    ------
    ValueError
        A value that the architecture does not admit.
    """
    if arch not in NORMS:
        raise ValueError(f"arch: expected {', '.join(NORMS)}, got {arch!r}")
    chosen = {"norm": norm or NORMS[arch][0], "upsample": upsample or UPSAMPLE[arch][0]}
    for name, admitted in (("norm", NORMS[arch]), ("upsample", UPSAMPLE[arch])):
        if chosen[name] not in admitted:
            raise ValueError(f"{name}: {arch} networks have {' or '.join(admitted)}, got {chosen[name]!r}")
    if not isinstance(width, int | float) or not 0.05 <= width <= 2:
        raise ValueError(f"width: expected a number from 0.05 to 2, got {width!r}")
    if not isinstance(styles, int) or not 1 <= styles <= MAX_STYLES:
        raise ValueError(f"styles: expected a whole number from 1 to {MAX_STYLES}, got {styles!r}")
    if identity and styles < 2:
        raise ValueError(f"styles: expected 2 or more beside the photo's own, got {styles}")
    return {"arch": arch, **chosen, "width": float(width), "styles": styles, "identity": bool(identity)}


class TransformerNet:
    """A picture in, the stylized picture of the same size out.

    Parameters
    ----------
    config
        As `transformer_config` makes it.
    rng
        Where the initial weights come from.
    """

    def __init__(self, config: Mapping[str, Any], rng: np.random.Generator) -> None:
        self.config = config = transformer_config(**config)
        arch, upsample = config["arch"], config["upsample"]
        c32, c64, c128 = (max(4, round(config["width"] * C)) for C in (32, 64, 128))
        bias = arch == "johnson"

        def early(C: int) -> Norm:
            return BatchNorm(C) if arch == "ghiasi" else norm(C)

        def norm(C: int) -> Norm:
            match config["norm"]:
                case "batch":
                    return BatchNorm(C)
                case "instance":
                    return InstanceNorm(C)
                case "conditional":
                    return ConditionalInstanceNorm(C, config["styles"])
                case _:
                    return PredictedNorm(C)

        def up(C: int, M: int) -> Conv2d | ConvTranspose2d:
            if upsample == "nearest":
                return Conv2d(rng, 3, C, M, upsample=2, bias=bias, norm=norm(M), relu=True)
            return ConvTranspose2d(rng, C, M, bias=bias, norm=norm(M), relu=True)

        self.conv1 = Conv2d(rng, 9, 3, c32, bias=bias, norm=early(c32), relu=True)
        self.conv2 = Conv2d(rng, 3, c32, c64, stride=2, bias=bias, norm=early(c64), relu=True)
        self.conv3 = Conv2d(rng, 3, c64, c128, stride=2, bias=bias, norm=early(c128), relu=True)
        self.residual = [Residual(rng, c128, bias=bias, norms=(norm(c128), norm(c128))) for _ in range(5)]
        self.up1 = up(c128, c64)
        self.up2 = up(c64, c32)
        self.output = Conv2d(rng, 9, c32, 3, bias=bias, norm=None if arch == "johnson" else norm(3))
        self._activation = _unit_tanh if arch == "johnson" else ops.sigmoid

    @property
    def styles(self) -> int:
        """The number of styles among which a call can choose; 1 where there is no choice."""
        return self.config["styles"]

    @property
    def styled_layers(self) -> list[tuple[str, int]]:
        """Name and channels of the layers whose gamma and beta depend on the style, in order."""
        return [(name, norm.channels) for name, norm in self._styled_norms().items()]

    def _styled_norms(self) -> dict[str, Any]:
        named: dict[str, Any] = {"conv1": self.conv1, "conv2": self.conv2, "conv3": self.conv3}
        for i, block in enumerate(self.residual, start=1):
            named |= {f"residual{i}/conv1": block.conv1, f"residual{i}/conv2": block.conv2}
        named |= {"up1": self.up1, "up2": self.up2, "output": self.output}
        norms = {name: layer.norm for name, layer in named.items()}
        return {k: norm for k, norm in norms.items() if isinstance(norm, ConditionalInstanceNorm | PredictedNorm)}

    def blend(self, shares: Mapping[int, float], photo: Array) -> dict[str, Rows]:
        """Gamma and beta for `photo (1, H, W, 3)` in a mix of styles, `{row: share}`: what a call takes as `style`.

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
            rows[name] = _with_statistics((gamma, beta), shares.get(0, 0.0), photo) if own else (gamma, beta)
        return rows

    def _output_rows(self, style: Any, photos: Array) -> Rows:
        """The output's gamma and beta `(N, 3)` where the first style is the photo's own."""
        xp, norm = module_of(photos), self._styled_norms()["output"]
        style = xp.asarray(style)
        mix = (style if style.ndim == 2 else style[:, None] == xp.arange(self.styles)).astype(photos.dtype)
        paintings = mix * (xp.arange(self.styles) > 0)
        rows = ops.matmul(paintings, norm.gamma), ops.matmul(paintings, norm.beta)
        return _with_statistics(rows, mix[:, :1], photos)

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
        output_rows = self._output_rows(style, photos) if own else None

        def at(layer: str) -> Any:
            return style.get(layer) if isinstance(style, Mapping) else style

        _, H, W, _ = x.shape
        x = ops.cast(x, dtype=storage(photos))
        bottom, right = -H % 4, -W % 4
        if bottom or right:
            x = ops.pad(x, pad=(0, bottom, 0, right), mode="reflect")
        for name, layer in (("conv1", self.conv1), ("conv2", self.conv2), ("conv3", self.conv3)):
            x = layer(x, style=at(name), training=training)
        for i, block in enumerate(self.residual, start=1):
            x = block(x, styles=(at(f"residual{i}/conv1"), at(f"residual{i}/conv2")), training=training)
        x = self.up1(x, style=at("up1"), training=training)
        x = self.up2(x, style=at("up2"), training=training)
        x = self._activation(self.output(x, style=output_rows or at("output"), training=training))
        x = ops.cast(x, dtype=photos.dtype)
        return ops.crop(x, top=0, left=0, height=H, width=W) if bottom or right else x


def _with_statistics(rows: Rows, share: Any, photos: Array) -> Rows:
    """`rows`, gamma and beta of the output, plus `share` of what gives `photos` their own brightness and contrast."""
    # What the sigmoid turns into the picture; cut off where black and white would lie at infinity.
    values = module_of(photos).clip(photos, 0.02, 0.98)
    values = module_of(photos).log(values / (1 - values))
    return rows[0] + share * values.std(axis=(1, 2)), rows[1] + share * values.mean(axis=(1, 2))


def _unit_tanh(x: Tensor) -> Tensor:
    """The paper's scaled tanh, from 0 to 1."""
    return (ops.tanh(x) + 1) * 0.5
