"""The ways in which a caller may give a style: by name, as a painting, or as a saved style."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from PIL import Image

from nanostyle.errors import NanostyleError
from nanostyle.io.formats import READABLE
from nanostyle.io.sources import Source, recorded_name
from nanostyle.methods.choice import Models
from nanostyle.methods.request import StylizeOptions
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


def check_request(options: StylizeOptions, wanted: Sequence[Wanted], kinds: Sequence[str], model: Models) -> None:
    """Raise where styles, model, masks and weights do not fit together, by their number and kind alone.

    Raises
    ------
    NanostyleError
        It says which do not.
    """
    if not wanted and model is None:
        raise NanostyleError("style: expected one, got none", hint="add {style_image} ART, or {style} NAME")
    if isinstance(model, list | tuple):
        if len(model) != len(wanted):
            raise NanostyleError(f"model: expected one for each of {len(wanted)} styles, got {len(model)}")
    elif model is not None and {"name", "painting"} <= set(kinds):
        raise NanostyleError(
            "style: expected paintings, or names of the model's styles, got both", hint="leave out {model}"
        )
    count = len(wanted) or 1  # a model of one style need not have it named
    if options.masks and len(options.masks) != count:
        raise NanostyleError(
            f"mask: expected one for each of {count} styles, got {len(options.masks)}",
            hint="give a {mask} for each of the styles, in their order",
        )
    if options.weights and len(options.weights) != count:
        raise NanostyleError(
            f"weight: expected one for each of {count} styles, in their order, got {len(options.weights)}"
        )
