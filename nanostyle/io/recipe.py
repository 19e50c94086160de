"""Recipes: how a result was made, written into the picture itself as JSON."""

import json
import os
from typing import Any

from PIL import Image, PngImagePlugin

from nanostyle.io.decoding import decoding, opened
from nanostyle.io.formats import READERS

_EXIF_DESCRIPTION = 0x010E
_RECIPE = "nanostyle"


def read_recipe(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The recipe that `save_image` put into the picture at `path`, or None; raises as `load_image` does."""
    with opened(path) as file, decoding(str(path)):
        image = Image.open(file, formats=list(READERS))
        text = _recipe_text(image)
    try:
        recipe = json.loads(text) if text else None
    except (ValueError, RecursionError):
        return None
    return recipe if isinstance(recipe, dict) else None


def _recipe_text(image: Image.Image) -> str | None:
    if image.format == "PNG":
        return image.info.get(_RECIPE)
    if image.format in ("JPEG", "MPO"):
        text = image.info.get("comment", b"").decode("utf-8", errors="replace")
    else:
        text = str(image.getexif().get(_EXIF_DESCRIPTION, ""))
    return text.removeprefix(_RECIPE) if text.startswith(_RECIPE + " ") else None


def recipe_options(kind: str, text: str) -> dict[str, Any]:
    """What Pillow's `save` needs to write a recipe, as the JSON `text`, into a file of the format `kind`."""
    if kind == "PNG":
        chunks = PngImagePlugin.PngInfo()
        chunks.add_itxt(_RECIPE, text)
        return {"pnginfo": chunks}
    if kind == "JPEG":
        return {"comment": f"{_RECIPE} {text}"}
    exif = Image.Exif()
    exif[_EXIF_DESCRIPTION] = f"{_RECIPE} {text}"
    return {"exif": exif}
