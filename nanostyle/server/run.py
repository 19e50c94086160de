"""Starting and ending the server: its port, its token, and the address for the browser."""

import contextlib
import html
import os
import re
import secrets
import signal
import socket
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn

from nanostyle import NanostyleError, TrainedModel, __version__
from nanostyle.backend.device import Device
from nanostyle.errors import with_hint
from nanostyle.models.load import load_model
from nanostyle.models.registry import TRAINED, built_in
from nanostyle.server.app import Site
from nanostyle.server.guard import LOCAL_NAMES, Rules
from nanostyle.server.work import Limits

DEFAULT_PORT, PORTS_TRIED = 8765, 10
LOOPBACK = ("127.0.0.1", "::1", "localhost")
_EVERYWHERE = ("0.0.0.0", "::")
_TOKEN_BYTES, _LEAST_TOKEN = 24, 16
_CONNECTIONS, _HEADER_BYTES, _GRACE = 64, 16_384, 1


@dataclass(frozen=True)
class Settings:
    """How the server is started.

    Attributes
    ----------
    photos
        Pictures that the page has from the start.
    models
        Files of trained models beside the built-in ones.
    port
        None: 8765 or one of the next nine. 0: any that is free.
    token
        What requests must bring; empty: nothing.
    page
        Whether there is a page, or the HTTP API alone.
    """

    device: Device
    token: str
    photos: tuple[Path, ...] = ()
    models: tuple[Path, ...] = ()
    host: str = "127.0.0.1"
    port: int | None = None
    names: tuple[str, ...] = ()
    certificate: tuple[Path, Path] | None = None
    limits: Limits = field(default_factory=Limits)
    page: bool = True
    browser: bool = True


def choose_token(file: Path | None) -> str:
    """The token in `file`, else that of the environment, else a new one of 192 bits.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        The token has less than 16 characters, or others than letters, digits and - . _ ~ + / =
    """
    given = file.read_text() if file else os.environ.get("NANOSTYLE_TOKEN", "")
    token = given.strip() or (secrets.token_urlsafe(_TOKEN_BYTES) if file is None else "")
    if not re.fullmatch(rf"[A-Za-z0-9._~+/=-]{{{_LEAST_TOKEN},}}", token):
        where = str(file) if file else "NANOSTYLE_TOKEN"
        raise ValueError(f"token: expected {_LEAST_TOKEN} or more letters, digits or -._~+/= in {where}")
    return token


def serve(settings: Settings, say: Callable[[str], None]) -> None:
    """Serve until Ctrl-C or SIGTERM; `say` tells the address.

    Raises
    ------
    OSError
        The port is taken, or a file cannot be read.
    ValueError
        A photo or a model is none.
    NanostyleError
        Without a token, an address that other machines can reach.
    """
    if not settings.token and settings.host not in LOOPBACK:
        raise NanostyleError(
            f"host: {settings.host} can be reached from other machines, which takes a token",
            hint="leave out {no_token}",
        )
    listening = _listen(settings.host, settings.port)
    with listening, contextlib.ExitStack() as last:
        port = listening.getsockname()[1]
        scheme = "https" if settings.certificate else "http"
        opener = _Opener()
        last.callback(opener.close)
        site = Site(_models(settings), settings.device, settings.limits, opened=opener.close)
        last.callback(site.worker.close)
        for photo in settings.photos:
            site.photos.append(site.store.add(photo.read_bytes(), photo.name))
        names = _names(settings)

        def rules(page: frozenset[str]) -> Rules:
            return Rules(settings.token, page, site.limit, names, scheme)

        server = _Server(_config(site.application(rules, page=settings.page), settings), site)
        hosts = _addresses() if settings.host in _EVERYWHERE else [settings.host]
        if settings.page and settings.browser and _has_screen():
            opener.open(f"{scheme}://{_bracketed(hosts[0])}:{port}/", settings.token)
        _announce(say, settings, [f"{scheme}://{_bracketed(host)}:{port}/" for host in hosts])
        with _signals_ignored():
            server.run(sockets=[listening])


