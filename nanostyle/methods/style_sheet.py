"""A contact sheet of one photo in every style of a model."""

from typing import Any

from nanostyle.backend.types import Pixels
from nanostyle.io.contact_sheet import sheet
from nanostyle.io.image_read import decode_image
from nanostyle.models.base import IDENTITY, TrainedModel


def style_sheet(model: TrainedModel[Any], pixels: Pixels, *, cell: int = 256) -> Pixels:
    """A contact sheet of one picture in every style of the model, each with the painting's thumbnail above it."""
    paintings = model.paintings
    thumbnails = [
        decode_image(model.thumbnails[name], name=f"the thumbnail of {name}") if name in model.thumbnails else None
        for name in paintings
    ]
    results = [model.render(pixels, name) for name in paintings]
    across = min(len(paintings), 6)
    rows: list[list[Pixels | None]] = []
    captions: list[list[str]] = []
    for start in range(0, len(paintings), across):
        part = slice(start, start + across)
        rows += [[None if start else pixels, *thumbnails[part]], [None, *results[part]]]
        captions += [["" if start else IDENTITY, *paintings[part]], ["", *[""] * len(paintings[part])]]
    return sheet(rows, captions=captions, cell=cell)
