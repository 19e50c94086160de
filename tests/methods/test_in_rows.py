"""A photo of which rows are read is painted as one in memory is: in every method, and with everything that mixes."""

import io
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import nanostyle
from nanostyle.backend.threads import set_threads, thread_count
from nanostyle.io.image_read import load_image
from nanostyle.io.picture_rows import RowPicture
from nanostyle.methods import strokes
from nanostyle.methods.result import LargeResult
from nanostyle.methods.stylizer import Stylizer
from nanostyle.nets import banded
from tests.support.command import environment, failed, run
from tests.support.paths import ROOT

PICTURES = ROOT / "docs" / "pictures"
PAINTINGS = [PICTURES / "painting.jpg", PICTURES / "photo.jpg"]
MASK = np.linspace(0, 1, 132 * 88, dtype=np.float32).reshape(88, 132)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(banded, "_LEAST_ROWS", 16)
    monkeypatch.setattr(strokes, "LARGEST_BY_DEFAULT", 50)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.open(PICTURES / "photo.jpg").resize((132, 88)).save(path)
    return path


CASES = {
    "any": (PAINTINGS[0], {}),
    "names": (["scream_munch", "udnie_picabia"], {"weights": [3, 1], "strength": 0.6}),
    "blend": (PAINTINGS, {"strength": 0.5, "colors": "content"}),
    "masks": (["scream_munch", "udnie_picabia"], {"masks": [MASK, 1 - MASK]}),
    "two networks": ([PAINTINGS[0], "scream_munch"], {"strokes": 100}),
    "large strokes": ("scream_munch", {"strokes": 200}),
    "the photo": ("scream_munch", {"strength": 0.0}),
    "a size": (PAINTINGS[0], {"size": 120}),
}


@pytest.mark.parametrize("case", CASES)
def test_in_rows_as_in_memory(case, photo):
    style, how = CASES[case]
    whole = nanostyle.stylize(photo, style, **how)
    rows = Stylizer(style, max_memory="1MB", **how).stylize(photo)
    assert type(whole) is not LargeResult
    assert isinstance(rows, LargeResult)
    assert rows.size == whole.size == whole.pixels.shape[:2]
    apart = np.abs(rows.pixels - whole.pixels)
    assert apart.max() < (0.1 if "size" in how else 1 / 255)  # a file at a size is rounded to bytes in one piece
    assert {**rows.recipe, "max_memory": None} == whole.recipe


def test_rows_of_large_masks_are_read_too(photo, tmp_path):
    Image.fromarray((MASK * 255).astype(np.uint8)).resize((264, 176)).save(tmp_path / "mask.png")
    how = {"masks": [tmp_path / "mask.png"]}
    whole = nanostyle.stylize(photo, "scream_munch", **how)
    stylizer = Stylizer("scream_munch", max_memory="1MB", **how)
    assert not isinstance(stylizer._regions[0], np.ndarray)
    rows = stylizer.stylize(photo)
    np.testing.assert_allclose(rows.pixels, whole.pixels, atol=1 / 255)
    assert rows.recipe["masks_sha256"] == whole.recipe["masks_sha256"]


def test_a_picture_in_memory_may_be_one_in_rows_too():
    pixels = load_image(PICTURES / "photo.jpg", size=120).pixels
    whole = nanostyle.stylize(pixels, "scream_munch").pixels
    rows = nanostyle.stylize(pixels, "scream_munch", max_memory="1MB")
    assert isinstance(rows, LargeResult)
    np.testing.assert_allclose(rows.pixels, whole, atol=1 / 255)


def test_any_number_of_threads_gives_the_same_bytes(photo, tmp_path):
    before = thread_count()
    found = []
    try:
        for count in (1, 3):
            set_threads(count)
            result = Stylizer("scream_munch", max_memory="1MB", strength=0.6).stylize(photo)
            found.append(result.save(tmp_path / f"{count}.png").read_bytes())
    finally:
        set_threads(before)
    assert found[0] == found[1]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell the peak of a process")
def test_the_process_stays_within_the_memory_that_it_may_take(tmp_path):
    """In one piece this photo takes more: whether it fits is decided by all that it takes, with the program itself."""
    Image.open(PICTURES / "photo.jpg").resize((1000, 676)).save(tmp_path / "a.png")
    words = ["stylize", "a.png", "--style-image", str(PAINTINGS[0]), "--strokes", "500", "--quiet", "-o", "b.png"]
    # Coverage of programs that tests start would be measured as the program's own memory.
    env = {name: value for name, value in environment(NANOSTYLE_THREADS="2").items() if "COV" not in name}
    peaks = {}
    for limit in ("300MB", "1GB"):
        own = [*words, "--max-memory", limit, "--overwrite"]
        script = f"from nanostyle.cli import main\ntry: main({own})\nfinally: print(open('/proc/self/status').read())"
        made = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True)
        assert made.returncode == 0, made.stderr
        peaks[limit] = 1024 * int(re.search(r"VmHWM:\s+(\d+)", made.stdout)[1])
    assert peaks["300MB"] < 300_000_000 < peaks["1GB"], peaks


def test_a_preview_of_a_large_photo(photo):
    stylizer = Stylizer("scream_munch", max_memory="1MB", preview=True)
    assert isinstance(stylizer.read(photo), RowPicture)
    assert stylizer.stylize(photo).size == (88, 132)


def test_the_command_says_so_keeps_what_a_result_keeps_and_leaves_no_file(photo, tmp_path):
    image = Image.open(photo)
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    exif = Image.Exif()
    exif[271] = "Maker"
    image.save(photo, exif=exif)
    made = run("stylize", photo, "--style", "scream_munch", "--max-memory", "1MB", "-o", "a.tif", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert "132 x 88 pixels are worked on in bands of rows, within 181 MB of memory" in made.stderr
    assert made.stderr.count(" 0/1 ") > 3  # how far it is
    found = load_image(tmp_path / "a.tif")
    assert found.alpha is not None
    assert found.metadata.tags[271] == "Maker"
    assert {path.name for path in tmp_path.iterdir()} == {"photo.png", "a.tif"}
    again = run("stylize", "--from", "a.tif", "-o", "b.tif", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "b.tif").read_bytes() == (tmp_path / "a.tif").read_bytes()


def test_what_cannot_be_decoded_in_rows_is_said(tmp_path):
    Image.open(PICTURES / "photo.jpg").resize((132, 88)).save(tmp_path / "a.jpg")
    made = run("stylize", "a.jpg", "--style", "scream_munch", "--max-memory", "1MB", "-o", "b.jpg", cwd=tmp_path)
    assert "the file was decoded in one piece" in made.stderr
    assert load_image(tmp_path / "b.jpg").original == (88, 132)


def test_a_cut_file_is_one_line(photo, tmp_path):
    photo.write_bytes(photo.read_bytes()[:5000])
    failed(run("stylize", photo, "--style", "scream_munch", "--max-memory", "1MB", cwd=tmp_path), "cut short")


def test_to_the_standard_output(photo, tmp_path):
    words = [sys.executable, "-m", "nanostyle", "stylize", photo, "--style", "scream_munch", "--max-memory", "1MB"]
    made = subprocess.run([*words, "-o", "-"], capture_output=True, cwd=tmp_path)
    assert Image.open(io.BytesIO(made.stdout)).size == (132, 88)
