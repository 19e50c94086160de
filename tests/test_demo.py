"""The page that stylizes in the browser alone: built by its one command, served from loopback, driven in chromium."""

import functools
import http.server
import re
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
from PIL import Image

from nanostyle.autograd.tensor import Tensor, no_grad
from nanostyle.models.load import load_model
from tests.support import browser
from tests.support.command import environment
from tests.support.paths import ROOT

pytestmark = pytest.mark.browser

RNG = np.random.default_rng(0)
PHOTO, SMALL, PAINTING = (RNG.random((1, *size, 3), np.float32) for size in ((45, 62), (40, 55), (64, 70)))


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words):
        pass


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Where the built page is served."""
    pytest.importorskip("onnx")
    browser.chromium()
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("demo")
    command = [sys.executable, ROOT / "docs" / "demo" / "build.py", folder]
    result = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=300)
    if "npm" in result.stderr:
        pytest.skip("npm is out of reach")
    assert result.returncode == 0, result.stderr
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def chromium(address):
    with browser.browser() as running:
        yield running


def ours(strength):
    """What our network makes of the pictures, as `TrainedModel.render` does, without grain."""
    net = load_model("any").net
    with no_grad():
        embed = lambda x: net.predictor.embed(Tensor(x)).data  # noqa: E731
        paint = lambda embedding: net(Tensor(PHOTO), Tensor(embedding)).data  # noqa: E731
        style, own = embed(PAINTING), embed(SMALL)
        if strength == 1:
            return paint(style)
        return paint(own + strength * (style - own)) + (1 - strength) * (PHOTO - paint(own))


IN_THE_BROWSER = """async ([photo, small, painting, strength]) => {
    const { embed, stylize } = await import('/network.mjs');
    const picture = ([data, height, width]) => ({ data: new Float32Array(data), width, height });
    const [seen, style, own] = [picture(photo), await embed(picture(painting)), await embed(picture(small))];
    return [...(await stylize(seen, seen, style, own, strength)).data];
}"""


@pytest.mark.parametrize("strength", [1, 0.5])
def test_the_browser_computes_what_we_compute(chromium, address, strength):
    pictures = [[x.ravel().tolist(), *x.shape[1:3]] for x in (PHOTO, SMALL, PAINTING)]
    with browser.page(chromium, f"{address}/model.json", allow=("404",)) as page:  # no icon
        numbers = page.evaluate(IN_THE_BROWSER, [*pictures, strength])
    want = ours(strength)
    np.testing.assert_allclose(np.reshape(numbers, want.shape), want, atol=0.1 / 255)


def painted(page):
    page.wait_for_function("document.querySelector('#said').textContent.includes('seconds')")
    return page.evaluate("[document.querySelector('#result').width, document.querySelector('#result').height]")


def test_the_page_paints_its_own_pictures_and_then_those_of_the_user(chromium, address, tmp_path):
    with browser.page(chromium, address) as page:
        assert painted(page) == [451, 300]
        assert re.fullmatch(r"451 x 300 pixels in \d+\.\d seconds", page.inner_text("#said"))
        browser.shot(page, "demo")

        with Image.open(ROOT / "docs" / "pictures" / "painting.jpg") as painting:
            painting.resize((700, 400)).save(tmp_path / "mine.png")
        page.set_input_files("#photo input", tmp_path / "mine.png")
        page.wait_for_function("document.querySelector('#result').width === 512")
        assert painted(page) == [512, 293]

        page.locator("#strength").fill("0")
        page.wait_for_function("document.querySelector('#percent').textContent === '0 %'")
        page.select_option("#size", "256")
        page.wait_for_function("document.querySelector('#result').width === 256")
        assert painted(page) == [256, 146]
        # Without any of the painting it is the photo, but for what 8 bits round.
        apart = page.evaluate(
            """() => {
                const all = (canvas) => canvas.getContext('2d').getImageData(0, 0, 256, 146).data;
                const photo = document.createElement('canvas');
                [photo.width, photo.height] = [256, 146];
                photo.getContext('2d').drawImage(document.querySelector('#photo canvas'), 0, 0, 256, 146);
                const [a, b] = [all(photo), all(document.querySelector('#result'))];
                return a.reduce((sum, value, i) => sum + Math.abs(value - b[i]), 0) / a.length;
            }"""
        )
        assert apart < 6
        with page.expect_download() as download:
            page.click("#save")
        with Image.open(download.value.path()) as saved:
            assert saved.size == (256, 146)


def test_what_is_no_picture_is_said(chromium, address, tmp_path):
    (tmp_path / "notes.txt").write_text("no picture")
    with browser.page(chromium, address) as page:
        painted(page)
        page.set_input_files("#painting input", tmp_path / "notes.txt")
        page.wait_for_function("document.querySelector('#said').textContent.includes('notes.txt is no picture')")
        assert page.locator("#said.wrong").count() == 1
        Image.new("RGB", (3, 900), "red").save(tmp_path / "thin.png")
        page.set_input_files("#painting input", tmp_path / "thin.png")
        painted(page)


def test_a_model_that_is_missing_is_said(chromium, address):
    with browser.page(chromium, "about:blank", allow=("404", "Failed to load")) as page:
        page.route("**/any.onnx", lambda route: route.fulfill(status=404))
        page.goto(address)
        page.wait_for_function("document.querySelector('#said').textContent.includes('could not be loaded')")
