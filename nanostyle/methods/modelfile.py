"""Floor 4: trained transformer networks on disk: the network, the names and thumbnails of its styles, its recipe."""

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from nanostyle import weightfile
from nanostyle.arrays import to_host
from nanostyle.errors import NanostyleError
from nanostyle.nets.transformer import TransformerNet
from nanostyle.nn import freeze, set_state, state
from nanostyle.weightfile import WeightFile

IDENTITY = "photo"
"""The name of the style that gives the photo back."""

Storage = Literal["float32", "float16", "uint8"]

_KIND = "transformer"
_THUMBNAIL = "thumbnails/{}"


@dataclass
class Model:
    """A trained network and what a person wants to know of it.

    Attributes
    ----------
    net : TransformerNet
        Read from a file, it is frozen and its parameters are read-only arrays.
    styles : list of str
        The names of the styles, in the order of the rows of gamma and beta. The first may be `photo`: the style
        that gives the photo back.
    thumbnails : dict
        A small JPEG file of the painting, by the style's name.
    recipe : dict
        How it was trained: options, losses; JSON values only.
    source, license : str
        Where it comes from, and under what terms.
    storage : str
        How the file keeps the numbers: float32, float16 or uint8.
    """

    net: TransformerNet
    styles: list[str]
    thumbnails: dict[str, bytes] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    source: str = ""
    license: str = ""
    storage: Storage = "float32"

    @property
    def has_identity(self) -> bool:
        """Whether the first style is the photo's own."""
        return bool(self.net.config["identity"])

    def row(self, style: str) -> int:
        """The number of the style of that name.

        Raises
        ------
        NanostyleError
            There is none; the message names those that come near, or all.
        """
        if style not in self.styles:
            near = [name for name in self.styles if name.startswith(style)]
            if near := near or difflib.get_close_matches(style, self.styles):
                raise NanostyleError(f"there is no style {style!r} in this model; did you mean {' or '.join(near)}?")
            raise NanostyleError(f"there is no style {style!r} in this model; it has {', '.join(self.styles)}")
        return self.styles.index(style)


def storage_of(config: Mapping[str, Any]) -> Storage:
    """How a model file says that it keeps its numbers; ValueError if it says nothing of the kind."""
    match config["storage"]:
        case "float32" | "float16" | "uint8" as storage:
            return storage
    raise ValueError("its storage must be float32, float16 or uint8")


def save_model(path: str | os.PathLike[str], model: Model) -> None:
    """Write `model` to `path`, atomically. Raises as `weightfile.save` does."""
    config = {
        "network": model.net.config,
        "styles": model.styles,
        "storage": model.storage,
        "recipe": model.recipe,
    }
    thumbnails = {
        _THUMBNAIL.format(model.styles.index(name)): np.frombuffer(jpeg, np.uint8)
        for name, jpeg in model.thumbnails.items()
    }
    parameters = {name: to_host(value) for name, value in state(model.net).items()}
    file = WeightFile(_KIND, config, parameters, model.source, model.license, thumbnails)
    weightfile.save(path, file, storage=model.storage)


def load_model(path: str | os.PathLike[str]) -> Model:
    """Read the model in `path`.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is damaged, of another kind, or its parameters are not those of the network that it describes.
    """
    file = weightfile.load(path, _KIND)
    try:
        net = TransformerNet(file.config["network"], np.random.default_rng(0))
        set_state(net, file.parameters)
        freeze(net)
        styles = [str(name) for name in file.config["styles"]]
        if len(styles) != net.styles or len(set(styles)) != len(styles):
            raise ValueError(f"it names {len(set(styles))} styles, its network has {net.styles}")
        storage = storage_of(file.config)
    except (NanostyleError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"cannot read {path}: its description is not that of a model ({error})") from error
    thumbnails = {
        name: file.extras[key].tobytes()
        for i, name in enumerate(styles)
        if (key := _THUMBNAIL.format(i)) in file.extras
    }
    recipe = file.config.get("recipe", {})
    return Model(net, styles, thumbnails, recipe, file.source, file.license, storage)
