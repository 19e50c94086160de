"""Score a trained network: its losses, and how many iterations Gatys' method needs to reach them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean, median

import numpy as np

from nanostyle.backend.device import CPU, Device, to_device, to_host
from nanostyle.backend.types import Pixels
from nanostyle.methods.gatys import gatys, perceptual_loss
from nanostyle.methods.gatys_options import GatysOptions
from nanostyle.nets.perceptual import PixelObjective, StyleTarget
from nanostyle.nets.vgg import LossNetwork


@dataclass(frozen=True)
class Score:
    """The losses of a network in one style, over some photos.

    Attributes
    ----------
    style : str
        The painting's name.
    content, style_loss : float
        The mean content and style loss, unweighted (`losses.py`, relative).
    loss : float
        The mean of the weighted sum.
    iterations : list of int or None
        For each photo the first iteration of Gatys' method, begun at the photo, whose loss is no higher; None where the
        limit came first.
    """

    style: str
    content: float
    style_loss: float
    loss: float
    iterations: list[int | None]

    @property
    def median_iterations(self) -> float:
        """The median over the photos; infinite where most did not get there."""
        return median(np.inf if k is None else k for k in self.iterations)


def evaluate(
    render: Callable[[str, Pixels], Pixels],
    photos: Sequence[Pixels],
    paintings: Mapping[str, Pixels],
    network: LossNetwork,
    options: GatysOptions,
    *,
    device: Device = CPU,
) -> Iterator[Score]:
    """Score a way to stylize, one style after the other.

    Source of the comparison: Johnson 2016, section 4.1, figure 5. Departure: the number of iterations is that of equal
    loss, photo by photo, not a point on a mean curve.

    Parameters
    ----------
    render
        From a style's name and a photo `(H, W, 3)` to the stylized picture.
    paintings
        Name to picture, in the size at which its strokes count.
    options
        The objective: weights and layers. `iterations` is how far Gatys' method goes at most; 0 leaves it out.
    """
    options = replace(options, init="photo", pyramid=False, least_gain=0)
    loss = perceptual_loss(network, options)
    for name, painting in paintings.items():
        target = StyleTarget(loss.grams(to_device(painting[None], device)))
        scores = []
        for photo in photos:
            # As large beside the photo as it is: the size of its strokes is the caller's to choose.
            here = replace(options, style_scale=max(painting.shape[:2]) / max(photo.shape[:2]))
            objective = PixelObjective(loss, to_device(photo[None], device), [target], device=device)
            values = to_host(objective(render(name, photo)[None])[0])
            reached, total = None, float(values[-1])
            if options.iterations:
                steps = gatys(photo, [painting], network, here, device=device)
                reached = next((step.iteration for step in steps if step.loss <= total), None)
            scores.append((objective.terms(values), total, reached))
        yield Score(
            style=name,
            content=mean(terms["content"] for terms, *_ in scores) / options.content_weight,
            style_loss=mean(terms["style"] for terms, *_ in scores) / options.style_weight,
            loss=mean(total for _, total, _ in scores),
            iterations=[reached for *_, reached in scores],
        )
