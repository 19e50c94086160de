"""A Neural Algorithm of Artistic Style (Gatys 2015, 2016): the pixels themselves are optimized."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from nanostyle.autograd.ops import gram, total_variation
from nanostyle.autograd.tensor import Tensor, no_grad
from nanostyle.backend.device import CPU, Device, module_of, repeated, storage, to_device, to_host
from nanostyle.backend.memory import check_memory
from nanostyle.backend.types import Array
from nanostyle.errors import NanostyleError
from nanostyle.io.resample import resize
from nanostyle.methods.masks import Mask, guides, region_shares
from nanostyle.nets.cost import loss_gradient
from nanostyle.nets.vgg import LossNetwork
from nanostyle.nn.losses import Scale, content_loss, layer_weights, normalized, style_loss
from nanostyle.optim.adam import Adam
from nanostyle.optim.lbfgs import lbfgs

Pixels = npt.NDArray[np.float32]

LOSS_SCALE = 2.0**10


LAYER = "NAME[=WEIGHT]"


@dataclass(frozen=True)
class GatysOptions:
    """What can be chosen. A layer is `NAME` or `NAME=WEIGHT`; the weights of one kind are normalized to sum to 1."""

    iterations: int = field(default=300, metadata={"help": "Steps at the coarsest size; each finer size does half."})
    optimizer: str = field(default="lbfgs", metadata={"choices": ("lbfgs", "adam")})
    init: str = field(default="content", metadata={"choices": ("content", "noise", "style")})
    content_layers: tuple[str, ...] = field(
        default=(),
        metadata={"metavar": LAYER, "help": "May be repeated. Default: relu4_2, or the nearest to it that there is."},
    )
    style_layers: tuple[str, ...] = field(
        default=(),
        metadata={"metavar": LAYER, "help": "May be repeated. Default: of relu1_1 to relu5_1 those there are."},
    )
    content_weight: float = 1.0
    style_weight: float = 60.0
    tv_weight: float = field(default=0.1, metadata={"help": "Total variation: smooths noise."})
    style_scale: float = field(default=1.0, metadata={"help": "Size of the style picture beside the photo's."})
    loss_scale: Scale = field(
        default="relative", metadata={"choices": ("relative", "paper"), "help": "paper: Gatys' own formulas."}
    )
    pyramid: bool | None = field(
        default=None, metadata={"help": "Coarse to fine; by default for pictures above 512 pixels."}
    )
    learning_rate: float = field(default=0.02, metadata={"help": "Adam only."})
    seed: int = 0


@dataclass(frozen=True)
class Step:
    """Where the optimization stands after one iteration.

    Attributes
    ----------
    iteration, iterations : int
        Steps done and steps planned, over all sizes.
    loss : float
        The sum of the terms.
    terms : dict
        `content`, `style`, `tv`: each term, weighted.
    """

    iteration: int
    iterations: int
    loss: float
    terms: dict[str, float]
    _pixels: Array = field(repr=False)

    @cached_property
    def pixels(self) -> Pixels:
        """The picture `(H, W, 3)` so far, in 0..1."""
        return np.clip(to_host(self._pixels)[0], 0, 1)


class Diverged(NanostyleError):
    """A layer's values became infinite or NaN. The last step that was yielded is still good."""


