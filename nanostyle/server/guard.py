"""Who may ask, before anything else is looked at: one ASGI wrapper around the whole server.

It knows nothing of routes but which of them hold no data, and reads raw headers and the path alone: what a framework
makes of a request (`request.url` takes the Host header at its word) has no say here.
"""

import asyncio
import hmac
import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})

_HOST = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9_.-]{1,253})(:\d{1,5})?")
_METHODS = frozenset({"GET", "POST", "DELETE"})

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src blob:;"
    " connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)

HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
    "permissions-policy": "camera=(self)",
}
"""What every answer carries."""


@dataclass(frozen=True)
class Rules:
    """What the guard asks of a request.

    Attributes
    ----------
    token : str
        What `Authorization: Bearer` must hold; empty: nothing is asked.
    names : frozenset of str
        The names and addresses, in small letters, under which the server may be reached; any port.
    scheme : str
        `http` or `https`: what an origin of this server begins with.
    page : frozenset of str
        The paths of the page's own files: they hold no data, so links from elsewhere may open them.
    open : tuple of str
        Beginnings of paths that ask for no token besides: each holds a secret of its own, or says nothing.
    limit : callable
        From a path to the most bytes of a body.
    patience : float
        The seconds without a byte after which a body is given up.
    """

    token: str
    page: frozenset[str]
    limit: Callable[[str], int]
    names: frozenset[str] = LOCAL_NAMES
    scheme: str = "http"
    open: tuple[str, ...] = ("/healthz", "/d/")
    patience: float = 30.0


class Refused(Exception):
    """A request that goes no further: status, a word for programs, and a line for people."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status, self.code = status, code


class Guard:
    """Wraps an ASGI application: checks each request by `Rules`, and gives each answer the headers of `HEADERS`."""

    def __init__(self, app: App, rules: Rules) -> None:
        self._app, self._rules = app, rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        answer = _Answer(send)
        try:
            self._check(scope)
            body = _Body(receive, self._rules.limit(scope["path"]), self._rules.patience)
            body.check(scope["headers"])
            await self._app(scope, body, answer)
        except Refused as refused:
            await answer.refuse(refused)

    def _check(self, scope: Scope) -> None:
        host = self._host(scope)
        self._origin(scope, host)
        if scope["method"] not in _METHODS:
            raise Refused(405, "method", f"method: expected GET, POST or DELETE, got {scope['method'][:20]}")
        self._token(scope)

    def _host(self, scope: Scope) -> str:
        """The Host header: without this check a page elsewhere could give its own name our address (DNS rebinding)."""
        values = _values(scope, b"host")
        host = values[0].lower() if len(values) == 1 else ""
        match = _HOST.fullmatch(host)
        if match is None or match[1] not in self._rules.names:
            raise Refused(403, "host", "host: this server does not go by that name")
        return host

    def _origin(self, scope: Scope, host: str) -> None:
        """Requests from pages: our own alone may send them."""
        origins = _values(scope, b"origin")
        if origins and origins != [f"{self._rules.scheme}://{host}"]:
            raise Refused(403, "origin", "origin: requests of other pages are not answered")
        sites = _values(scope, b"sec-fetch-site")
        page = scope["method"] == "GET" and scope["path"] in self._rules.page
        if not page and any(site not in ("same-origin", "none") for site in sites):
            raise Refused(403, "origin", "origin: requests of other pages are not answered")

    def _token(self, scope: Scope) -> None:
        path = scope["path"]
        if not self._rules.token or path in self._rules.page or path.startswith(self._rules.open):
            return
        values = [value for name, value in scope["headers"] if name == b"authorization"]
        expected = b"Bearer " + self._rules.token.encode()
        if len(values) != 1 or not hmac.compare_digest(values[0], expected):
            raise Refused(401, "token", "token: expected the header Authorization: Bearer TOKEN, as the start has told")


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


class _Body:
    """The body of a request, counted as it arrives."""

    def __init__(self, receive: Receive, limit: int, patience: float) -> None:
        self._receive, self._limit, self._patience = receive, limit, patience
        self._count, self._over = 0, False

    def check(self, headers: list[tuple[bytes, bytes]]) -> None:
        """Refuse a body whose announced length is too much already."""
        for name, value in headers:
            if name == b"content-length" and (not value.isdigit() or int(value[:20]) > self._limit):
                raise self._too_large()

    async def __call__(self) -> Message:
        if self._over:  # what comes after the body is the end of the connection, which may take as long as it likes
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), self._patience)
        except asyncio.TimeoutError:
            raise Refused(408, "timeout", f"body: nothing came for {self._patience:.0f} seconds") from None
        self._count += len(message.get("body", b""))
        self._over = not message.get("more_body", False)
        if self._count > self._limit:
            raise self._too_large()
        return message

    def _too_large(self) -> Refused:
        return Refused(413, "too_large", f"body: expected at most {self._limit / 1e6:.3g} MB, got more")


class _Answer:
    """What is sent back: with our headers, and told of a refusal as long as nothing has been sent."""

    def __init__(self, send: Send) -> None:
        self._send, self._begun = send, False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._begun = True
            names = {name.lower().encode() for name in HEADERS}
            own = [(k, v) for k, v in message.get("headers", []) if k.lower() not in names and k.lower() != b"server"]
            message = {**message, "headers": [*own, *((k.encode(), v.encode()) for k, v in HEADERS.items())]}
        await self._send(message)

    async def refuse(self, refused: Refused) -> None:
        """Send the refusal; the connection ends with it, for the rest of a body is not read."""
        if self._begun:
            raise refused
        text = json.dumps({"error": str(refused), "code": refused.code}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(text)).encode())]
        headers.append((b"connection", b"close"))
        if refused.status == 405:
            headers.append((b"allow", ", ".join(sorted(_METHODS)).encode()))
        await self({"type": "http.response.start", "status": refused.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": text})
