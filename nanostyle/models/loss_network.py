"""Loss networks by name or file."""

import os
from pathlib import Path
from typing import Any

from nanostyle.io.untrusted import reading
from nanostyle.io.weights import WeightFile, load_weights
from nanostyle.models.registry import LOSS_NETWORKS, find, places
from nanostyle.nets.vgg import LossNetwork
from nanostyle.nets.vgg_config import check_features


def load_features(path: str | os.PathLike[str], *kinds: str) -> WeightFile:
    """Read the weights file `path` of a loss network, or of one of the other `kinds`, and check what it describes.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is not of these kinds, is damaged, or its parameters are not those of the network that it describes.
    """
    return checked(path, load_weights(path, ("features", *kinds)))


def checked(path: str | os.PathLike[str], weights: WeightFile) -> WeightFile:
    """`weights`, read from `path`; ValueError if they are a loss network and not the one that they describe."""
    if weights.kind == "features":
        with reading(path):
            check_features(weights.config, weights.parameters)
    return weights


def loss_network(name: str | os.PathLike[str], **options: Any) -> LossNetwork:
    """The loss network called `name` (`builtin`, `vgg16`, `vgg19` or a file), with the options of `LossNetwork`.

    Raises
    ------
    FileNotFoundError
        There is no such file; the message lists the places and the command that gets it.
    ValueError
        The file is not a loss network, or not a whole one.
    """
    weights = load_features(find(name, LOSS_NETWORKS))
    return LossNetwork(weights.config, weights.parameters, **options)


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
            return find(name)
        except FileNotFoundError:
            looked += [str(path) for path in places(name)]
    raise FileNotFoundError(
        f"no loss network found: looked for {', '.join(looked)}; get one with: nanostyle weights fetch vgg19"
    )
