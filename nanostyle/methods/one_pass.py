"""One pass through trained networks: a style, a blend, or styles by region, of one network or of several.

A network mixes the styles that it knows itself, as parameters. What several networks paint is mixed pixel by pixel.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np

from nanostyle.backend.types import Pixels
from nanostyle.methods.masks import Mask, by_region
from nanostyle.methods.strokes import stroked
from nanostyle.models.base import TrainedModel
from nanostyle.models.shift import STILL, Shift
from nanostyle.nn.losses import normalized

_RESULT = 16  # bytes per pixel of a result that is mixed with others, and of its mask


class Paint(Protocol):
    """From a photo `(H, W, 3)` and a mask for each style (or none) to a picture of the same size."""

    def __call__(self, photo: Pixels, masks: Sequence[Mask], shift: Shift = STILL) -> Pixels:
        """`photo` painted; `shift` is that of a frame over its scene."""


@dataclass(frozen=True)
class Blend:
    """The styles of one network, mixed, and the share that they have of the picture."""

    model: TrainedModel[Any]
    style: Any
    share: float


def blends(
    models: Sequence[TrainedModel[Any]], styles: Sequence[Any], weights: Sequence[float] | None = None
) -> list[Blend]:
    """The `styles`, each of its network in `models`, in parts of `weights`: a blend for each network.

    Raises
    ------
    ValueError, NanostyleError
        As `TrainedModel.blend` does.
    """
    shares = normalized(weights, len(styles))
    found = []
    for model in dict.fromkeys(models):
        own = [i for i, other in enumerate(models) if other is model]
        part = [shares[i] for i in own]
        if sum(part) > 0:
            found.append(Blend(model, model.blend([styles[i] for i in own], part), sum(part)))
    return found


def memory_for(
    models: Sequence[TrainedModel[Any]], size: tuple[int, int], *, strokes: int | None = None, results: int = 1
) -> float:
    """The bytes that a photo of `size` (height, width) takes in one piece; so many `results` are mixed."""
    larger = max(1.0, (strokes or 0) / max(size)) ** 2
    one = max(model.memory_for(size) for model in models)
    return larger * one + (results - 1) * _RESULT * size[0] * size[1]


def painter(
    models: Sequence[TrainedModel[Any]],
    styles: Sequence[Any],
    mixed: Sequence[Blend],
    *,
    by_mask: bool,
    **how: Any,
) -> Paint:
    """Paint photos in `styles` (`by_mask`: each where its mask says) or in what they are `mixed` to.

    `how` is what `stroked` takes: `strength`, `strokes` and `memory`. Raises as it does.
    """
    if by_mask:
        each = [stroked(model, style, **how) for model, style in zip(models, styles, strict=True)]

        def paint_regions(photo: Pixels, masks: Sequence[Mask], shift: Shift = STILL) -> Pixels:
            return by_region([partial(render, shift=shift) for render in each], masks)(photo)

        return paint_regions
    renders = [(blend.share, stroked(blend.model, blend.style, **how)) for blend in mixed]

    def paint(photo: Pixels, masks: Sequence[Mask], shift: Shift = STILL) -> Pixels:
        if len(renders) == 1:
            return renders[0][1](photo, shift)
        result = np.zeros_like(photo)
        for share, render in renders:
            result += share * render(photo, shift)
        return result

    return paint
