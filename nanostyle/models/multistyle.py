"""Transformer networks of one style or many, and their files: the network, its styles, thumbnails and recipe."""

import difflib
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nanostyle.autograd.tensor import Tensor, no_grad
from nanostyle.backend.device import CPU, Device, repeated, to_host
from nanostyle.backend.rows import Rows
from nanostyle.backend.types import Array, Pixels
from nanostyle.errors import NanostyleError
from nanostyle.io.weights import STORAGES, Storage, WeightFile, load_weights, save_weights
from nanostyle.models.base import IDENTITY, TrainedModel
from nanostyle.nets.banded import BandedTransformer
from nanostyle.nets.cost import transformer_pass
from nanostyle.nets.transformer import TransformerNet
from nanostyle.nn.layers import NoDraws
from nanostyle.nn.module import freeze, move, set_state, state

_KIND = "transformer"
_THUMBNAIL = "thumbnails/{}"


@dataclass(frozen=True)
class Mix:
    """Styles of a network as one: how much of each row of gamma and beta.

    Attributes
    ----------
    name : str
        For people.
    shares : tuple
        Row and share of each style, in the order in which they were named; the shares sum to 1.
    """

    name: str
    shares: tuple[tuple[int, float], ...]


@dataclass(eq=False)
class Model(TrainedModel[Mix]):
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
        How the file keeps the numbers: float32, float16, uint8 or kmeans8.
    grain : bool
        Whether photos get grain; not for a network of another program.
    device : Device
        Where the network is.
    path : Path or None
        The file that it was read from.
    """

    net: TransformerNet
    styles: list[str]
    thumbnails: dict[str, bytes] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    source: str = ""
    license: str = ""
    storage: Storage = "float32"
    device: Device = CPU
    path: Path | None = None
    grain: bool = True

    @property
    def kind(self) -> str:
        """`cin` for a network of many styles, `feedforward` for one of a single style."""
        return "cin" if self.net.styled_layers else "feedforward"

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

    def style(self, wanted: str | os.PathLike[str] | Pixels | Mix | None = None, *, name: str = "") -> Mix:
        """The style of the name `wanted`; None for the only one. See `TrainedModel.style`."""
        if isinstance(wanted, Mix):
            return wanted
        if wanted is None:
            if len(self.paintings) > 1:
                raise ValueError(f"style: this model has {', '.join(self.paintings)}; name one or several")
            wanted = self.paintings[0]
        if not isinstance(wanted, str):
            known = ", ".join(self.paintings)
            raise NanostyleError(f"this model knows the styles {known} and takes no painting", hint="name a {style}")
        return Mix(wanted, ((self.row(wanted), 1.0),))

    def _painter(self) -> Callable[[Pixels, Mix], Pixels]:
        def forward(x: Array, *, shares: tuple[tuple[int, float], ...]) -> Array:
            with no_grad():
                return self.net(Tensor(x), self.net.blend(dict(shares), x) or None).data

        work = repeated(forward, self.device)
        return lambda photo, style: to_host(work(photo[None], shares=style.shares))[0]

    def _in_bands(self, photo: Rows, styles: Sequence[Mix], memory: int) -> list[Rows]:
        banded = BandedTransformer(self.net, memory)
        contrast = banded.contrast(photo)
        return banded.several(photo, [self.net.blend(dict(style.shares), contrast) for style in styles])

    def _own(self, photo: Pixels | Rows) -> Mix | None:
        return self.style(IDENTITY) if self.has_identity else None

    def _mixed(self, styles: Sequence[Mix], shares: Sequence[float]) -> Mix:
        rows: dict[int, float] = defaultdict(float)
        for style, share in zip(styles, shares, strict=True):
            for row, part in style.shares:
                rows[row] += part * share
        return Mix(" + ".join(style.name for style in styles), tuple(rows.items()))

    def _bytes_per_pixel(self) -> float:
        return transformer_pass(self.net)


def storage_of(config: Mapping[str, Any]) -> Storage:
    """How a model file says that it keeps its numbers; ValueError if it says nothing of the kind."""
    storage: Storage = config["storage"]
    if storage not in STORAGES:
        raise ValueError(f"its storage must be one of {', '.join(STORAGES)}")
    return storage


def model_file(model: Model) -> WeightFile:
    """What the file of `model` holds."""
    config: dict[str, Any] = {
        "network": model.net.config,
        "styles": model.styles,
        "storage": model.storage,
        "recipe": model.recipe,
    }
    if not model.grain:
        config["grain"] = False
    thumbnails = {
        _THUMBNAIL.format(model.styles.index(name)): np.frombuffer(jpeg, np.uint8)
        for name, jpeg in model.thumbnails.items()
    }
    parameters = {name: to_host(value) for name, value in state(model.net).items()}
    return WeightFile(_KIND, config, parameters, model.source, model.license, thumbnails)


def save_model(path: str | os.PathLike[str], model: Model) -> None:
    """Write `model` to `path`, atomically. Raises as `save_weights` does."""
    save_weights(path, model_file(model), storage=model.storage)


def load_multistyle(path: str | os.PathLike[str], *, device: Device = CPU, file: WeightFile | None = None) -> Model:
    """Read the model in `path`, onto `device`; `file` is what it holds, if that was read before.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is damaged, of another kind, or its parameters are not those of the network that it describes.
    """
    file = file or load_weights(path, _KIND)
    try:
        net = TransformerNet(file.config["network"], NoDraws())
        set_state(net, file.parameters)
        freeze(net)
        move(net, device)
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
    grain = file.config.get("grain", True) is not False
    return Model(net, styles, thumbnails, recipe, file.source, file.license, storage, device, Path(path), grain)
