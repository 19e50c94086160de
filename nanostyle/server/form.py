"""Orders of scripts: a form with files, or a photo as the body with words in the query."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.datastructures import MultiDict, QueryParams, UploadFile
from starlette.requests import Request

from nanostyle.server.store import Upload
from nanostyle.server.wire import Layer, Order, bad, decimal, layers_of, near, order_of

MOST_FILES, MOST_FIELDS, MOST_FIELD = 20, 40, 65_536

_NUMBERS, _WORDS = ("strength", "strokes", "size", "quality"), ("colors", "format")
_FILES = ("file", "style_image", "mask")
_STYLES = ("style", "weight", "model")
_FRAME = ("style", "painting", "model", "strength", "stream")


async def order_of_form(request: Request, keep: Callable[[bytes, str], Awaitable[Upload]]) -> Order:
    """The order in a form, or in a body and its query; pictures are given to `keep`.

    Raises
    ------
    Refused
        As `order_of`; and where the photo is missing.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "multipart/form-data":
        _check_words(request.query_params, (*_STYLES, *_NUMBERS, *_WORDS))
        data = await request.body()
        if not data:
            raise bad("body: expected a photo, or a form with file=@photo.jpg, got nothing")
        return _order(request.query_params, (await keep(data, "photo")).id, [], [])
    async with request.form(max_files=MOST_FILES, max_fields=MOST_FIELDS, max_part_size=MOST_FIELD) as form:
        _check_words(form, (*_FILES, *_STYLES, *_NUMBERS, *_WORDS))
        sent = {}
        for name in _FILES:  # no comprehension: before Python 3.11 the inner one could not await
            sent[name] = [await _kept(one, name, keep) for one in form.getlist(name)]
        if len(sent["file"]) != 1:
            raise bad(f"file: expected one photo, got {len(sent['file'])}")
        words = MultiDict([(name, value) for name, value in form.multi_items() if name not in _FILES])
        for name, value in words.multi_items():
            if not isinstance(value, str):
                raise bad(f"{name}: expected a text, got a file")
        return _order(words, sent["file"][0], sent["style_image"], sent["mask"])


def frame_of(words: QueryParams) -> tuple[tuple[Layer, ...], float, str]:
    """The style, the strength and the stream of a frame of a camera.

    Raises
    ------
    Refused
        As `order_of`.
    """
    _check_words(words, _FRAME)
    layer = {name: words[name] for name in ("style", "painting", "model") if name in words}
    order = _checked({"layers": [layer], "photo": "", "strength": decimal(words.get("strength", "1"), "strength")})
    return order.layers, order.strength, words.get("stream", "")[:64]


def _order(words: Any, photo: str, paintings: list[str], masks: list[str]) -> Order:
    layers = layers_of(words.getlist("style"), paintings, words.getlist("weight"), words.get("model", ""))
    if not layers:
        raise bad("style: expected a style=NAME or a style_image=@FILE, got none")
    if masks and len(masks) != len(layers):
        raise bad(f"mask: expected one for each of {len(layers)} styles, got {len(masks)}")
    for layer, mask in zip(layers, masks, strict=False):
        layer["mask"] = mask
    said: dict[str, Any] = {"photo": photo, "layers": layers, "format": "jpeg"}
    said |= {name: decimal(words[name], name) for name in _NUMBERS if name in words}
    said |= {name: words[name] for name in _WORDS if name in words}
    return _checked(said)


def _checked(said: dict[str, Any]) -> Order:
    return order_of({"kind": "final", **said})


def _check_words(words: Any, known: tuple[str, ...]) -> None:
    for word in words:
        if word not in known:
            raise bad(f"there is no word {word[:40]!r}{near(word[:40], known)}")


async def _kept(sent: Any, name: str, keep: Callable[[bytes, str], Awaitable[Upload]]) -> str:
    if not isinstance(sent, UploadFile):
        raise bad(f"{name}: expected a file (curl: -F {name}=@FILE), got a text")
    return (await keep(await sent.read(), sent.filename or name)).id
