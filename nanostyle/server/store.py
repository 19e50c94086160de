"""Pictures and results that the server keeps, in memory that does not grow.

Uploads are kept as the bytes that came, which are small; what is decoded lies in a cache of its own. All of it has a
limit: what was used longest ago goes first.
"""

import hashlib
import io
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from nanostyle.io.image_read import Picture
from nanostyle.io.picture_file import open_picture
from nanostyle.io.recipe import recipe_in

MOST_PICTURES = 500
IDLE = 3600.0
"""Seconds without use after which a picture goes."""
DECODED_BYTES = 256 << 20
LINK_SECONDS = 60.0

_ON_ITS_SIDE = 5
_MOST_NAME = 100


@dataclass(eq=False)
class Upload:
    """A picture that was sent: its bytes, and what the head of the file says. Width and height are upright."""

    id: str
    name: str
    data: bytes = field(repr=False)
    width: int
    height: int
    recipe: dict[str, Any] | None
    used: float


@dataclass(frozen=True)
class Result:
    """A finished file: encoded by us, with the name that the browser should save it under."""

    data: bytes = field(repr=False)
    media_type: str
    name: str


class NotFound(Exception):
    """There is no such picture, result or link (any more)."""


class Store:
    """What is kept, by identifiers that cannot be guessed. Every method may be called from any thread.

    Parameters
    ----------
    memory
        The most bytes that uploads and results may take together.
    max_pixels
        Pictures with more are refused before they are decoded.
    decode
        From the bytes and the name of a picture, and the long side it is wanted at (None: its own), to its pixels.
    """

    def __init__(self, memory: int, max_pixels: int, decode: Callable[[bytes, str, int | None], Picture]) -> None:
        self._memory, self._max_pixels, self._decode = memory, max_pixels, decode
        self._lock = threading.Lock()
        self._uploads: OrderedDict[str, Upload] = OrderedDict()
        self._known: dict[tuple[bytes, str], str] = {}
        self._results: OrderedDict[str, Result] = OrderedDict()
        self._decoded: OrderedDict[tuple[str, int | None], Picture] = OrderedDict()
        self._links: dict[str, tuple[str, float]] = {}

    # --- uploads ------------------------------------------------------------------------------------------

    def add(self, data: bytes, name: str) -> Upload:
        """Keep a picture; the same bytes under the same name are the same picture.

        Under another name they are another one: results, recipes and zips are named after the file that was sent.

        Raises
        ------
        ValueError
            It is no picture, or has too many pixels; or it alone takes more than all the memory there is.
        """
        name = clean_name(name)
        key = hashlib.sha256(data).digest(), name
        with self._lock:
            known = self._uploads.get(self._known.get(key, ""))
            if known is not None:
                self._touch(known)
                return known
        if len(data) > self._memory:
            raise ValueError(f"{name} takes {len(data) / 1e6:.3g} MB, more than this server keeps in all")
        upload = self._looked_at(data, name)
        with self._lock:
            self._uploads[upload.id], self._known[key] = upload, upload.id
            self._make_room()
        return upload

    def _looked_at(self, data: bytes, name: str) -> Upload:
        """The head of the file is read, nothing is decoded."""
        found = open_picture(io.BytesIO(data), name, self._max_pixels)
        width, height = found.size
        if found.turn >= _ON_ITS_SIDE:
            width, height = height, width
        return Upload(secrets.token_urlsafe(16), name, data, width, height, recipe_in(data), time.monotonic())

    def upload(self, id: str) -> Upload:
        """The picture of that identifier; NotFound if there is none."""
        with self._lock:
            found = self._uploads.get(id)
            if found is None:
                raise NotFound
            self._touch(found)
            return found

    def picture(self, id: str, size: int | None = None) -> Picture:
        """Its pixels at that long side, decoded once as long as the cache has room. Raises as the decoder does."""
        upload, key = self.upload(id), (id, size)
        with self._lock:
            if key in self._decoded:
                self._decoded.move_to_end(key)
                return self._decoded[key]
        picture = self._decode(upload.data, upload.name, size)
        # A copy, for what comes from memory that is used again would hold a whole slab of it as long as it is kept.
        picture = replace(picture, pixels=picture.pixels.copy())
        with self._lock:
            if id in self._uploads:
                self._decoded[key] = picture
            while len(self._decoded) > 1 and sum(map(_bytes_of, self._decoded.values())) > DECODED_BYTES:
                self._decoded.popitem(last=False)
        return picture

    def remove(self, id: str) -> None:
        """Let a picture go; NotFound if there is none."""
        with self._lock:
            if id not in self._uploads:
                raise NotFound
            self._drop(id)

    # --- results ------------------------------------------------------------------------------------------

    def keep(self, id: str, result: Result) -> None:
        """Keep the result of the job `id`."""
        with self._lock:
            self._results[id] = result
            self._make_room(keep=id)

    def drop_result(self, id: str) -> None:
        """Let the result of the job `id` go, if there is one."""
        with self._lock:
            self._results.pop(id, None)

    def result(self, id: str) -> Result:
        """The result of the job `id`; NotFound if there is none (any more)."""
        with self._lock:
            if id not in self._results:
                raise NotFound
            self._results.move_to_end(id)
            return self._results[id]

    def link(self, id: str) -> str:
        """A word that gives out the result once, within a minute, to whoever has it; NotFound without a result."""
        self.result(id)
        word = secrets.token_urlsafe(16)
        now = time.monotonic()
        with self._lock:
            self._links = {key: link for key, link in self._links.items() if link[1] > now}
            self._links[word] = id, now + LINK_SECONDS
        return word

    def linked(self, word: str) -> Result:
        """The result behind a word of `link`, once; NotFound afterwards."""
        with self._lock:
            id, until = self._links.pop(word, ("", 0.0))
        if time.monotonic() > until:
            raise NotFound
        return self.result(id)

    def tidy(self) -> None:
        """Let go what was not used for an hour."""
        with self._lock:
            self._make_room()

    def taken(self) -> int:
        """The bytes of uploads and results."""
        with self._lock:
            return self._taken()

    # --- under the lock -----------------------------------------------------------------------------------

    def _taken(self) -> int:
        return sum(len(upload.data) for upload in self._uploads.values()) + sum(
            len(result.data) for result in self._results.values()
        )

    def _touch(self, upload: Upload) -> None:
        upload.used = time.monotonic()
        self._uploads.move_to_end(upload.id)

    def _make_room(self, keep: str = "") -> None:
        """Let go what is too much or too old: results first, which can be had again, then the pictures."""
        now = time.monotonic()
        for id in [upload.id for upload in self._uploads.values() if now - upload.used > IDLE]:
            self._drop(id)
        while self._taken() > self._memory and any(id != keep for id in self._results):
            del self._results[next(id for id in self._results if id != keep)]
        while len(self._uploads) > MOST_PICTURES or (self._taken() > self._memory and len(self._uploads) > 1):
            self._drop(next(iter(self._uploads)))

    def _drop(self, id: str) -> None:
        self._known = {key: known for key, known in self._known.items() if known != id}
        self._uploads.pop(id, None)
        for key in [key for key in self._decoded if key[0] == id]:
            del self._decoded[key]


def clean_name(name: str) -> str:
    """The last part of a file's name, without control characters, of at most 100 characters.

    >>> clean_name("C:\\\\photos\\\\../cat\\r\\n.jpg")
    'cat.jpg'
    """
    last = name.replace("\\", "/").rpartition("/")[2]
    printable = "".join(c for c in last if c.isprintable()).strip(". ")
    return printable[:_MOST_NAME] or "picture"


def _bytes_of(picture: Picture) -> int:
    return picture.pixels.nbytes + (0 if picture.alpha is None else picture.alpha.nbytes)
