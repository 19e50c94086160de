"""From a name or a file to a trained network that is ready for use."""

import os
from typing import Any

from nanostyle.backend.device import CPU, Device
from nanostyle.io.weights import load_weights
from nanostyle.models.base import TrainedModel
from nanostyle.models.multistyle import load_multistyle
from nanostyle.models.predictor import load_predictor
from nanostyle.models.registry import TRAINED, find


def load_model(path: str | os.PathLike[str], *, device: Device = CPU) -> TrainedModel[Any]:
    """The trained network in `path` (or `any`, `styles`): of one style, many, or for any painting; onto `device`.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is damaged, or of another kind.
    """
    path = find(path, TRAINED)
    file = load_weights(path, ("transformer", "predictor"))
    load = load_predictor if file.kind == "predictor" else load_multistyle
    return load(path, device=device, file=file)
