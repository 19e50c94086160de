"""The perceptual loss: how far a picture is from a photo's content and from a painting's style.

Content is the distance of features, style the distance of Gram matrices (Gatys 2016, section 2; Johnson 2016,
section 3.2), each at layers of a loss network. `PerceptualLoss` says which layers and how much each counts;
`PixelObjective` is that loss for one photo with its gradient to the pixels, as optimizers of pictures call it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from nanostyle.autograd.ops import total_variation
from nanostyle.autograd.tensor import Tensor, no_grad
from nanostyle.backend.device import CPU, Device, module_of, repeated, storage, to_host
from nanostyle.backend.types import Array
from nanostyle.nets.vgg import LossNetwork
from nanostyle.nn.losses import Scale, content_loss, style_loss

LOSS_SCALE = 2.0**10
"""In float16 small gradients vanish, so they are computed this many times as large.

The loss is of the order of 1 to 100, as the weights are, so the largest gradients stay far below 65504.
"""

Features = dict[str, Array]
"""By the layer's name, the features `(N, H', W', C)` of N pictures."""

Grams = dict[str, Array]
"""By the layer's name, the Gram matrices `(N, C, C)` of N pictures."""


@dataclass(frozen=True)
class StyleTarget:
    """A style, as the loss sees it.

    Attributes
    ----------
    grams
        The painting's Gram matrices.
    share : float
        How much this style counts among several.
    guides
        By the layer's name, what the features `(N, H', W', C)` are multiplied by before the Gram matrix, `(1, H', W',
        1)`: where in the picture the style is to be (Gatys 2017, section 4). Empty: everywhere.
    """

    grams: Grams
    share: float = 1.0
    guides: Mapping[str, Array] = field(default_factory=dict)


class Part(NamedTuple):
    """The loss of one term at one layer, and how much it counts within the term."""

    term: str
    layer: str
    weight: float
    loss: Tensor


class PerceptualLoss:
    """Which layers of a loss network are looked at, and how much each counts.

    Parameters
    ----------
    network
        The loss network.
    content_layers, style_layers
        `NAME` or `NAME=WEIGHT`; the weights of one kind are normalized to sum to 1. By default those of the network.
    content_weight, style_weight, tv_weight
        How much content, style and total variation count; numbers of 0 or more.
    scale
        `relative` or `paper`: see `nn/losses.py`.

    Raises
    ------
    ValueError
        The network lacks a layer, or a layer is not written as it must be.

    Examples
    --------
    A loss network of one layer, and a photo that is compared with itself:

    >>> from nanostyle.nets.vgg_config import PREPROCESS
    >>> config = {"layers": ["conv1_1", "relu1_1"], "padding": "zero", "pooling": "max"}
    >>> parameters = {"conv1_1/weight": np.ones((3, 3, 3, 8)), "conv1_1/bias": np.ones(8)}
    >>> network = LossNetwork({**config, "preprocess": PREPROCESS["torch"]}, parameters)
    >>> loss = PerceptualLoss(network, content_layers=["relu1_1"], style_layers=["relu1_1"], style_weight=5)
    >>> photo, painting = np.random.default_rng(0).random((2, 1, 16, 20, 3), np.float32)
    >>> objective = PixelObjective(loss, photo, [StyleTarget(loss.grams(painting))])
    >>> values, gradient = objective(photo)
    >>> objective.terms(values)["content"], gradient.shape
    (0.0, (1, 16, 20, 3))
    """

    def __init__(
        self,
        network: LossNetwork,
        *,
        content_layers: Sequence[str] = (),
        style_layers: Sequence[str] = (),
        content_weight: float = 1.0,
        style_weight: float = 1.0,
        tv_weight: float = 0.0,
        scale: Scale = "relative",
    ) -> None:
        self.network, self.scale = network, scale
        self.content_layers = layer_weights(content_layers or network.content_layers)
        self.style_layers = layer_weights(style_layers or network.style_layers)
        self.weights = {"content": content_weight, "style": style_weight, "tv": tv_weight}
        network.check_layers(self.layers)

    @property
    def layers(self) -> list[str]:
        """The layers of the loss network that are looked at."""
        return [*self.content_layers, *self.style_layers]

    # --- targets --------------------------------------------------------------------------------------------

    def content(self, photos: Array) -> Features:
        """The features of the content layers for `photos (N, H, W, 3)`, RGB in 0..1: what a content is, to the loss."""
        with no_grad():
            found = self.network.features(Tensor(photos), self.content_layers)
            return {k: self.network.mapped(k, f).data for k, f in found.items()}

    def grams(self, paintings: Array) -> Grams:
        """The Gram matrices of the style layers for `paintings (N, H, W, 3)`: what a style is, to the loss."""
        with no_grad():
            found = self.network.features(Tensor(paintings), self.style_layers)
            return {k: self.network.gram(k, f).data for k, f in found.items()}

    # --- losses ---------------------------------------------------------------------------------------------

    def parts(
        self, y: Tensor, content: Features, styles: Sequence[StyleTarget], style_weight: Array | None = None
    ) -> Iterator[Part]:
        """The losses of the pictures `y (N, H, W, 3)`: content layer by layer, then style, each in every style.

        `style_weight` `(N,)` multiplies each picture's style losses.
        """
        features = self.network.features(y, self.layers)
        for name, weight in self.content_layers.items():
            F = self.network.mapped(name, features[name])
            yield Part("content", name, weight, content_loss(F, content[name], scale=self.scale))
        for name, weight in self.style_layers.items():
            everywhere = None
            for style in styles:
                if name in style.guides:
                    G = self.network.gram(name, features[name] * style.guides[name])
                else:
                    G = everywhere = self.network.gram(name, features[name]) if everywhere is None else everywhere
                loss = style_loss(G, style.grams[name], scale=self.scale, weight=style_weight)
                yield Part("style", name, weight * style.share, loss)

    def terms(
        self, y: Tensor, content: Features, styles: Sequence[StyleTarget], style_weight: Array | None = None
    ) -> dict[str, Tensor]:
        """Content and style of the pictures `y`, each summed over its layers, without `content_weight`, `style_weight`.

        Parameters are those of `parts`.
        """
        terms: dict[str, Tensor] = {}
        for term, _, weight, loss in self.parts(y, content, styles, style_weight):
            terms[term] = terms[term] + loss * weight if term in terms else loss * weight
        return terms


