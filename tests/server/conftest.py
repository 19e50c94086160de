"""A browser and a real server for the tests of the page."""

import socket
import threading

import pytest
from PIL import Image

from tests.support.browser import browser
from tests.support.paths import ROOT
from tests.support.server import application


@pytest.fixture(scope="module")
def chrome():
    with browser() as running:
        yield running


@pytest.fixture(scope="module")
def site():
    """The real server, in a thread."""
    import uvicorn

    site, app = application(upload=64_000_000, pixels=100_000_000, memory=1_000_000_000)
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, http="h11", ws="none", lifespan="off", log_config=None, log_level="critical")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    site.port = listening.getsockname()[1]
    site.address = f"http://127.0.0.1:{site.port}/"
    yield site
    site.end()
    server.should_exit = True
    thread.join(30)
    listening.close()
    site.worker.close()


@pytest.fixture
def small(tmp_path):
    """A photo of 256 pixels: quick to paint."""
    path = tmp_path / "cat.png"
    image = Image.open(ROOT / "docs" / "pictures" / "photo.jpg")
    image.resize((256, 170)).save(path)
    return path
