"""Networks that take up the style of any painting, the styles that they predict, and the files of both."""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from nanostyle.autograd.tensor import Tensor, no_grad
from nanostyle.backend.device import CPU, Device, repeated, to_device, to_host
from nanostyle.backend.rows import Rows, cropped
from nanostyle.backend.types import Array, Pixels
from nanostyle.errors import NanostyleError
from nanostyle.io.image_write import thumbnail_jpeg
from nanostyle.io.resample import resize
from nanostyle.io.resample_rows import resized
from nanostyle.io.weights import Storage, WeightFile, load_weights, save_weights
from nanostyle.models.base import Render, TrainedModel
from nanostyle.models.loss_network import load_features
from nanostyle.models.multistyle import storage_of
from nanostyle.models.palette import Palette, mixed, palette_of
from nanostyle.models.registry import find
from nanostyle.models.style import Embedding, Style, load_style
from nanostyle.nets.banded import BandedTransformer
from nanostyle.nets.cost import transformer_pass
from nanostyle.nets.mobilenet import MobileNetBackbone
from nanostyle.nets.predictor import Backbone, ConvBackbone, PredictionNet, VggBackbone
from nanostyle.nets.transformer import TransformerNet
from nanostyle.nets.vgg_config import check_features
from nanostyle.nn.layers import NoDraws
from nanostyle.nn.module import freeze, move, set_state, state

_KIND = "predictor"
_BACKBONE = "predictor/backbone/"
SMALLEST, LARGEST = 16, 4096


@dataclass(eq=False)
class Predictor(TrainedModel[Style]):
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
    device : Device
        Where the network is.
    path : Path or None
        The file that it was read from.
    grain : bool
        Whether photos get grain; not for a network of another program.
    styles, thumbnails
        None: it takes any painting.
    """

    net: PredictionNet
    style_size: int
    recipe: dict[str, Any] = field(default_factory=dict)
    source: str = ""
    license: str = ""
    storage: Storage = "float32"
    device: Device = CPU
    path: Path | None = None
    grain: bool = True
    styles: list[str] = field(default_factory=list, init=False)
    thumbnails: Mapping[str, bytes] = field(default_factory=dict, init=False)

    @cached_property
    def fingerprint(self) -> str:
        """16 digits that tell this network from any other: an embedding means something to one network alone."""
        digest = hashlib.sha256()
        for name, value in sorted(state(self.net).items()):
            digest.update(name.encode())
            digest.update(to_host(value).astype(np.float32).tobytes())
        return digest.hexdigest()[:16]

    @property
    def kind(self) -> str:
        """`predict`."""
        return "predict"

    def style(self, wanted: str | os.PathLike[str] | Pixels | Style | None = None, *, name: str = "") -> Style:
        """The style of a painting `(H, W, 3)`, or one that was saved. See `TrainedModel.style`.

        Whatever the size of the painting, it is looked at in the size of the training.
        """
        if wanted is None:
            raise ValueError("style: this model takes any painting, got none")
        if isinstance(wanted, np.ndarray):
            seen = self._seen(wanted)
            # A network of another program paints as it does there.
            palette = palette_of(seen) if self.grain else None
            return Style(name, self._embedding(seen), self.fingerprint, thumbnail_jpeg(wanted), palette=palette)
        if not isinstance(wanted, Style):
            if not Path(wanted).exists():
                raise NanostyleError(
                    f"this model takes paintings and saved styles, and there is no file {wanted}",
                    hint="give a painting with {style_image}, or the file of a saved style",
                )
            wanted = load_style(wanted)
        return wanted

    def blend(
        self,
        styles: Sequence[str | os.PathLike[str] | Pixels | Style | None],
        weights: Sequence[float] | None = None,
    ) -> Style:
        """A mixture of `styles`, which are embeddings, in parts of `weights`. See `TrainedModel.blend`."""
        found = [self.style(wanted) for wanted in styles]
        if other := [style for style in found if style.model != found[0].model]:
            raise NanostyleError(
                f"style {other[0].name!r} was predicted by another model than {found[0].name!r};"
                " predict both from their pictures with one model"
            )
        return super().blend(found, weights)

    def renderer(
        self,
        style: str | os.PathLike[str] | Pixels | Style | None = None,
        *,
        strength: float = 1.0,
        memory: int | None = None,
    ) -> Render:
        """`render` for many photos. See `TrainedModel.renderer`; NanostyleError for a style of another model."""
        found = self.style(style)
        if found.model != self.fingerprint:
            raise NanostyleError(
                f"style {found.name!r} was predicted by another model ({found.model}, this one is"
                f" {self.fingerprint}); predict it again from its picture, or name that model"
            )
        return super().renderer(found, strength=strength, memory=memory)

    @cached_property
    def _forward(self) -> Callable[[Array, Array], Array]:
        """From photos `(N, H, W, 3)` and embeddings `(N, 100)` to pictures."""

        def forward(photos: Array, embeddings: Array) -> Array:
            with no_grad():
                return self.net(Tensor(photos), Tensor(embeddings)).data

        return repeated(forward, self.device)

    def palette(self, style: Style) -> Palette | None:
        """The painting's palette. See `TrainedModel.palette`."""
        return style.palette

    def _painter(self) -> Callable[[Pixels, Style], Pixels]:
        return lambda photo, style: to_host(self._forward(photo[None], style.embedding[None]))[0]

    def _in_bands(self, photo: Rows, styles: Sequence[Style], memory: int) -> list[Rows]:
        with no_grad():
            rows = [self.net.predictor.rows(Tensor(style.embedding[None])) for style in styles]
        return BandedTransformer(self.net.transformer, memory).several(photo, rows)

    def _own(self, photo: Pixels | Rows) -> Style:
        return Style("photo", self._embedding(self._seen(photo)), self.fingerprint)

    def _mixed(self, styles: Sequence[Style], shares: Sequence[float]) -> Style:
        embedding = np.array(shares, np.float32) @ np.stack([style.embedding for style in styles])
        known = [style.palette for style in styles if style.palette]
        palette = mixed(known, shares) if len(known) == len(styles) else None
        return Style(" + ".join(style.name for style in styles), embedding, self.fingerprint, palette=palette)

    def _between(self, own: Style, style: Style, strength: float) -> Style:
        embedding = own.embedding + np.float32(strength) * (style.embedding - own.embedding)
        return Style(style.name, embedding, self.fingerprint)

    def _bytes_per_pixel(self) -> float:
        return transformer_pass(self.net.transformer)

    def _seen(self, picture: Pixels | Rows) -> Pixels:
        """A picture in the size at which the network looks at paintings."""
        height, width = (min(n, 4 * other) for n, other in (picture.shape[:2], picture.shape[1::-1]))
        scale = self.style_size / min(height, width)
        size = max(1, round(height * scale)), max(1, round(width * scale))
        middle = _middle(picture, height, width)
        return resize(middle, size) if isinstance(middle, np.ndarray) else resized(middle, size).read(0, size[0])

    def _embedding(self, seen: Pixels) -> Embedding:
        with no_grad():
            x = to_device(seen[None], self.device)
            embedding: Embedding = to_host(self.net.predictor.embed(Tensor(x)).data)[0]
        return embedding


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
        return ConvBackbone(NoDraws())
    if config.get("kind") == "mobilenet":
        return MobileNetBackbone(NoDraws())
    check_features(dict(config), dict(parameters))
    return VggBackbone(config, parameters, device=device)


