"""Floor 4: from a name or a file to a network that is ready for use."""

import os
from pathlib import Path
from typing import Any

from nanostyle import weightfile
from nanostyle.methods.modelfile import Model, load_model
from nanostyle.methods.predictfile import Predictor, load_predictor
from nanostyle.nets.vgg import LossNetwork
from nanostyle.nn import move


def loss_network(name: str | os.PathLike[str], **options: Any) -> LossNetwork:
    """The loss network called `name` (`builtin`, `vgg16`, `vgg19` or a file), with the options of `LossNetwork`.

    Raises
    ------
    FileNotFoundError
        There is no such file; the message lists the places and the command that gets it.
    ValueError
        The file is not a loss network, or not a whole one.
    """
    weights = weightfile.load(weightfile.find(name, weightfile.LOSS_NETWORKS), "features")
    return LossNetwork(weights.config, weights.parameters, **options)


def trained_model(path: str | os.PathLike[str], *, device: str = "cpu") -> Model | Predictor:
    """The trained network in `path` (or `any`, `styles`): of one style, many, or for any painting; onto `device`.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is damaged, or of another kind.
    """
    path = weightfile.find(path, weightfile.TRAINED)
    if weightfile.load(path, ("transformer", "predictor")).kind == "predictor":
        return load_predictor(path, device=device)
    model = load_model(path)
    move(model.net, device)
    return model


def built_in(name: str) -> Path | None:
    """The file of the built-in model `any` or `styles`, or None where it is not installed."""
    return next((path for path in weightfile.places(name) if path.is_file()), None)


def default_loss_network() -> Path:
    """The file of the loss network to use where none is named: the built-in one, else VGG-19, else VGG-16.

    Raises
    ------
    FileNotFoundError
        None of them is there; the message lists every place and the command that gets one.
    """
    looked: list[str] = []
    for name in ("builtin", "vgg19", "vgg16"):
        try:
            return weightfile.find(name)
        except FileNotFoundError:
            looked += [str(path) for path in weightfile.places(name)]
    raise FileNotFoundError(
        f"no loss network found: looked for {', '.join(looked)}; get one with: nanostyle weights fetch vgg19"
    )
