"""Parse a request, JSON or the fields of a form, into an `Order`. Errors name the field that is wrong."""

import difflib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nanostyle.methods.strokes import LARGEST, SMALLEST
from nanostyle.server.guard import Refused

KINDS = ("preview", "final", "refine", "batch")
FORMATS = {
    "jpeg": ("JPEG", "image/jpeg", ".jpg"),
    "png": ("PNG", "image/png", ".png"),
    "webp": ("WEBP", "image/webp", ".webp"),
}
"""Formats of results by the word for them: ours, the media type and the suffix."""

MOST_LAYERS, MOST_PHOTOS, MOST_SIZE = 8, 500, 30_000
_MOST_WORD = 120


@dataclass(frozen=True)
class Layer:
    """One style of a blend: a name that a model knows, or a painting that was sent."""

    model: str
    style: str | None = None
    painting: str | None = None
    weight: float = 1.0
    mask: str | None = None


@dataclass(frozen=True)
class Refinement:
    """The options of Gatys' method that the page has."""

    iterations: int = 150
    style_weight: float = 60.0
    seed: int = 0


@dataclass(frozen=True)
class Order:
    """A request to stylize: photos, style and options."""

    kind: str
    photos: tuple[str, ...]
    layers: tuple[Layer, ...]
    client: str = ""
    strength: float = 1.0
    strokes: int | None = None
    colors: str = "style"
    size: int | None = None
    gatys: Refinement = Refinement()
    format: str = "png"
    quality: int = 95


def bad(text: str) -> Refused:
    """The error for a field with a wrong name or value: status 400."""
    return Refused(400, "bad_request", text)


def unfit(text: str) -> Refused:
    """The error for fields that are valid alone but not together: status 422."""
    return Refused(422, "does_not_fit", text)


def from_json(body: bytes) -> Any:
    """Parse a JSON body.

    Raises
    ------
    Refused
        400: the body is not JSON.
    """
    try:
        return json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise bad("body: expected JSON") from None


def order_of(said: Any) -> Order:
    """Read an order from a JSON object.

    Raises
    ------
    Refused
        400: a field is unknown, missing or has a wrong value. 422: the fields do not fit together.
    """
    words = _object(said, "body", _WORDS)
    if "kind" not in words or "layers" not in words:
        raise bad(f"{'layers' if 'kind' in words else 'kind'}: expected in the body, got none")
    read = {name: _WORDS[name](value, name) for name, value in words.items()}
    photo, photos = read.pop("photo", None), read.pop("photos", ())
    if read["kind"] == "batch":
        if not photos:
            raise bad("photos: expected a list of one or more for a batch")
    elif photo is None:
        raise bad("photo: expected in the body, got none")
    else:
        photos = (photo,)
    order = Order(photos=photos, **read)
    _check(order)
    return order


def layers_of(styles: Sequence[str], paintings: Sequence[str], weights: Sequence[str], model: str) -> list[Any]:
    """The layers of a form: names of styles first, then paintings; the weights in the same order.

    Raises
    ------
    Refused
        400: there are weights, but not one for each style.
    """
    found: list[dict[str, Any]] = [{"style": style} for style in styles]
    found += [{"painting": painting} for painting in paintings]
    if weights and len(weights) != len(found):
        raise bad(f"weight: expected one for each of {len(found)} styles, got {len(weights)}")
    for layer, weight in zip(found, weights, strict=False):
        layer["weight"] = decimal(weight, "weight")
    return [{**layer, **({"model": model} if model else {})} for layer in found]


def decimal(text: str, name: str) -> float | int:
    """Parse the number in a field of a form.

    Raises
    ------
    Refused
        400: the field is not a number.
    """
    try:
        value = float(text[:40])
    except ValueError:
        raise bad(f"{name}: expected a number, got {text[:40]!r}") from None
    return int(value) if value.is_integer() and "." not in text and "e" not in text.lower() else value


def near(word: str, known: Sequence[str]) -> str:
    """A hint for an unknown `word`: the nearest of the `known` words, or all of them."""
    found = difflib.get_close_matches(word, known, 1, 0.5)
    return f"; did you mean {found[0]!r}?" if found else f"; known are {', '.join(known)}"


# --- values ---------------------------------------------------------------------------------------------------------