def predictor_file(predictor: Predictor) -> WeightFile:
    """What the file of `predictor` holds, its backbone included."""
    config: dict[str, Any] = {
        "network": predictor.net.config,
        "style_size": predictor.style_size,
        "storage": predictor.storage,
        "recipe": predictor.recipe,
    }
    if not predictor.grain:
        config["grain"] = False
    parameters = {name: to_host(value) for name, value in state(predictor.net).items()}
    return WeightFile(_KIND, config, parameters, predictor.source, predictor.license)


def save_predictor(path: str | os.PathLike[str], predictor: Predictor) -> None:
    """Write `predictor` to `path`, atomically. Raises as `save_weights` does."""
    save_weights(path, predictor_file(predictor), storage=predictor.storage)


def load_predictor(path: str | os.PathLike[str], *, device: Device = CPU, file: WeightFile | None = None) -> Predictor:
    """Read the prediction network in `path`, onto `device`; `file` is what it holds, if that was read before.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is damaged, of another kind, or its parameters are not those of the network that it describes.
    """
    file = file or load_weights(path, _KIND)
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
    grain = file.config.get("grain", True) is not False
    return Predictor(net, size, recipe, file.source, file.license, storage, device, Path(path), grain)


def _read(path: str | os.PathLike[str], file: WeightFile, device: Device) -> PredictionNet:
    """The network that `file`, read from `path`, describes, its parameters read-only and not frozen yet."""
    try:
        network, rng = file.config["network"], NoDraws()
        transformer = TransformerNet(network["transformer"], rng)
        own = {k.removeprefix(_BACKBONE): v for k, v in file.parameters.items() if k.startswith(_BACKBONE)}
        net = PredictionNet(transformer, _backbone_from(network["backbone"], own, device), rng)
        set_state(net, file.parameters)
    except (NanostyleError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _not_a_predictor(path, error) from error
    return net


def _not_a_predictor(path: str | os.PathLike[str], reason: Exception) -> ValueError:
    return ValueError(f"cannot read {path}: its description is not that of a prediction network ({reason})")


def _middle(picture: Pixels | Rows, height: int, width: int) -> Pixels | Rows:
    """The middle part of a picture. Of a long strip it is four times as long as wide: more would add nothing."""
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    if isinstance(picture, np.ndarray):
        return picture[top : top + height, left : left + width]
    return cropped(picture, top, left, height, width)