def gatys(
    content: Pixels,
    styles: Sequence[Pixels],
    network: LossNetwork,
    options: GatysOptions | None = None,
    *,
    style_weights: Sequence[float] | None = None,
    masks: Sequence[Mask] | None = None,
    device: Device = CPU,
) -> Iterator[Step]:
    """Give `content` the style of `styles`; yields a `Step` per iteration, the last with the finished picture.

    Parameters
    ----------
    content
        The photo `(H, W, 3)`, RGB in 0..1. The result has its size.
    styles
        One painting or several, of any size; `style_weights` says how much of each (default: equal parts).
    masks
        Where each style is to be (Gatys 2017, section 4); the weights are then the regions' areas.

    Raises
    ------
    ValueError
        A layer that the network lacks, a picture too small for the layers, a weight that is negative or NaN; not one
        mask for each style, or weights beside masks.
    Diverged
        The loss became infinite or NaN; the message names the layer.

    Departures from the paper: scale-free losses by default (`losses.py`), a total variation term, the photo as the
    start in place of noise, coarse-to-fine for large pictures (Gatys 2017, section 6).
    """
    options = options or GatysOptions()
    content_layers = layer_weights(options.content_layers or network.content_layers)
    style_layers = layer_weights(options.style_layers or network.style_layers)
    network.check_layers([*content_layers, *style_layers])
    if options.iterations < 0:
        raise ValueError(f"iterations: expected 0 or more, got {options.iterations}")
    for name in ("content_weight", "style_weight", "tv_weight", "style_scale", "learning_rate"):
        value, positive = getattr(options, name), name in ("style_scale", "learning_rate")
        if not (value >= 0 and np.isfinite(value)) or (positive and value == 0):
            raise ValueError(
                f"{name}: expected a finite number {'above 0' if positive else 'of 0 or more'}, got {value}"
            )
    if masks:
        if len(masks) != len(styles) or (style_weights is not None and len(style_weights)):
            raise ValueError(f"mask: expected one for each of {len(styles)} styles, and no weights, got {len(masks)}")
        if not any(mask.any() for mask in masks):
            raise ValueError("mask: expected a mask with something white in it, all are black")
        style_weights = [float(area) for area in region_shares(masks, content.shape[:2]).mean(axis=(1, 2))]
    shares = normalized(style_weights, len(styles))

    least = network.minimum_side([*content_layers, *style_layers])
    sizes = pyramid(content.shape[:2], options.pyramid, least)
    counts = [max(1, options.iterations // (1 if i == 0 else 2)) for i in range(len(sizes))]
    if options.iterations == 0:
        counts = [0] * len(sizes)
    rng = np.random.default_rng(options.seed)
    done, pixels = 0, None
    for size, count in zip(sizes, counts, strict=True):
        photo = resize(content, size)
        pixels = _start(options.init, photo, styles[0], rng) if pixels is None else resize(pixels, size)
        check_memory(device, size, loss_gradient(network, [*content_layers, *style_layers]))
        objective = PixelObjective(network, options, content_layers, style_layers, device)
        objective.aim(photo, [_style_size(s, size, options.style_scale, least) for s in styles], shares, masks)
        for i, step in enumerate(_minimize(objective, to_device(pixels[None], device), options, count)):
            # The start of a finer size is the end of the coarser one, seen larger: not a step of its own.
            if i or not done:
                yield Step(done + i, sum(counts), *step)
            pixels = np.clip(to_host(step[2])[0], 0, 1)
        done += count


def _minimize(
    objective: "PixelObjective", x: Array, options: GatysOptions, count: int
) -> Iterator[tuple[float, dict[str, float], Array]]:
    """The start and then `count` points on the way down, fewer where nothing is left to gain: loss, terms, pixels."""
    if options.optimizer == "lbfgs":
        for i, point in enumerate(lbfgs(objective, x)):
            yield point.loss, objective.terms(point.values), point.x
            if i == count:
                return
        objective.check(objective.values)  # those of the last evaluation: it ends where none is finite, too
    elif options.optimizer == "adam":
        picture = Tensor(x.copy(), requires_grad=True)
        adam = Adam({"pixels": picture}, lr=options.learning_rate)
        for i in range(count + 1):
            values, picture.grad = objective(picture.data)
            numbers = to_host(values)
            objective.check(numbers)
            yield float(numbers[-1]), objective.terms(numbers), picture.data.copy()
            if i < count:
                adam.step()
    else:
        raise ValueError(f"optimizer: expected lbfgs or adam, got {options.optimizer!r}")


class PixelObjective:
    """The loss of a picture and its gradient: what the optimizers call."""

    def __init__(
        self,
        network: LossNetwork,
        options: GatysOptions,
        content_layers: Mapping[str, float],
        style_layers: Mapping[str, float],
        device: Device,
    ) -> None:
        self.network, self.options, self.device = network, options, device
        self.content_layers, self.style_layers = content_layers, style_layers
        self._work = repeated(self.gradient, device)

    def aim(
        self,
        photo: Pixels,
        styles: Sequence[Pixels],
        shares: Sequence[float],
        masks: Sequence[Mask] | None = None,
    ) -> None:
        """Compute the targets: the photo's features, the styles' Gram matrices; and where each style is to be."""
        looked_at = {*self.content_layers, *(self.style_layers if masks else ())}
        with no_grad():
            features = self.network.features(Tensor(to_device(photo[None], self.device)), looked_at)
            self.photo = {name: features[name].data for name in self.content_layers}
            self.styles: list[tuple[float, dict[str, Array], dict[str, Array]]] = []
            sizes = {name: features[name].shape[1:3] for name in self.style_layers} if masks else {}
            for i, (share, style) in enumerate(zip(shares, styles, strict=True)):
                features = self.network.features(Tensor(to_device(style[None], self.device)), self.style_layers)
                where = {}
                for name, guide in guides(masks[i], sizes).items() if masks else ():
                    where[name] = to_device(guide[None, :, :, None].astype(features[name].dtype), self.device)
                self.styles.append((share, {name: gram(f).data for name, f in features.items()}, where))

    def __call__(self, pixels: Array) -> tuple[Array, Array]:
        """The losses of the picture `pixels` `(1, H, W, 3)`, of which the last is their sum, and its gradient."""
        self._parts, self.values, gradient = self._work(pixels)
        # What a GPU has recorded it writes to the same place again, and L-BFGS remembers.
        return self.values, gradient if not self.device.is_gpu else gradient.copy()

    def terms(self, values: npt.NDArray[np.float32]) -> dict[str, float]:
        """Content, style and total variation, weighted, from the losses that a call has returned."""
        terms = {"content": 0.0, "style": 0.0, "tv": 0.0}
        for (term, _), value in zip(self._parts, values[:-1].tolist(), strict=True):
            terms[term] += value
        return terms

    def gradient(self, pixels: Array) -> tuple[list[tuple[str, str]], Array, Array]:
        """Term and layer of each part of the loss, their values and then their sum, and its gradient."""
        x = Tensor(pixels, requires_grad=True)
        features = self.network.features(x, {*self.content_layers, *self.style_layers})
        scale = self.options.loss_scale
        parts: dict[tuple[str, str], list[Tensor]] = defaultdict(list)
        for name, weight in self.content_layers.items():
            loss = content_loss(features[name], self.photo[name], scale=scale)
            parts["content", name].append(loss * (weight * self.options.content_weight))
        for name, weight in self.style_layers.items():
            everywhere = None
            for share, targets, where in self.styles:
                if name in where:
                    G = gram(features[name] * where[name])
                else:
                    G = everywhere = gram(features[name]) if everywhere is None else everywhere
                loss = style_loss(G, targets[name], scale=scale)
                parts["style", name].append(loss * (weight * share * self.options.style_weight))
        if self.options.tv_weight:
            parts["tv", "pixels"].append(total_variation(x) * self.options.tv_weight)

        names = [name for name, losses in parts.items() for _ in losses]
        losses = [loss for part in parts.values() for loss in part]
        total = losses[0]
        for loss in losses[1:]:
            total = total + loss
        values = module_of(pixels).stack([loss.data for loss in (*losses, total)])
        del features, parts, losses, G, everywhere  # their memory goes as the gradient comes back
        # In float16 small gradients vanish, so they are computed 2^10 times as large: the sum is of the order of 1 to
        # 100, as the weights are, so the largest stay far below 65504.
        factor = LOSS_SCALE if storage(pixels) == np.float16 else 1.0
        total.backward(module_of(pixels).full((), factor, total.dtype))
        assert x.grad is not None
        return names, values, x.grad if factor == 1 else x.grad / factor

    def check(self, values: Array) -> None:
        """Raise `Diverged` if one of the losses is not finite; it names the first layer of which that is so."""
        numbers = to_host(values)[:-1].tolist()
        bad = {name for (_, name), value in zip(self._parts, numbers, strict=True) if not np.isfinite(value)}
        if culprit := next((name for name in ["pixels", *self.network.layers] if name in bad), None):
            raise Diverged(
                f"gatys: the loss at {culprit} became infinite or NaN; the last good picture is kept;"
                " use smaller weights or a smaller --learning-rate"
            )


def pyramid(size: tuple[int, int], wanted: bool | None, least: int = 1) -> list[tuple[int, int]]:
    """The sizes to work at, coarse to fine: halves of `size` until the long side is at most 512.

    `wanted` None does so for pictures above 512 pixels; True halves at least once; False not at all. No side becomes
    less than `least`.
    """
    sizes = [size]
    if wanted is not False:
        while max(sizes[0]) > 512 or (wanted and len(sizes) == 1):
            height, width = (round(n / 2) for n in sizes[0])
            if min(height, width) < least:
                break
            sizes.insert(0, (height, width))
    return sizes


def _style_size(style: Pixels, size: tuple[int, int], scale: float, least: int) -> Pixels:
    """The painting with its long side `scale` times that of the picture of `size`, no side less than `least`."""
    factor = max(scale * max(size) / max(style.shape[:2]), least / min(style.shape[:2]))
    return resize(style, tuple(max(least, round(n * factor)) for n in style.shape[:2]))


def _start(init: str, photo: Pixels, style: Pixels, rng: np.random.Generator) -> Pixels:
    """The first picture: the photo, the painting cut to the photo's shape, or noise."""
    if init == "content":
        return photo
    if init == "noise":
        return rng.random(photo.shape, np.float32)
    if init == "style":
        H, W = photo.shape[:2]
        factor = max(H / style.shape[0], W / style.shape[1])
        covering = resize(style, tuple(max(n, round(m * factor)) for n, m in zip((H, W), style.shape, strict=False)))
        top, left = (covering.shape[0] - H) // 2, (covering.shape[1] - W) // 2
        return np.ascontiguousarray(covering[top : top + H, left : left + W])
    raise ValueError(f"init: expected content, noise or style, got {init!r}")