def _no_number(word: str) -> float:
    raise ValueError(word)


def _shown(value: Any) -> str:
    return json.dumps(value)[:60]


def _object(said: Any, name: str, words: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(said, dict):
        raise bad(f"{name}: expected an object, got {_shown(said)}")
    for word in said:
        if word not in words:
            raise bad(f"{name}: there is no word {word[:40]!r}{near(word[:40], list(words))}")
    return said


def _number(low: float, high: float, *, whole: bool = False, missing: bool = False) -> Callable[[Any, str], Any]:
    def read(value: Any, name: str) -> Any:
        if missing and value is None:
            return None
        right = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        if not right or not math.isfinite(value) or not low <= value <= high:
            kind = "a whole number" if whole else "a number"
            raise bad(f"{name}: expected {kind} from {low:g} to {high:g}, got {_shown(value)}")
        return value if whole else float(value)

    return read


def _word(*words: str) -> Callable[[Any, str], str]:
    def read(value: Any, name: str) -> str:
        if value not in words or not isinstance(value, str):
            raise bad(f"{name}: expected {', '.join(words[:-1])} or {words[-1]}, got {_shown(value)}")
        return value

    return read


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or len(value) > _MOST_WORD:
        raise bad(f"{name}: expected a text of at most {_MOST_WORD} characters, got {_shown(value)}")
    return value


def _list(value: Any, name: str, most: int) -> list[Any]:
    if not isinstance(value, list) or not 1 <= len(value) <= most:
        raise bad(f"{name}: expected a list of 1 to {most}, got {_shown(value)}")
    return value


def _photos(value: Any, name: str) -> tuple[str, ...]:
    return tuple(_text(one, name) for one in _list(value, name, MOST_PHOTOS))


def _layers(value: Any, name: str) -> tuple[Layer, ...]:
    return tuple(_layer(one) for one in _list(value, name, MOST_LAYERS))


def _layer(said: Any) -> Layer:
    words = _object(said, "layers", _LAYER_WORDS)
    read = {name: _LAYER_WORDS[name](value, name) for name, value in words.items()}
    if ("style" in read) == ("painting" in read):
        raise bad("layers: expected a style or a painting in each, and not both")
    read.setdefault("model", "styles" if "style" in read else "any")
    return Layer(**read)


def _refinement(said: Any, name: str) -> Refinement:
    words = _object(said, name, _GATYS_WORDS)
    return Refinement(**{word: _GATYS_WORDS[word](value, word) for word, value in words.items()})


_LAYER_WORDS: dict[str, Callable[[Any, str], Any]] = {
    "style": _text,
    "painting": _text,
    "model": _text,
    "weight": _number(0, 1000),
    "mask": _text,
}
_GATYS_WORDS: dict[str, Callable[[Any, str], Any]] = {
    "iterations": _number(1, 2000, whole=True),
    "style_weight": _number(0, 1e6),
    "seed": _number(0, 2**31 - 1, whole=True),
}
_WORDS: dict[str, Callable[[Any, str], Any]] = {
    "kind": _word(*KINDS),
    "photo": _text,
    "photos": _photos,
    "client": _text,
    "layers": _layers,
    "strength": _number(0, 1),
    "strokes": _number(SMALLEST, LARGEST, whole=True, missing=True),
    "colors": _word("style", "content"),
    "size": _number(16, MOST_SIZE, whole=True, missing=True),
    "gatys": _refinement,
    "format": _word(*FORMATS),
    "quality": _number(1, 100, whole=True),
}


def _check(order: Order) -> None:
    """Refuse fields that do not fit together."""
    layers = order.layers
    masked = [layer for layer in layers if layer.mask is not None]
    if masked and len(masked) != len(layers):
        raise unfit(f"mask: expected one for each of {len(layers)} styles, got {len(masked)}")
    if masked and any(layer.weight != 1 for layer in layers):
        raise unfit("layers: expected masks or weights, got both")
    if not masked and not any(layer.weight for layer in layers):
        raise unfit("weight: expected one above 0, all are 0")
    if order.kind == "refine":
        if any(layer.painting is None for layer in layers):
            raise unfit("layers: refining takes paintings, not names of styles")
        if order.strength != 1 or order.strokes is not None:
            raise unfit("refine: strength and strokes are for previews and finals; leave them out")
