"""Debian's chromium, driven by Playwright: pages of which any error in the console is an error of the test."""

import base64
import contextlib
import os
import shutil
from pathlib import Path

import pytest

from tests.support.server import pixels_of


def chromium():
    """The path of chromium; without it or Playwright the test skips, and fails where CI is set."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    try:
        import playwright  # noqa: F401
    except ImportError:
        path = None
    if path is None:
        reason = "chromium or playwright is not installed: apt-get install chromium, pip install playwright"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path


def launched(kind, *more):
    """A new chromium with a camera that shows a test picture; `more` are arguments of it."""
    camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    return kind.launch(executable_path=chromium(), args=["--no-sandbox", *camera, *more])


@contextlib.contextmanager
def browser():
    """A chromium for as long as the block runs."""
    chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver, contextlib.closing(launched(driver.chromium)) as running:
        yield running


@contextlib.contextmanager
def page(running, address, *, allow=(), **context):
    """A page at `address`; what its console calls an error fails the test, but for lines with a text of `allow`."""
    options = {"viewport": {"width": 1280, "height": 800}, **context}
    with contextlib.closing(running.new_context(**options)) as made:
        made.set_default_timeout(60_000)
        opened, errors = made.new_page(), []
        opened.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
        opened.on("pageerror", lambda error: errors.append(str(error)))
        opened.goto(address)
        yield opened
        assert [error for error in errors if not any(text in error for text in allow)] == []


def shot(opened, name):
    """A picture of the page, where the environment names a folder for them."""
    if folder := os.environ.get("NANOSTYLE_SHOTS"):
        opened.screenshot(path=str(Path(folder) / f"{name}.png"))


# --- what a person does ---------------------------------------------------------------------------------------------


def add(opened, *photos):
    opened.set_input_files("#photo-files", [str(photo) for photo in photos])
    opened.wait_for_function(f"() => window.nanostyle.state.photos.length >= {len(photos)}")
    opened.wait_for_function(
        """() => {
          const { photo } = window.nanostyle.state;
          const image = document.getElementById("photo");
          return photo && image.src && image.alt === `The photo ${photo.name}`;
        }"""
    )


def paint_with(opened, painting):
    """Choose a painting of one's own, and wait until it has come."""
    opened.set_input_files("#painting-files", str(painting))
    opened.wait_for_function(
        "(name) => window.nanostyle.state.chosen.some((style) => style.name === name)", arg=painting.name
    )


def style(opened, name, **options):
    opened.click(f"#styles button[title^='{name}']", **options)


def settled(opened):
    """Wait until no preview is under way, and none is to come.

    The page's own clock waits: what it was to begin within 600 ms has begun then, however slow the machine is.
    """
    opened.evaluate(
        """async () => {
          await new Promise((done) => setTimeout(done, 700));
          await window.nanostyle.preview.waiting;
        }"""
    )


def unfold(opened):
    opened.evaluate("() => document.querySelectorAll('details').forEach((d) => (d.open = true))")


def shown(opened):
    """(H, W, 3) of the result that the page shows."""
    script = """async () => {
      const image = document.getElementById("result");
      await image.decode();
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
      canvas.getContext("2d").drawImage(image, 0, 0);
      return canvas.toDataURL("image/png");
    }"""
    return pixels_of(base64.b64decode(opened.evaluate(script).partition(",")[2]))
