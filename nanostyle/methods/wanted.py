"""The ways in which a caller may give a style: by name, as a painting, or as a saved style."""

from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from PIL import Image

from nanostyle.io.formats import READABLE
from nanostyle.io.sources import Source, recorded_name
from nanostyle.models.style import Style

Wanted: TypeAlias = Source | Style
"""The name of a style of a model; a painting: a path, a PIL image or an array; a saved style or the file of one."""


def kind_of(style: Wanted) -> Literal["name", "painting", "saved"]:
    """How a style is given. The suffix of a text decides: .h5 is a saved style, a picture's suffix is a painting."""
    if isinstance(style, Style):
        return "saved"
    if isinstance(style, np.ndarray | Image.Image):
        return "painting"
    suffix = Path(style).suffix.lower()
    if suffix == ".h5":
        return "saved"
    return "name" if isinstance(style, str) and suffix not in READABLE else "painting"


def recorded(style: Wanted) -> str:
    """The style's name in the recipe: of a file its `recorded_name`, of others the name as given."""
    if isinstance(style, Style):
        return style.name
    return style if isinstance(style, str) and kind_of(style) == "name" else recorded_name(style)
