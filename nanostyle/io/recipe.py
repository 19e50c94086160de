"""The recipe that a result carries."""

import json
import os
from typing import Any

from PIL import Image, PngImagePlugin

from nanostyle.io.image_read import _READERS, _decoding, _opened

_EXIF_DESCRIPTION = 0x010E
_RECIPE = "nanostyle"


def read_recipe(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The recipe that `save` put into the picture at `path`, or None; raises as `load` does."""
    with _opened(path) as file, _decoding(str(path)):
        image = Image.open(file, formats=list(_READERS))
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


def _recipe_options(kind: str, text: str) -> dict[str, Any]:
    if kind == "PNG":
        chunks = PngImagePlugin.PngInfo()
        chunks.add_itxt(_RECIPE, text)
        return {"pnginfo": chunks}
    if kind == "JPEG":
        return {"comment": f"{_RECIPE} {text}"}
    exif = Image.Exif()
    exif[_EXIF_DESCRIPTION] = f"{_RECIPE} {text}"
    return {"exif": exif}
