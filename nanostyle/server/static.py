"""The files of the page, read once from the package: a fixed table, so no path of a request ever reaches the disk."""

from collections.abc import Callable
from importlib.resources import files
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

_MEDIA = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


def page_files() -> dict[str, tuple[bytes, str]]:
    """The files of the page by their paths: bytes and media type."""
    found = {}
    for file in files("nanostyle.server").joinpath("page").iterdir():
        suffix = file.name.rpartition(".")[2]
        if suffix in _MEDIA:
            path = "/" if file.name == "index.html" else f"/{file.name}"
            found[path] = file.read_bytes(), _MEDIA[suffix]
    return found


def fixed(data: bytes, media: str) -> Callable[[Request], Any]:
    """A route that always answers with the same file."""

    async def answer(request: Request) -> Response:
        return Response(data, media_type=media)

    return answer
