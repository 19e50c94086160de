"""Floor 4: style prediction on disk: a trained prediction network, and single styles that it has predicted."""

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from nanostyle import weightfile
from nanostyle.arrays import Array, repeated, to_host
from nanostyle.errors import NanostyleError
from nanostyle.methods.modelfile import Storage, storage_of
from nanostyle.nets.predictor import EMBEDDING, Backbone, ConvBackbone, PredictionNet, VggBackbone
from nanostyle.nets.transformer import TransformerNet
from nanostyle.nn import freeze, move, set_state, state
from nanostyle.tensor import Tensor, no_grad
from nanostyle.weightfile import WeightFile

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
    device: str = "cpu"

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


def load_backbone(name: str | os.PathLike[str], *, seed: int = 0, device: str = "cpu") -> Backbone:
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
    file = weightfile.load(weightfile.find(name), ("features", _KIND))
    if file.kind == _KIND:
        return _read(name, file, device).predictor.backbone
    return VggBackbone(file.config, file.parameters, device=device)


def _backbone_from(config: Mapping[str, Any], parameters: Mapping[str, Array], device: str = "cpu") -> Backbone:
    """The backbone that `config` describes; `parameters` are those of a loss network, if it is one.

    Raises
    ------
    ValueError
        The description is not that of a backbone, or the parameters are not those that it describes.
    """
    if config.get("kind") == "conv":
        return ConvBackbone(np.random.default_rng(0))
    weightfile.check_features(WeightFile("features", dict(config), dict(parameters), "", ""))
    return VggBackbone(config, parameters, device=device)


def save_predictor(path: str | os.PathLike[str], predictor: Predictor) -> None:
    """Write `predictor`, its backbone included, to `path`, atomically. Raises as `weightfile.save` does."""
    config = {
        "network": predictor.net.config,
        "style_size": predictor.style_size,
        "storage": predictor.storage,
        "recipe": predictor.recipe,
    }
    parameters = {name: to_host(value) for name, value in state(predictor.net).items()}
    file = WeightFile(_KIND, config, parameters, predictor.source, predictor.license)
    weightfile.save(path, file, storage=predictor.storage)


def load_predictor(path: str | os.PathLike[str], *, device: str = "cpu") -> Predictor:
    """Read the prediction network in `path`, onto `device`.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is damaged, of another kind, or its parameters are not those of the network that it describes.
    """
    file = weightfile.load(path, _KIND)
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


def _read(path: str | os.PathLike[str], file: WeightFile, device: str) -> PredictionNet:
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
    """Write `style` to `path`, atomically: a few kilobytes. Raises as `weightfile.save` does."""
    config = {"name": style.name, "model": style.model}
    extras = {_THUMBNAIL: np.frombuffer(style.thumbnail, np.uint8)}
    file = WeightFile(_STYLE_KIND, config, {"embedding": style.embedding}, "nanostyle", style.license, extras)
    weightfile.save(path, file)


def load_style(path: str | os.PathLike[str]) -> Style:
    """Read the style in `path`; whether it is one of the network at hand shows when it is used.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is damaged, or holds no style.
    """
    file = weightfile.load(path, _STYLE_KIND)
    embedding = file.parameters.get("embedding")
    name, model = (file.config.get(key) for key in ("name", "model"))
    if embedding is None or embedding.shape != (EMBEDDING,) or not (isinstance(name, str) and isinstance(model, str)):
        raise ValueError(f"cannot read {path}: expected a name, a model and an embedding of {EMBEDDING} numbers")
    thumbnail = file.extras.get(_THUMBNAIL, np.zeros(0, np.uint8)).tobytes()
    return Style(name, embedding.astype(np.float32, copy=False), model, thumbnail, file.license)
