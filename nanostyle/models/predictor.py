"""Style prediction on disk: a trained prediction network, and single styles that it has predicted."""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from nanostyle.autograd.tensor import Tensor, no_grad
from nanostyle.backend.device import CPU, Device, repeated, to_device, to_host
from nanostyle.backend.memory import check_memory
from nanostyle.backend.types import Array
from nanostyle.errors import NanostyleError
from nanostyle.io.image_write import thumbnail_jpeg
from nanostyle.io.resample import resize
from nanostyle.io.weights import WeightFile, load_weights, save_weights
from nanostyle.models.loss_network import load_features
from nanostyle.models.multistyle import Storage, storage_of
from nanostyle.models.registry import find
from nanostyle.nets.cost import transformer_pass
from nanostyle.nets.predictor import EMBEDDING, Backbone, ConvBackbone, PredictionNet, VggBackbone
from nanostyle.nets.transformer import TransformerNet
from nanostyle.nets.vgg_config import check_features
from nanostyle.nn.losses import normalized
from nanostyle.nn.module import freeze, move, set_state, state

_KIND, _STYLE_KIND = "predictor", "style"
_BACKBONE = "predictor/backbone/"
_THUMBNAIL = "thumbnail"
SMALLEST, LARGEST = 16, 4096


@dataclass
class Predictor:
    """A trained prediction network and what a person wants to know of it.

    Attributes
    ----------
    net : PredictionNet
        Read from a file, it is frozen and its parameters are read-only arrays.
    style_size : int
        The short side in pixels at which it looks at paintings (and at a photo, for the photo's own style).
    recipe : dict
        How it was trained: options, losses; JSON values only.
    source, license : str
        Where it comes from, and under what terms.
    storage
        How the file keeps the numbers: float32, float16 or uint8.
    device : str
        Where the network is: `cpu` or `cuda`.
    """

    net: PredictionNet
    style_size: int
    recipe: dict[str, Any] = field(default_factory=dict)
    source: str = ""
    license: str = ""
    storage: Storage = "float32"
    device: Device = CPU

    @cached_property
    def fingerprint(self) -> str:
        """16 digits that tell this network from any other: an embedding means something to one network alone."""
        digest = hashlib.sha256()
        for name, value in sorted(state(self.net).items()):
            digest.update(name.encode())
            digest.update(to_host(value).astype(np.float32).tobytes())
        return digest.hexdigest()[:16]

    @cached_property
    def render(self) -> Callable[[Array, Array], Array]:
        """From photos `(N, H, W, 3)` and embeddings `(N, 100)` to pictures."""

        def forward(photos: Array, embeddings: Array) -> Array:
            with no_grad():
                return self.net(Tensor(photos), Tensor(embeddings)).data

        return repeated(forward, self.device)


@dataclass(frozen=True)
class Style:
    """A style as a prediction network sees it.

    Attributes
    ----------
    name : str
        For people.
    embedding : array
        `(100,)`, float32.
    model : str
        The `fingerprint` of the network that it belongs to.
    thumbnail : bytes
        A small JPEG file of the painting; empty if there is none.
    license : str
        Terms of the painting, in words.
    """

    name: str
    embedding: npt.NDArray[np.float32]
    model: str
    thumbnail: bytes = b""
    license: str = "not stated"


def load_backbone(name: str | os.PathLike[str], *, seed: int = 0, device: Device = CPU) -> Backbone:
    """The backbone to train with.

    `conv`, with random weights; the loss network of that name or file; or the backbone of the prediction network in
    that file.

    Raises
    ------
    FileNotFoundError, ValueError
        As `models.loss_network` does.
    """
    if name == "conv":
        return ConvBackbone(np.random.default_rng(seed))
    file = load_features(find(name), _KIND)
    if file.kind == _KIND:
        return _read(name, file, device).predictor.backbone
    return VggBackbone(file.config, file.parameters, device=device)


def _backbone_from(config: Mapping[str, Any], parameters: Mapping[str, Array], device: Device = CPU) -> Backbone:
    """The backbone that `config` describes; `parameters` are those of a loss network, if it is one.

    Raises
    ------
    ValueError
        The description is not that of a backbone, or the parameters are not those that it describes.
    """
    if config.get("kind") == "conv":
        return ConvBackbone(np.random.default_rng(0))
    check_features(dict(config), dict(parameters))
    return VggBackbone(config, parameters, device=device)


def save_predictor(path: str | os.PathLike[str], predictor: Predictor) -> None:
    """Write `predictor`, its backbone included, to `path`, atomically. Raises as `save_weights` does."""
    config = {
        "network": predictor.net.config,
        "style_size": predictor.style_size,
        "storage": predictor.storage,
        "recipe": predictor.recipe,
    }
    parameters = {name: to_host(value) for name, value in state(predictor.net).items()}
    file = WeightFile(_KIND, config, parameters, predictor.source, predictor.license)
    save_weights(path, file, storage=predictor.storage)


def load_predictor(path: str | os.PathLike[str], *, device: Device = CPU) -> Predictor:
    """Read the prediction network in `path`, onto `device`.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is damaged, of another kind, or its parameters are not those of the network that it describes.
    """
    file = load_weights(path, _KIND)
    net = _read(path, file, device)
    try:
        size = file.config["style_size"]
        if not isinstance(size, int) or not SMALLEST <= size <= LARGEST:
            raise ValueError(f"its style_size must be a whole number from {SMALLEST} to {LARGEST}")
        storage = storage_of(file.config)
    except (ValueError, KeyError) as error:
        raise _not_a_predictor(path, error) from error
    freeze(net)
    move(net, device)
    recipe = file.config.get("recipe", {})
    return Predictor(net, size, recipe, file.source, file.license, storage, device)


