"""Trained transformer networks on disk: the network, the names and thumbnails of its styles, its recipe."""

import difflib
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from nanostyle.autograd.tensor import Tensor, no_grad
from nanostyle.backend.device import CPU, Device, repeated, to_host
from nanostyle.backend.memory import check_memory
from nanostyle.backend.types import Array
from nanostyle.errors import NanostyleError
from nanostyle.io.weights import WeightFile, load_weights, save_weights
from nanostyle.nets.cost import transformer_pass
from nanostyle.nets.transformer import TransformerNet
from nanostyle.nn.losses import normalized
from nanostyle.nn.module import freeze, move, set_state, state

IDENTITY = "photo"
"""The name of the style that gives the photo back."""

Storage = Literal["float32", "float16", "uint8", "kmeans8"]

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
        How the file keeps the numbers: float32, float16, uint8 or kmeans8.
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
        case "float32" | "float16" | "uint8" | "kmeans8" as storage:
            return storage
    raise ValueError("its storage must be float32, float16, uint8 or kmeans8")


def save_model(path: str | os.PathLike[str], model: Model) -> None:
    """Write `model` to `path`, atomically. Raises as `save_weights` does."""
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
    save_weights(path, file, storage=model.storage)


def load_model(path: str | os.PathLike[str], *, device: Device = CPU) -> Model:
    """Read the model in `path`, onto `device`.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is damaged, of another kind, or its parameters are not those of the network that it describes.
    """
    file = load_weights(path, _KIND)
    try:
        net = TransformerNet(file.config["network"], np.random.default_rng(0))
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
    return Model(net, styles, thumbnails, recipe, file.source, file.license, storage)


Pixels = npt.NDArray[np.float32]


def stylize(
    model: Model,
    pixels: Pixels,
    *,
    styles: Sequence[str] = (),
    weights: Sequence[float] | None = None,
    strength: float = 1.0,
    device: Device = CPU,
) -> Pixels:
    """The picture `pixels` `(H, W, 3)`, RGB in 0..1, of any size, in one style or a blend: the same size.

    Several styles are mixed as gamma and beta, in parts that sum to 1 (Dumoulin 2017, section 3.4). A `strength` below
    1 mixes in the style `photo` in the same way, and gives back, in its part, what that style loses of this photo: so 0
    is the photo itself. A model without it, as those of `feedforward`, has nothing to mix within the network; there the
    result and the photo are blended pixel by pixel.

    Parameters
    ----------
    model
        Its network is on `device`.
    styles
        Names; without any, the model's only style.
    weights
        One per style; equal parts by default.
    strength
        From 0, the photo, to 1.

    Raises
    ------
    NanostyleError
        The model has no style of that name.
    ValueError
        No style is named and the model has several; weights or strength out of their range.
    """
    return renderer(model, styles=styles, weights=weights, strength=strength, device=device)(pixels)


def renderer(
    model: Model,
    *,
    styles: Sequence[str] = (),
    weights: Sequence[float] | None = None,
    strength: float = 1.0,
    device: Device = CPU,
) -> Callable[[Pixels], Pixels]:
    """`stylize` for many pictures: all but the picture is settled. Raises as it does."""
    if not 0 <= strength <= 1:
        raise ValueError(f"strength: expected a number from 0 to 1, got {strength}")
    shares = _shares(model, styles, weights, strength if model.has_identity else 1.0)
    net = model.net
    share = 1 - strength if model.has_identity else 0.0

    def forward(x: Array) -> Array:
        with no_grad():
            y = net(Tensor(x), net.blend(shares, x) or None).data
            if share:
                lost = x - net(Tensor(x), net.blend({model.row(IDENTITY): 1.0}, x)).data
                y = y + lost * np.float32(share)
        return y

    work = repeated(forward, device)

    def render(pixels: Pixels) -> Pixels:
        check_memory(device, pixels.shape[:2], transformer_pass(net))
        result = np.clip(to_host(work(pixels[None].astype(np.float32, copy=False)))[0], 0, 1)
        return result if model.has_identity else result * np.float32(strength) + pixels * np.float32(1 - strength)

    return render


def _shares(model: Model, styles: Sequence[str], weights: Sequence[float] | None, strength: float) -> dict[int, float]:
    """How much of each of the model's rows; the rest of `strength` is the photo's."""
    paintings = [name for name in model.styles if name != IDENTITY]
    if not styles and len(paintings) > 1:
        raise ValueError(f"style: this model has {', '.join(paintings)}; name one or several")
    chosen = list(styles) or paintings
    shares: dict[int, float] = defaultdict(float)
    for name, share in zip(chosen, normalized(weights, len(chosen)), strict=True):
        shares[model.row(name)] += share * strength
    if strength < 1:
        shares[model.row(IDENTITY)] += 1 - strength
    return shares
