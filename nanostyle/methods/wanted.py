"""Styles as a program names them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from PIL import Image

from nanostyle.io.formats import READABLE
from nanostyle.io.sources import Source, name_of
from nanostyle.models.style import Style

Wanted: TypeAlias = Source | Style
"""The name of a style of a model; a painting: a path, a PIL image or an array; a saved style or the file of one."""


def as_list(style: Wanted | Sequence[Wanted] | None) -> list[Any]:
    """The styles, of which there may be none, one or several."""
    if style is None:
        return []
    return list(style) if isinstance(style, list | tuple) else [style]


def kind_of(style: Wanted) -> Literal["name", "painting", "saved"]:
    """What a style is given as. Of a text the suffix decides: .h5 is a saved style, that of a picture a painting."""
    if isinstance(style, Style):
        return "saved"
    if isinstance(style, np.ndarray | Image.Image):
        return "painting"
    suffix = Path(style).suffix.lower()
    if suffix == ".h5":
        return "saved"
    return "name" if isinstance(style, str) and suffix not in READABLE else "painting"


def recorded(style: Wanted) -> str:
    """What the recipe calls a style: a painting by the name of its file, another as it was named."""
    if isinstance(style, Style):
        return style.name
    return style if isinstance(style, str) and kind_of(style) != "painting" else name_of(style)
