"""The loss of a batch of stylized pictures, for every kind of training."""

from nanostyle.autograd.ops import squared_distance, total_variation
from nanostyle.autograd.tensor import Tensor, no_grad
from nanostyle.backend.types import Array
from nanostyle.nets.perceptual import Grams, PerceptualLoss, StyleTarget
from nanostyle.nets.vgg import LossNetwork
from nanostyle.nn.losses import grid_loss, palette, palette_loss
from nanostyle.training.options import TrainOptions

_PALETTE = "palette"

TERMS = ("content", "style", _PALETTE, "tv", "grid", "photo", "pan")
"""The names of all terms that a loss of training can have; `pan` is that of `predict` alone."""


class Objective:
    """The perceptual loss of Johnson 2016, section 3.2, scale-free, and what training adds to it.

    It adds a weight for each picture's style, photos that are to come out as they went in, and the losses of grid and
    palette.

    Attributes
    ----------
    network, layers
        The loss network, and those of its layers that are looked at.
    options : TrainOptions
        The weights among them.

    Raises
    ------
    ValueError
        The loss network lacks a layer, or a layer is not written as it must be.
    """

    def __init__(self, network: LossNetwork, options: TrainOptions) -> None:
        self.network, self.options = network, options
        self._loss = PerceptualLoss(network, content_layers=options.content_layers, style_layers=options.style_layers)
        self.layers = self._loss.layers

    def grams(self, paintings: Array) -> Grams:
        """What a style is, to the loss: the Gram matrices of the style layers for `paintings (N, H, W, 3)`.

        Where colors count, their palettes `(N, 4, 3)` stand beside them as `palette`.
        """
        grams = self._loss.grams(paintings)
        if not self.options.palette_weight:
            return grams
        with no_grad():
            return {**grams, _PALETTE: palette(Tensor(paintings)).data}

    def losses(
        self,
        y: Tensor,
        photos: Array,
        targets: Grams,
        style_weight: Array | None = None,
        *,
        own: bool = True,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of the stylized `y` `(N, H, W, 3)` of `photos`, and its terms.

        They are content, style, palette, tv, grid and photo.

        Parameters
        ----------
        targets
            The Gram matrices of each picture's style, as `grams` gives them.
        style_weight
            `(N,)`: multiplies each picture's style term. A picture of weight 0 is one that is to come out as it went
            in: it has the term `photo`, the mean squared distance of the pixels, in place of style and tv.
        own
            Whether there may be such a picture.
        """
        options = self.options
        terms = self._loss.terms(y, self._loss.content(photos), [StyleTarget(targets)], style_weight)
        terms = {"content": terms["content"] * options.content_weight, "style": terms["style"] * options.style_weight}
        styled = (style_weight > 0).astype(photos.dtype) if own and style_weight is not None else None
        if options.palette_weight:
            colors = palette_loss(palette(y), targets[_PALETTE], weight=style_weight)
            terms["palette"] = colors * options.palette_weight
        if options.tv_weight:
            seen = y if styled is None else y * styled[:, None, None, None]
            terms["tv"] = total_variation(seen) * options.tv_weight
        if options.grid_weight:
            terms["grid"] = grid_loss(y) * options.grid_weight
        if styled is not None:
            terms["photo"] = squared_distance(y, photos, weight=(1 - styled) / photos.size) * options.photo_weight
        return _sum(terms), terms

    def measure(self, y: Tensor, photos: Array, targets: Grams) -> dict[str, float]:
        """The content and style loss of stylized pictures without weights: for reports. Parameters as for `losses`."""
        with no_grad():
            terms = self._loss.terms(y, self._loss.content(photos), [StyleTarget(targets)])
        return {name: term.item() for name, term in terms.items()}


def _sum(terms: dict[str, Tensor]) -> Tensor:
    first, *others = terms.values()
    for term in others:
        first = first + term
    return first
