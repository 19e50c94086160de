"""The options of training, each with its default and its help text."""

from dataclasses import dataclass, field

import numpy as np

from nanostyle.io.weights import STORAGES, Storage

_ABOVE_0 = ("batch", "size", "lr", "norm_rate", "lr_decay", "clip", "preview_every", "checkpoint_every")
_FROM_0 = (
    "steps",
    "shards",
    "style_size",
    "content_weight",
    "style_weight",
    "tv_weight",
    "grid_weight",
    "palette_weight",
    "pan_weight",
    "grain",
    "photo_weight",
    "photo_share",
    "second_share",
    "style_crops",
    "ema",
    "seed",
)

# These may differ when a training resumes: they do not affect how the weights change.
FREE_ON_RESUME = frozenset({"steps", "preview_every", "checkpoint_every", "storage", "license"})


# Smaller photos that move leave nothing to compare between their borders.
_LEAST_PANNED = 32


@dataclass(frozen=True)
class TrainOptions:
    """The options of every kind of training; a layer is `NAME` or `NAME=WEIGHT`.

    Attributes
    ----------
    steps, batch : int
        Steps of training in all, and photos in each.
    shards : int
        Equal parts of a batch, each with a gradient of its own: any number of processes up to this gives the same
        bytes. 0: as many as the checkpoint has that is resumed, else as there are processes.
    size, style_size : int
        Side of the photos' crops and short side of the paintings, in pixels. A `style_size` of 0 is `size`.
    start_from : str
        A trained model to begin with in place of random weights; it sets the network and its width. Empty: none.
    width : float
        Multiplies the channels of the paper's network: 0.5 is four times as fast, 0.25 sixteen.
    norm, upsample : str
        Of a feedforward network: `instance` or `batch`; `nearest`, or `fractional` as in the paper.
    backbone : str
        predict: what looks at the paintings: a loss network (`builtin`, `vgg16`, `vgg19` or a file; empty: as
        `loss_net`), or `conv`, a small network trained from scratch.
    finetune : bool
        predict: whether a loss network that looks at the paintings is trained further.
    loss_net : str
        The loss network: `builtin`, `vgg16`, `vgg19` or a file.
    content_layers, style_layers : tuple of str
        Layers of the loss network. Empty: its own defaults.
    content_weight, style_weight, tv_weight, grid_weight : float
        How much content, style, total variation and the penalty on checkerboards count, 0 or more.
    palette_weight, pan_weight : float
        How much the painting's colors count, and that results move with photos that move by a pixel.
    second_share : float
        The share of photos that are first stylized at half the size, 0 to 1.
    grain : float
        The standard deviation of the noise added to the photos, of 255.
    style_crops : int
        predict: the crops of each painting whose Gram matrices are kept. 0: always new crops.
    frozen_norm : bool
        predict: whether batch norm stays as in the model that the training starts from.
    photo_weight : float
        cin: how exactly the style `photo`, the end of the dial of strength, gives the photo back.
    photo_share : float
        predict: the share of photos that are to come out as they went in, 0 to below 1.
    lr, norm_rate, lr_decay : float
        Adam's rate at the start, its multiplier for gamma and beta, and the part of it that it falls to.
    clip : float
        The greatest norm of the gradient over all parameters; a longer gradient is scaled down to it.
    ema : float
        0 to below 1. Above 0 the model is the running average of the weights, with this decay per step.
    seed : int
        Fixes what is random: the same seed gives the same bytes.
    preview_every, checkpoint_every : int
        Steps between previews, and between checkpoints.
    storage : str
        How the model file keeps numbers: `float32`, `float16`, `uint8` or `kmeans8`.
    license : str
        Terms under which the model may be used; written into it.

    Options in braces within a help text stand for their names: see `NanostyleError`.

    Raises
    ------
    ValueError
        A number is out of its range; the message names it.

    Examples
    --------
    >>> from nanostyle import TrainOptions
    >>> TrainOptions(steps=2000, size=224).style_side
    224
    """

    steps: int = field(default=40_000, metadata={"help": "Number of training steps."})
    batch: int = field(default=4, metadata={"help": "Photos per step."})
    shards: int = field(
        default=0,
        metadata={
            "help": "Equal parts of a batch, each with a gradient of its own. Any number of processes up to this"
            " gives the same bytes. 0: one for each process that there is at the start.",
        },
    )
    size: int = field(default=256, metadata={"help": "Side of the square crops of the photos, in pixels."})
    style_size: int = field(
        default=0,
        metadata={"help": "Short side of the paintings, in pixels: sets the size of the strokes. 0: as {size}."},
    )
    start_from: str = field(
        default="",
        metadata={"help": "Trained model to start from, in place of random weights. It sets the network's width."},
    )
    width: float = field(
        default=1.0,
        metadata={
            "help": "Factor on the number of channels of the paper's network. A network of width 0.5 is about four"
            " times as fast."
        },
    )
    norm: str = field(
        default="instance",
        metadata={"help": "feedforward: the normalization layers.", "choices": ("instance", "batch")},
    )
    upsample: str = field(
        default="nearest",
        metadata={
            "help": "feedforward: how the network upsamples. nearest: repeated pixels and a convolution; fractional:"
            " transposed convolutions, as in the paper.",
            "choices": ("nearest", "fractional"),
        },
    )
    backbone: str = field(
        default="",
        metadata={
            "help": "predict: the network that looks at the paintings. A loss network (builtin, vgg16, vgg19 or a"
            " file), or conv, a small network trained from scratch. Default: as {start_from} or {loss_net}."
        },
    )
    finetune: bool = field(default=False, metadata={"help": "predict: train the backbone too."})
    loss_net: str = field(default="builtin", metadata={"help": "Loss network: builtin, vgg16, vgg19 or a file."})
    content_layers: tuple[str, ...] = field(
        default=(),
        metadata={"help": "Layers of the content loss. Default: relu4_2, or the nearest that the loss network has."},
    )
    style_layers: tuple[str, ...] = field(
        default=(),
        metadata={"help": "Layers of the style loss. Default: those of relu1_1 to relu5_1 that the loss network has."},
    )
    content_weight: float = field(default=1.0, metadata={"help": "Weight of the content loss."})
    style_weight: float = field(default=5.0, metadata={"help": "Weight of the style loss."})
    tv_weight: float = field(
        default=0.0, metadata={"help": "Weight of the total variation, which smooths noise; 0 disables it."}
    )
    palette_weight: float = field(default=0.0, metadata={"help": "Weight of the painting's colors; 0 disables it."})
    pan_weight: float = field(
        default=0.0,
        metadata={"help": "Weight of the loss that makes results move with photos that move by a pixel."},
    )
    second_share: float = field(
        default=0.0,
        metadata={"help": "Share of the photos that are first stylized at half the size, for {strokes}."},
    )
    grain: float = field(default=0.0, metadata={"help": "Standard deviation of the noise added to the photos, of 255."})
    style_crops: int = field(
        default=0,
        metadata={"help": "predict: crops of each painting whose Gram matrices are kept. 0: always new crops."},
    )
    frozen_norm: bool = field(
        default=False,
        metadata={"help": "predict: keep the batch norm of the model that the training starts from."},
    )
    grid_weight: float = field(default=1000.0, metadata={"help": "Weight of the checkerboard penalty; 0 disables it."})
    photo_weight: float = field(
        default=50.0,
        metadata={
            "help": "cin, predict: weight of the loss that makes the style `photo`, the end of {strength}, give the"
            " photo back."
        },
    )
    photo_share: float = field(
        default=0.125,
        metadata={"help": "predict: share of the photos that are trained with the style `photo`, below 1."},
    )
    lr: float = field(default=0.001, metadata={"help": "Learning rate of Adam at the start."})
    norm_rate: float = field(default=10.0, metadata={"help": "Learning-rate multiplier for gamma and beta."})
    lr_decay: float = field(
        default=0.1, metadata={"help": "The learning rate falls exponentially to this share of it at the last step."}
    )
    clip: float = field(
        default=10.0,
        metadata={"help": "Largest norm of the gradient over all parameters; a longer one is scaled down."},
    )
    ema: float = field(
        default=0.0,
        metadata={
            "help": "Decay of the running average of the weights, such as 0.999: the model holds the average. 0: off."
        },
    )
    seed: int = field(default=0, metadata={"help": "Seed of everything random."})
    preview_every: int = field(default=500, metadata={"help": "Steps between previews."})
    checkpoint_every: int = field(default=500, metadata={"help": "Steps between checkpoints."})
    storage: Storage = field(
        default="float32",
        metadata={"help": "Number format of the model file; uint8 and kmeans8 take 8 bits."},
    )
    license: str = field(default="not stated", metadata={"help": "License of the model; written into its file."})

    def __post_init__(self) -> None:
        for name in (*_ABOVE_0, *_FROM_0):
            value = getattr(self, name)
            least = "above 0" if name in _ABOVE_0 else "of 0 or more"
            if not (value >= 0 and np.isfinite(value)) or (name in _ABOVE_0 and value == 0):
                raise ValueError(f"{name}: expected a number {least}, got {value}")
        for name in ("ema", "photo_share", "second_share"):
            if getattr(self, name) >= 1:
                raise ValueError(f"{name}: expected a number below 1, got {getattr(self, name)}")
        if self.pan_weight and self.size < _LEAST_PANNED:
            raise ValueError(f"pan_weight: expected crops of {_LEAST_PANNED} pixels or more, got size {self.size}")
        if self.second_share and self.size % 2:
            raise ValueError(f"second_share: expected crops whose half is whole, got size {self.size}")
        if self.frozen_norm and not self.start_from:
            raise ValueError("frozen_norm: expected a model to start from, got none")
        if self.storage not in STORAGES:
            raise ValueError(f"storage: expected one of {', '.join(STORAGES)}, got {self.storage!r}")

    @property
    def parts(self) -> int:
        """The number of shards: 1 where it was left open."""
        return max(1, self.shards)

    @property
    def shard_size(self) -> int:
        """Photos in a shard."""
        return self.batch // self.parts

    @property
    def style_side(self) -> int:
        """The short side of the paintings in pixels."""
        return self.style_size or self.size
