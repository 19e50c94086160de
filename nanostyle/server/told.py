"""What clients are told of models and pictures, in values that JSON can hold."""

from pathlib import PurePath
from typing import Any

from nanostyle import TrainedModel
from nanostyle.server.store import Upload

_SMALL_WORDS = {"van", "of", "the", "in", "with", "de", "and"}


def model_told(id: str, model: TrainedModel[Any]) -> dict[str, Any]:
    """A model and its styles."""
    styles = [{"name": name, "label": _label(name), "thumbnail": name in model.thumbnails} for name in model.paintings]
    return {
        "id": id,
        "name": model.path.name if model.path else id,
        "kind": model.kind,
        "sha256": model.sha256,
        "styles": styles,
    }


def _label(name: str) -> str:
    """A style's name for people.

    >>> _label("starry_night_van_gogh")
    'Starry Night van Gogh'
    """
    words = name.replace("_", " ").split()
    return " ".join(word if word in _SMALL_WORDS and i else _capital(word) for i, word in enumerate(words))


def _capital(word: str) -> str:
    """A word with a capital; a Roman number all in capitals."""
    return word.upper() if word.strip("ivx") == "" else word[:1].upper() + word[1:]


def upload_told(upload: Upload) -> dict[str, Any]:
    """A picture that was sent."""
    names = ("id", "name", "width", "height", "recipe")
    return {**{name: getattr(upload, name) for name in names}, "label": _label(PurePath(upload.name).stem)}
