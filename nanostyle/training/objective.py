"""What every trained network is trained for: the loss of a batch of stylized pictures."""

from typing import Any

from nanostyle.autograd.ops import gram, squared_distance, total_variation
from nanostyle.autograd.tensor import Tensor, no_grad
from nanostyle.backend.types import Array
from nanostyle.nets.vgg import LossNetwork
from nanostyle.nn.losses import content_loss, grid_loss, layer_weights, style_loss
from nanostyle.training.options import TrainOptions

Grams = dict[str, Array]
"""By the layer's name, the Gram matrices `(N, C, C)` of N pictures."""


class Objective:
    """The perceptual loss of Johnson 2016, section 3.2, scale-free: see `losses.py` for its terms.

    Raises
    ------
    ValueError
        The loss network lacks a layer, or a layer or a weight is not written as it must be.
    """

    def __init__(self, network: LossNetwork, options: TrainOptions) -> None:
        self.network, self.options = network, options
        self._content = layer_weights(options.content_layers or network.content_layers)
        self._style = layer_weights(options.style_layers or network.style_layers)
        network.check_layers(self.layers)

    @property
    def layers(self) -> list[str]:
        """The layers of the loss network that are looked at."""
        return [*self._content, *self._style]

    def grams(self, pixels: Array) -> Grams:
        """The Gram matrices of the style layers for pictures `(N, H, W, 3)`: what a style is, to the loss."""
        with no_grad():
            features = self.network.features(Tensor(pixels), self._style)
            return {name: gram(f).data for name, f in features.items()}

    def losses(
        self,
        y: Tensor,
        photos: Array,
        targets: Grams,
        style_weight: Array | None = None,
        *,
        own: bool = True,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of the stylized `y` `(N, H, W, 3)` of `photos`, and its terms: content, style, tv, grid, photo.

        `targets` are the Gram matrices of each picture's style. `style_weight` `(N,)` multiplies each picture's
        style term; a picture of weight 0 is one that is to come out as it went in: it has the term `photo`, the
        mean squared distance of the pixels, in place of style and tv. `own` says whether there may be one.
        """
        own = own and style_weight is not None
        with no_grad():
            aims = self.network.features(Tensor(photos), self._content)
        features = self.network.features(y, self.layers)
        options = self.options

        content = [content_loss(features[name], aims[name].data) * w for name, w in self._content.items()]
        style = [style_loss(gram(features[k]), targets[k], weight=style_weight) * w for k, w in self._style.items()]
        terms = {
            "content": _sum(content) * options.content_weight,
            "style": _sum(style) * options.style_weight,
        }
        styled: Any = None if style_weight is None else (style_weight > 0).astype(photos.dtype)
        if options.tv_weight:
            terms["tv"] = total_variation(y * styled[:, None, None, None] if own else y) * options.tv_weight
        if options.grid_weight:
            terms["grid"] = grid_loss(y) * options.grid_weight
        if own:
            terms["photo"] = squared_distance(y, photos, weight=(1 - styled) / photos.size) * options.photo_weight
        return _sum(list(terms.values())), terms

    def measure(self, y: Tensor, photos: Array, targets: Grams) -> dict[str, float]:
        """The content and style loss of stylized pictures without weights: for reports."""
        with no_grad():
            aims = self.network.features(Tensor(photos), self._content)
            features = self.network.features(y, self.layers)
            content = [content_loss(features[name], aims[name].data) * w for name, w in self._content.items()]
            style = [style_loss(gram(features[name]), targets[name]) * w for name, w in self._style.items()]
        return {"content": _sum(content).item(), "style": _sum(style).item()}


def _sum(terms: list[Tensor]) -> Tensor:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total
