"""One pass over a picture of which rows are read: strokes, blends, regions and colors, as for a picture in memory.

Nothing holds the whole picture. What several passes read lies in temporary files (`backend/rows.py`); the last pass is
computed while the result is written.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from nanostyle.backend.rows import Computed, Rows, combined, kept
from nanostyle.backend.types import Array, Pixels
from nanostyle.io.image_read import Picture
from nanostyle.io.picture_rows import RowPicture, load_rows, rows_of, size_in_rows
from nanostyle.io.resample import fitted
from nanostyle.io.resample_rows import limits_of, resized
from nanostyle.io.sources import Source, read_source
from nanostyle.methods.masks import Mask, composed, rows_at, shares_of
from nanostyle.methods.one_pass import Blend
from nanostyle.methods.palette_rows import nearer_rows, palette_of_rows
from nanostyle.methods.request import PROGRAM
from nanostyle.methods.strokes import AGAIN, sides
from nanostyle.models.base import TrainedModel
from nanostyle.models.palette import Palette, between

RowsPaint = Callable[[Rows, Sequence[Mask]], Rows]
"""From a photo and a mask for each style (or none) to a picture of the same size."""

_ON_DISK = 260  # bytes of temporary files for each pixel: measured at 1,024 pixels, default strokes


def read_photo(
    photo: Source | Picture, size: int | None, memory: int, in_rows: Callable[[tuple[int, ...]], bool]
) -> Picture | RowPicture:
    """A photo at a long side of `size`, where `in_rows` says so of its size as one of which rows are read.

    Raises as `read_source` does.
    """
    if isinstance(photo, str | os.PathLike):
        stored = size_in_rows(photo, size=size)
        if stored is not None and in_rows(stored):
            found = load_rows(photo, size=size)
            return replace(found, notes=(*found.notes, forecast(found, memory)))
    picture = read_source(photo, size=size)
    if not in_rows(picture.pixels.shape):
        return picture
    found = rows_of(picture)
    return replace(found, notes=(*found.notes, forecast(found, memory)))


def forecast(photo: RowPicture, memory: int) -> str:
    """What work in rows takes, in words."""
    height, width, _ = photo.pixels.shape
    space, files = _told(memory + PROGRAM), _told(height * width * _ON_DISK)
    text = (
        f"{width} x {height} pixels are worked on in bands of rows, within {space} of memory and about {files} of"
        " temporary files beside the result"
    )
    if photo.in_one_piece:
        text += "; the file was decoded in one piece: only upright TIFFs and PNGs that are not interlaced are in rows"
    return text


def _told(count: float) -> str:
    return f"{count / 1e9:.2g} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def rows_painter(
    models: Sequence[TrainedModel[Any]],
    styles: Sequence[Any],
    mixed: Sequence[Blend],
    *,
    by_mask: bool,
    strength: float,
    strokes: int | None,
    memory: int,
) -> RowsPaint:
    """`one_pass.painter` for photos of which rows are read, in passes that take `memory` bytes, about."""

    def stroked(model: TrainedModel[Any], style: Any) -> Callable[[Rows], Rows]:
        def render(photo: Rows, part: float) -> Rows:
            return model.rows_renderer(style, strength=part, memory=memory)(photo)

        palette = model.palette(model.style(style))
        return lambda photo: paint_rows(photo, render, strength=strength, strokes=strokes, palette=palette)

    if by_mask:
        each = [stroked(model, style) for model, style in zip(models, styles, strict=True)]
        return lambda photo, masks: _by_region(photo, [render(photo) for render in each], masks)
    renders = [(np.float32(blend.share), stroked(blend.model, blend.style)) for blend in mixed]

    def paint(photo: Rows, masks: Sequence[Mask]) -> Rows:
        if len(renders) == 1:
            return renders[0][1](photo)
        made = [combined(partial(np.multiply, share), render(photo)) for share, render in renders]
        return combined(lambda *parts: np.sum(parts, axis=0), *made)

    return paint


def paint_rows(
    photo: Rows,
    render: Callable[[Rows, float], Rows],
    *,
    strength: float = 1.0,
    strokes: int | None = None,
    palette: Palette | None = None,
) -> Rows:
    """`strokes.paint` for a photo of which rows are read."""
    size = photo.shape[:2]
    first, *larger_sides = sides(max(size), strokes)
    if strength == 0:
        return render(photo, strength)
    limits = limits_of(photo)
    small: Rows = photo if first == max(size) else kept(resized(photo, fitted(size, first), limits))
    painted = render(small, strength)
    if palette:
        target = palette if strength == 1 else between(palette_of_rows(small), palette, strength)
        painted = nearer_rows(kept(painted), target)
    if first == max(size):
        return painted
    if first > max(size):
        return resized(kept(painted), size)
    for side in larger_sides:
        at = fitted(size, side)
        larger = photo if at == size else kept(resized(photo, at, limits))
        painted = kept(painted)
        again = combined(_refined, resized(painted, at), larger, resized(small, at))
        small, painted = larger, render(kept(again), AGAIN * strength)
    return painted


def _refined(enlarged: Pixels, larger: Pixels, blurred: Pixels) -> Pixels:
    """A painting that was enlarged, with the detail that the small photo lacked."""
    return np.asarray(np.clip(enlarged + larger - blurred, 0, 1))


def _by_region(photo: Rows, results: Sequence[Rows], masks: Sequence[Mask]) -> Rows:
    H, W, C = photo.shape
    fitted_masks = [rows_at(mask, (H, W)) for mask in masks]

    def compute(start: int, stop: int) -> Array:
        parts = shares_of(np.stack([mask.read(start, stop)[..., 0] for mask in fitted_masks]))
        return composed(photo.read(start, stop), [rows.read(start, stop) for rows in results], parts)

    return Computed((H, W, C), compute)
