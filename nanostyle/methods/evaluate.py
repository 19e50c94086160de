"""How good a trained network is, in numbers: its losses, and how long Gatys' method takes to get as far."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean, median

import numpy as np
import numpy.typing as npt

from nanostyle.backend.device import CPU, Device, to_host
from nanostyle.methods.gatys import GatysOptions, PixelObjective, gatys
from nanostyle.nets.vgg import LossNetwork
from nanostyle.nn.losses import layer_weights

Pixels = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Score:
    """What a network reaches in one style, over some photos.

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
    options = replace(options, init="content", pyramid=False)
    content = layer_weights(options.content_layers or network.content_layers)
    style = layer_weights(options.style_layers or network.style_layers)
    for name, painting in paintings.items():
        scores = []
        for photo in photos:
            # As large beside the photo as it is: the size of its strokes is the caller's to choose.
            here = replace(options, style_scale=max(painting.shape[:2]) / max(photo.shape[:2]))
            objective = PixelObjective(network, here, content, style, device)
            objective.aim(photo, [painting], [1.0])
            values = to_host(objective(render(name, photo)[None])[0])
            loss, terms = float(values[-1]), objective.terms(values)
            reached = None
            if options.iterations:
                steps = gatys(photo, [painting], network, here, device=device)
                reached = next((step.iteration for step in steps if step.loss <= loss), None)
            scores.append((terms, loss, reached))
        yield Score(
            style=name,
            content=mean(terms["content"] for terms, *_ in scores) / options.content_weight,
            style_loss=mean(terms["style"] for terms, *_ in scores) / options.style_weight,
            loss=mean(loss for _, loss, _ in scores),
            iterations=[reached for *_, reached in scores],
        )
