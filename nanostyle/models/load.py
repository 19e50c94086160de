"""From a name or a file to a trained network that is ready for use."""

import os

from nanostyle.backend.device import CPU, Device
from nanostyle.io.weights import load_weights
from nanostyle.models.multistyle import Model, load_model
from nanostyle.models.predictor import Predictor, load_predictor
from nanostyle.models.registry import TRAINED, find


def trained_model(path: str | os.PathLike[str], *, device: Device = CPU) -> Model | Predictor:
    """The trained network in `path` (or `any`, `styles`): of one style, many, or for any painting; onto `device`.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is damaged, or of another kind.
    """
    path = find(path, TRAINED)
    if load_weights(path, ("transformer", "predictor")).kind == "predictor":
        return load_predictor(path, device=device)
    return load_model(path, device=device)
