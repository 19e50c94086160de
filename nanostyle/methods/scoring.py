"""A trained model scored on files: which paintings it is asked for, and at what size."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nanostyle.backend.device import Device
from nanostyle.errors import NanostyleError
from nanostyle.io.pictures import load_short, samples
from nanostyle.methods.evaluate import Score, evaluate
from nanostyle.methods.request import EvaluateOptions
from nanostyle.models.base import TrainedModel
from nanostyle.models.loss_network import loss_network


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