def _read(path: str | os.PathLike[str], file: WeightFile, device: Device) -> PredictionNet:
    """The network that `file`, read from `path`, describes, its parameters read-only and not frozen yet."""
    try:
        network, rng = file.config["network"], np.random.default_rng(0)
        transformer = TransformerNet(network["transformer"], rng)
        own = {k.removeprefix(_BACKBONE): v for k, v in file.parameters.items() if k.startswith(_BACKBONE)}
        net = PredictionNet(transformer, _backbone_from(network["backbone"], own, device), rng)
        set_state(net, file.parameters)
    except (NanostyleError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _not_a_predictor(path, error) from error
    return net


def _not_a_predictor(path: str | os.PathLike[str], reason: Exception) -> ValueError:
    return ValueError(f"cannot read {path}: its description is not that of a prediction network ({reason})")


def save_style(path: str | os.PathLike[str], style: Style) -> None:
    """Write `style` to `path`, atomically: a few kilobytes. Raises as `save_weights` does."""
    config = {"name": style.name, "model": style.model}
    extras = {_THUMBNAIL: np.frombuffer(style.thumbnail, np.uint8)}
    file = WeightFile(_STYLE_KIND, config, {"embedding": style.embedding}, "nanostyle", style.license, extras)
    save_weights(path, file)


def load_style(path: str | os.PathLike[str]) -> Style:
    """Read the style in `path`; whether it is one of the network at hand shows when it is used.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is damaged, or holds no style.
    """
    file = load_weights(path, _STYLE_KIND)
    embedding = file.parameters.get("embedding")
    name, model = (file.config.get(key) for key in ("name", "model"))
    if embedding is None or embedding.shape != (EMBEDDING,) or not (isinstance(name, str) and isinstance(model, str)):
        raise ValueError(f"cannot read {path}: expected a name, a model and an embedding of {EMBEDDING} numbers")
    thumbnail = file.extras.get(_THUMBNAIL, np.zeros(0, np.uint8)).tobytes()
    return Style(name, embedding.astype(np.float32, copy=False), model, thumbnail, file.license)


Pixels = npt.NDArray[np.float32]


def predict_style(predictor: Predictor, painting: Pixels, *, name: str) -> Style:
    """The style of `painting` `(H, W, 3)`, RGB in 0..1, of any size; it is looked at in the size of the training."""
    return Style(name, _embedding(predictor, painting), predictor.fingerprint, thumbnail_jpeg(painting))


def blend(styles: Sequence[Style], weights: Sequence[float] | None = None) -> Style:
    """A mixture of `styles` in parts of `weights` (equal by default), which are scaled to sum to 1.

    Raises
    ------
    NanostyleError
        The styles belong to different networks.
    ValueError
        There is none, or the weights are not one of 0 or more for each, one of them above 0.
    """
    if not styles:
        raise ValueError("style: expected one style or several to blend, got none")
    if other := [style for style in styles if style.model != styles[0].model]:
        raise NanostyleError(
            f"style {other[0].name!r} was predicted by another model than {styles[0].name!r};"
            " predict both from their pictures with one model"
        )
    shares = normalized(weights, len(styles))
    if len(styles) == 1:
        return styles[0]
    embedding = np.array(shares, np.float32) @ np.stack([style.embedding for style in styles])
    return Style(" + ".join(style.name for style in styles), embedding, styles[0].model)


def stylize_any(predictor: Predictor, photo: Pixels, style: Style, *, strength: float = 1.0) -> Pixels:
    """`photo` `(H, W, 3)`, RGB in 0..1, of any size, in `style`: a picture of the same size.

    A `strength` below 1 mixes the embedding with that of the photo itself (Ghiasi 2017, section 4.4), and gives back,
    in its part, what the network loses of the photo in its own style: so 0 is the photo itself.

    Raises
    ------
    NanostyleError
        The style was predicted by another network.
    ValueError
        The strength is not from 0 to 1.
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"strength: expected a number from 0 to 1, got {strength}")
    if style.model != predictor.fingerprint:
        raise NanostyleError(
            f"style {style.name!r} was predicted by another model ({style.model}, this one is"
            f" {predictor.fingerprint}); predict it again from its picture, or name that model"
        )
    photo = photo.astype(np.float32, copy=False)
    check_memory(predictor.device, photo.shape[:2], transformer_pass(predictor.net.transformer))

    def render(embedding: npt.NDArray[np.float32]) -> Pixels:
        return to_host(predictor.render(photo[None], embedding[None]))[0]

    if strength == 1:
        return np.clip(render(style.embedding), 0, 1)
    own, part = _embedding(predictor, photo), np.float32(strength)
    lost = photo - render(own)
    return np.clip(render(own + part * (style.embedding - own)) + (1 - part) * lost, 0, 1)


def _embedding(predictor: Predictor, pixels: Pixels) -> npt.NDArray[np.float32]:
    pixels = _middle(pixels)
    scale = predictor.style_size / min(pixels.shape[:2])
    height, width = (max(1, round(n * scale)) for n in pixels.shape[:2])
    with no_grad():
        x = to_device(resize(pixels, (height, width))[None], predictor.device)
        return to_host(predictor.net.predictor.embed(Tensor(x)).data)[0]


def _middle(pixels: Pixels) -> Pixels:
    """Of a long strip the middle part, four times as long as wide: more would fill the memory and say no more."""
    height, width = pixels.shape[:2]
    rows, columns = min(height, 4 * width), min(width, 4 * height)
    top, left = (height - rows) // 2, (width - columns) // 2
    return pixels[top : top + rows, left : left + columns]
