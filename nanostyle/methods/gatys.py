"""A Neural Algorithm of Artistic Style (Gatys 2015, 2016): the pixels themselves are optimized."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from nanostyle.autograd.tensor import Tensor
from nanostyle.backend.device import CPU, Device, storage, to_device, to_host
from nanostyle.backend.memory import check_memory
from nanostyle.backend.types import Array, Pixels
from nanostyle.errors import NanostyleError
from nanostyle.io.resample import resize
from nanostyle.methods.coarse_to_fine import Plateau, counts, pyramid
from nanostyle.methods.gatys_options import GatysOptions
from nanostyle.methods.masks import Mask, areas, guides
from nanostyle.methods.start import first_picture
from nanostyle.nets.cost import loss_gradient
from nanostyle.nets.perceptual import PerceptualLoss, PixelObjective, StyleTarget
from nanostyle.nets.vgg import LossNetwork
from nanostyle.nn.losses import normalized
from nanostyle.optim.adam import Adam
from nanostyle.optim.lbfgs import lbfgs


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
        return np.asarray(np.clip(to_host(self._pixels)[0], 0, 1))


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

    Departures from the paper: scale-free losses by default (`nn/losses.py`), a total variation term, the photo in
    the painting's colors as the start in place of noise, coarse-to-fine (Gatys 2017, section 6), an end where little
    is gained.
    """
    options = options or GatysOptions()
    loss = perceptual_loss(network, options)
    _check(options)
    if masks:
        style_weights = areas(masks, content.shape[:2], count=len(styles), weights=style_weights)
    shares = normalized(style_weights, len(styles))
    least = network.minimum_side(loss.layers)
    sizes = pyramid(content.shape[:2], options.pyramid, least)
    planned = counts(options.iterations, len(sizes))
    done, pixels = 0, None
    for level, size in enumerate(sizes):
        photo = resize(content, size)
        check_memory(device, size, loss_gradient(network, loss.layers))
        if pixels is not None:
            pixels = resize(pixels, size)
        elif options.init == "content" and not options.style_weight:
            pixels = photo  # there are no colors to take
        else:
            pixels = first_picture(options.init, photo, styles, shares, masks, options.seed)
        paintings = [_style_size(style, size, options.style_scale, least) for style in styles]
        targets = _targets(loss, size, paintings, shares, masks, device)
        objective = PixelObjective(loss, to_device(photo[None], device), targets, device=device)
        plateau = Plateau(options.least_gain)
        for i, step in enumerate(_minimize(objective, to_device(pixels[None], device), options, planned[level])):
            if enough := plateau.reached(step[0]):
                planned[level] = i
            # The start of a finer size is the end of the coarser one, seen larger: not a step of its own.
            if i or not done:
                yield Step(done + i, sum(planned), *step)
            pixels = np.clip(to_host(step[2])[0], 0, 1)
            if enough:
                break
        done += planned[level]


def perceptual_loss(network: LossNetwork, options: GatysOptions) -> PerceptualLoss:
    """The loss that `options` describe. Raises as `PerceptualLoss` does."""
    return PerceptualLoss(
        network,
        content_layers=options.content_layers,
        style_layers=options.style_layers,
        content_weight=options.content_weight,
        style_weight=options.style_weight,
        tv_weight=options.tv_weight,
        scale=options.loss_scale,
    )


def gradient_bytes(network: LossNetwork, options: GatysOptions) -> float:
    """Bytes per pixel of the loss and its gradient."""
    return loss_gradient(network, perceptual_loss(network, options).layers)


def _check(options: GatysOptions) -> None:
    if options.iterations < 0:
        raise ValueError(f"iterations: expected 0 or more, got {options.iterations}")
    for name in ("content_weight", "style_weight", "tv_weight", "least_gain", "style_scale", "learning_rate"):
        value, positive = getattr(options, name), name in ("style_scale", "learning_rate")
        if not (value >= 0 and np.isfinite(value)) or (positive and value == 0):
            least = "above 0" if positive else "of 0 or more"
            raise ValueError(f"{name}: expected a finite number {least}, got {value}")


def _targets(
    loss: PerceptualLoss,
    size: tuple[int, int],
    paintings: Sequence[Pixels],
    shares: Sequence[float],
    masks: Sequence[Mask] | None,
    device: Device,
) -> list[StyleTarget]:
    """The paintings as the loss sees them, for a picture of `size`: each where its mask says, or everywhere."""
    sizes = {name: loss.network.size(name, *size) for name in loss.style_layers}
    targets = []
    for i, (painting, share) in enumerate(zip(paintings, shares, strict=True)):
        art = to_device(painting[None], device)
        where = guides(masks[i], sizes) if masks else {}
        kept = {name: to_device(guide[None, :, :, None].astype(storage(art)), device) for name, guide in where.items()}
        targets.append(StyleTarget(loss.grams(art), share, kept))
    return targets


def _minimize(
    objective: PixelObjective, x: Array, options: GatysOptions, count: int
) -> Iterator[tuple[float, dict[str, float], Array]]:
    """The start and then `count` points on the way down, fewer where nothing is left to gain: loss, terms, pixels."""
    if options.optimizer == "lbfgs":
        for i, point in enumerate(lbfgs(objective, x)):
            yield point.loss, objective.terms(point.values), point.x
            if i == count:
                return
        _check_finite(objective, objective.values)  # those of the last evaluation: it ends where none is finite, too
    elif options.optimizer == "adam":
        picture = Tensor(x.copy(), requires_grad=True)
        adam = Adam({"pixels": picture}, lr=options.learning_rate)
        for i in range(count + 1):
            values, picture.grad = objective(picture.data)
            numbers = to_host(values)
            _check_finite(objective, numbers)
            yield float(numbers[-1]), objective.terms(numbers), picture.data.copy()
            if i < count:
                adam.step()
    else:
        raise ValueError(f"optimizer: expected lbfgs or adam, got {options.optimizer!r}")


def _check_finite(objective: PixelObjective, values: Array) -> None:
    if layer := objective.first_not_finite(values):
        raise Diverged(
            f"gatys: the loss at {layer} became infinite or NaN; the last good picture is kept",
            hint="use smaller weights or a smaller {learning_rate}",
        )


def _style_size(style: Pixels, size: tuple[int, int], scale: float, least: int) -> Pixels:
    """The painting with its long side `scale` times that of the picture of `size`, no side less than `least`."""
    factor = max(scale * max(size) / max(style.shape[:2]), least / min(style.shape[:2]))
    return resize(style, tuple(max(least, round(n * factor)) for n in style.shape[:2]))
