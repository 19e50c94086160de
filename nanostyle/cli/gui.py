"""`nanostyle gui` and `nanostyle serve`."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from nanostyle.cli.runtime import Runtime, common
from nanostyle.cli.terminal import printable
from nanostyle.errors import NanostyleError

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_MEGA = 1_000_000


def _serving(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that both commands have."""
    options = (
        click.option("--model", "models", type=_FILE, multiple=True, help="Also offer this model; may be repeated."),
        click.option("--port", type=click.IntRange(0, 65_535), help="Default: 8765, or the next free one. 0: any."),
        click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on."),
        click.option("--lan", is_flag=True, help="Let other devices of the network in: --host 0.0.0.0."),
        click.option("--allow-host", "names", multiple=True, metavar="NAME", help="Also answer to this host name."),
        click.option(
            "--token-file", type=_FILE, help="Read the access token from here. Default: NANOSTYLE_TOKEN, or a new one."
        ),
        click.option("--no-token", is_flag=True, help="Ask for no token: any program on this machine may use it."),
        click.option("--certfile", type=_FILE, help="Certificate, to serve HTTPS with --keyfile."),
        click.option("--keyfile", type=_FILE, help="Private key of --certfile."),
        click.option(
            "--max-upload", type=click.IntRange(1), default=64, show_default=True, help="Largest upload, in MB."
        ),
        click.option(
            "--max-pixels", type=click.IntRange(1), default=100, show_default=True, help="Largest picture, in MP."
        ),
        click.option(
            "--memory", type=click.IntRange(16), default=1024, show_default=True, help="Memory for pictures, in MB."
        ),
    )
    for option in reversed((*options, common)):
        command = option(command)
    return command


@click.command()
@click.argument("photos", nargs=-1, type=_FILE, metavar="[PHOTO]...")
@click.option("--no-browser", is_flag=True, help="Do not open a browser.")
@_serving
def gui(photos: tuple[Path, ...], no_browser: bool, **values: Any) -> None:
    """Stylize photos on a page in the browser, with each PHOTO loaded. This machine computes everything."""
    _run("gui", photos=photos, browser=not no_browser, **values)


@click.command()
@_serving
def serve(**values: Any) -> None:
    """Serve the HTTP API without the page: POST /stylize and the other requests of openapi.json."""
    _run("serve", page=False, browser=False, **values)


def _run(
    command: str,
    *,
    runtime: Runtime,
    host: str,
    lan: bool,
    token_file: Path | None,
    no_token: bool,
    certfile: Path | None,
    keyfile: Path | None,
    max_upload: int,
    max_pixels: int,
    memory: int,
    **values: Any,
) -> None:
    if not all(importlib.util.find_spec(name) for name in ("starlette", "uvicorn", "python_multipart")):
        raise NanostyleError(f'{command}: needs starlette and uvicorn; pip install "nanostyle[gui]"')
    from nanostyle.server.run import Settings, choose_token, serve
    from nanostyle.server.work import Limits

    if (certfile is None) != (keyfile is None):
        raise click.UsageError("--certfile and --keyfile go together")
    settings = Settings(
        device=runtime.device,
        token="" if no_token else choose_token(token_file),
        host="0.0.0.0" if lan else host,
        certificate=(certfile, keyfile) if certfile and keyfile else None,
        limits=Limits(max_upload * _MEGA, max_pixels * _MEGA, memory * _MEGA),
        **values,
    )
    serve(settings, lambda text: click.echo(printable(text), err=True))