class _Server(uvicorn.Server):
    """uvicorn, which tells the site first that the end has come."""

    def __init__(self, config: uvicorn.Config, site: Site) -> None:
        super().__init__(config)
        self._site = site

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._site.end()
        await super().shutdown(sockets)


def _config(app: Any, settings: Settings) -> uvicorn.Config:
    certificate, key = settings.certificate or (None, None)
    return uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_CONNECTIONS,
        h11_max_incomplete_event_size=_HEADER_BYTES,
        timeout_graceful_shutdown=_GRACE,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )


@contextlib.contextmanager
def _signals_ignored() -> Iterator[None]:
    """uvicorn ends on Ctrl-C and SIGTERM, then raises them again: by then they have done what they were for."""
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _announce(say: Callable[[str], None], settings: Settings, addresses: Sequence[str]) -> None:
    for address in addresses:
        say(address + (f"#{settings.token}" if settings.token and settings.page else ""))
    if settings.token and not settings.page:
        say(f"Authorization: Bearer {settings.token}")
    if settings.host not in LOOPBACK:
        say("Other machines of this network can reach it; whoever has the token can use it.")
    say(f"nanostyle {__version__} on {settings.device.name}. Ctrl-C ends it.")


def _listen(host: str, port: int | None) -> socket.socket:
    """A socket on `port`, or on the default one or the next that is free."""
    wanted = range(DEFAULT_PORT, DEFAULT_PORT + PORTS_TRIED) if port is None else (port,)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    last: OSError | None = None
    for number in wanted:
        try:
            return socket.create_server((host, number), family=family, backlog=_CONNECTIONS)
        except OSError as error:
            last = error
    where = f"port {port}" if port is not None else f"ports {wanted[0]} to {wanted[-1]}"
    reason = last.strerror if last else ""
    raise with_hint(OSError(f"cannot listen on {host}, {where}: {reason}"), "choose another {port} or {host}")


def _models(settings: Settings) -> dict[str, TrainedModel[Any]]:
    """The built-in models and those that were named, by the words that requests call them."""
    found = {name: load_model(name, device=settings.device) for name in reversed(TRAINED) if built_in(name)}
    for path in settings.models:
        name, count = path.stem, 1
        while name in found:
            count += 1
            name = f"{path.stem}-{count}"
        found[name] = load_model(path, device=settings.device)
    if not found:
        raise NanostyleError("model: expected one, the built-in ones are not installed", hint="name one with {model}")
    return found


def _names(settings: Settings) -> frozenset[str]:
    """Under which names the server may be reached."""
    literal = _addresses() if settings.host in _EVERYWHERE else [settings.host]
    return frozenset({*LOCAL_NAMES, *(_bracketed(name).lower() for name in (*literal, *settings.names))})


def _addresses() -> list[str]:
    """The addresses of this machine: that which others see first."""
    found: list[str] = []
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # chooses a route; nothing is sent
        found.append(probe.getsockname()[0])
    with contextlib.suppress(OSError):
        found += [str(entry[4][0]) for entry in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)]
    return list(dict.fromkeys([*found, "127.0.0.1"]))


def _has_screen() -> bool:
    """Whether a browser would open a window: in a terminal alone it would take the terminal over."""
    if os.name == "nt" or sys.platform == "darwin":
        return True
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


class _Opener:
    """Opens the browser on a file that redirects to the address: the token is in no process's arguments.

    The file can be read by its owner alone, and goes when the page has asked for the first time, or at the end.
    """

    def __init__(self) -> None:
        self._file: Path | None = None

    def open(self, address: str, token: str) -> None:
        """Open the browser, in a thread: it may take its time."""
        folder = os.environ.get("XDG_RUNTIME_DIR")
        number, name = tempfile.mkstemp(".html", "nanostyle-", folder if folder and Path(folder).is_dir() else None)
        target = html.escape(f"{address}#{token}" if token else address)
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(
                f'<!doctype html><meta http-equiv="refresh" content="0;url={target}"><a href="{target}">Open</a>\n'
            )
        self._file = Path(name)
        threading.Thread(target=webbrowser.open, args=(self._file.as_uri(),), daemon=True).start()

    def close(self) -> None:
        """Remove the file."""
        file, self._file = self._file, None
        if file is not None:
            file.unlink(missing_ok=True)