class PixelObjective:
    """The perceptual loss of one picture and its gradient to the pixels: what optimizers of a picture call.

    Parameters
    ----------
    loss
        Layers and weights.
    photo
        `(1, H, W, 3)`, RGB in 0..1, on `device`.
    styles
        One or several, on `device`.
    device
        Where the network is.

    Attributes
    ----------
    content : dict
        The photo's features.
    styles : list of StyleTarget
        As given.
    values : Array
        What the last call has returned: the losses at the layers, in the order of `places`, and then their sum.
    places : list of (str, str)
        Term and layer of each of the losses. That of total variation is called `pixels`.
    """

    def __init__(
        self, loss: PerceptualLoss, photo: Array, styles: Sequence[StyleTarget], *, device: Device = CPU
    ) -> None:
        self.loss, self.styles = loss, list(styles)
        self.content = loss.content(photo)
        self.values: Array = np.zeros(0)
        self.places = [("content", name) for name in loss.content_layers]
        self.places += [("style", name) for name in loss.style_layers for _ in self.styles]
        self.places += [("tv", "pixels")] * bool(loss.weights["tv"])
        self._device = device
        self._work = repeated(self.gradient, device)

    def __call__(self, pixels: Array) -> tuple[Array, Array]:
        """The losses of the picture `pixels` `(1, H, W, 3)`, of which the last is their sum, and its gradient."""
        self.values, gradient = self._work(pixels)
        # What a GPU has recorded it writes to the same place again, and L-BFGS remembers.
        return self.values, gradient.copy() if self._device.is_gpu else gradient

    def gradient(self, pixels: Array) -> tuple[Array, Array]:
        """As a call, once: nothing is recorded on a GPU."""
        x = Tensor(pixels, requires_grad=True)
        values, total = self._losses(x)
        factor = LOSS_SCALE if storage(pixels) == np.float16 else 1.0
        total.backward(module_of(pixels).full((), factor, total.dtype))
        assert x.grad is not None
        return values, x.grad if factor == 1 else x.grad / factor

    def _losses(self, x: Tensor) -> tuple[Array, Tensor]:
        """The weighted losses and their sum; nothing else is kept, so its memory goes as the gradient comes back."""
        weights = self.loss.weights
        parts = self.loss.parts(x, self.content, self.styles)
        losses = [loss * (weight * weights[term]) for term, _, weight, loss in parts]
        if weights["tv"]:
            losses.append(total_variation(x) * weights["tv"])
        total = losses[0]
        for loss in losses[1:]:
            total = total + loss
        return module_of(x.data).stack([loss.data for loss in (*losses, total)]), total

    def terms(self, values: Array) -> dict[str, float]:
        """Content, style and total variation, weighted, from the losses that a call has returned."""
        terms = {"content": 0.0, "style": 0.0, "tv": 0.0}
        for (term, _), value in zip(self.places, to_host(values)[:-1].tolist(), strict=True):
            terms[term] += value
        return terms

    def first_not_finite(self, values: Array) -> str | None:
        """The first layer, in the order of the network, whose loss is infinite or NaN; `pixels` comes before all."""
        numbers = to_host(values)[:-1].tolist()
        bad = {name for (_, name), value in zip(self.places, numbers, strict=True) if not np.isfinite(value)}
        return next((name for name in ["pixels", *self.loss.network.layers] if name in bad), None)


def layer_weights(layers: Sequence[str]) -> dict[str, float]:
    """From `relu1_1` or `relu1_1=2` to name and weight, normalized to sum to 1.

    >>> layer_weights(["relu1_1", "relu2_1=3"])
    {'relu1_1': 0.25, 'relu2_1': 0.75}

    Raises
    ------
    ValueError
        No layer, one named twice, or a weight that is not a number above 0.
    """
    weights: dict[str, float] = {}
    for layer in layers:
        name, _, text = layer.partition("=")
        try:
            weight = float(text or 1)
        except ValueError:
            weight = np.nan
        if not (0 < weight < np.inf) or name in weights:
            raise ValueError(f"layers: expected each layer once, as NAME or NAME=WEIGHT above 0, got {layer!r}")
        weights[name] = weight
    if not weights:
        raise ValueError("layers: expected at least one layer, got none")
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}
