"""A trained model scored on files: the options, which paintings it is asked for, and at what size."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nanostyle.backend.device import Device
from nanostyle.errors import NanostyleError
from nanostyle.io.pictures import load_short, samples
from nanostyle.methods.evaluate import Score, evaluate
from nanostyle.methods.gatys_options import GatysOptions
from nanostyle.models.base import TrainedModel
from nanostyle.models.loss_network import loss_network
from nanostyle.training.options import TrainOptions


@dataclass(frozen=True)
class EvaluateOptions:
    """How a trained model is scored.

    Attributes
    ----------
    count : int
        How many photos of the folder are used, 1 or more.
    size : int
        The short side of the photos in pixels, 16 or more.
    style_size : int or None
        The short side of the paintings in pixels. None: as `size`.
    loss_net : str
        The network that compares pictures: `builtin`, `vgg16`, `vgg19` or a file.
    content_weight, style_weight : float
        The weights of the two terms in the loss, 0 or more.
    iterations : int
        How far Gatys' method goes to catch up with the model; 0 leaves it out.

    Examples
    --------
    >>> from nanostyle import EvaluateOptions
    >>> EvaluateOptions(count=4, iterations=0).size
    256
    """

    count: int = field(default=10, metadata={"flag": "photos", "range": (1, None), "help": "Number of photos to use."})
    size: int = field(default=256, metadata={"range": (16, None), "help": "Short side of the photos, in pixels."})
    style_size: int | None = field(
        default=None,
        metadata={"range": (16, None), "help": "Short side of the paintings, in pixels. Default: that of the photos."},
    )
    loss_net: str = field(
        default="builtin",
        metadata={"metavar": "NAME|FILE", "help": "Loss network used for scoring: builtin, vgg16, vgg19 or a file."},
    )
    content_weight: float = field(default=TrainOptions.content_weight, metadata={"help": "Weight of the content loss."})
    style_weight: float = field(default=TrainOptions.style_weight, metadata={"help": "Weight of the style loss."})
    iterations: int = field(
        default=100,
        metadata={
            "range": (0, None),
            "help": "How many iterations Gatys' method gets to catch up with the model; 0 leaves it out.",
        },
    )

    @property
    def objective(self) -> GatysOptions:
        """The loss, as Gatys' method takes it."""
        return GatysOptions(
            iterations=self.iterations,
            content_weight=self.content_weight,
            style_weight=self.style_weight,
            tv_weight=0.0,
        )


def score_model(
    model: TrainedModel[Any],
    photos: Sequence[Path],
    paintings: Mapping[str, Path],
    options: EvaluateOptions,
    device: Device,
) -> Iterator[Score]:
    """Score `model` in the style of each of the `paintings`, name to file.

    Of those, a model that knows its styles is asked for the ones that bear their names.

    Raises
    ------
    NanostyleError
        No painting is named as a style of the model.
    FileNotFoundError, OSError, ValueError
        A picture or the loss network cannot be read.
    """
    files = {name: file for name, file in paintings.items() if not model.styles or name in model.styles}
    if not files:
        known = ", ".join(model.paintings)
        raise NanostyleError(f"evaluate: no painting is named as a style of {model.path}, which knows {known}")
    pictures = {name: load_short(file, options.style_size or options.size) for name, file in files.items()}
    styles = {name: model.style(name if model.styles else art, name=name) for name, art in pictures.items()}
    return evaluate(
        lambda name, photo: model.render(photo, styles[name]),
        samples(photos, options.count, options.size),
        pictures,
        loss_network(options.loss_net, device=device),
        options.objective,
        device=device,
    )
