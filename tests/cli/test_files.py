"""Files as people have them, from photo to result by the command line."""

import io
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from nanostyle.io.image_read import load_image
from nanostyle.io.recipe import read_recipe
from tests.support import picture_files
from tests.support.command import called, environment, failed, listing, run

STYLE = ("--style-image", "art.png")


@pytest.fixture
def folder(tmp_path):
    """A photo and a painting, 24 pixels small."""
    y, x = np.mgrid[0:18, 0:24]
    pixels = np.stack([x * 10, y * 14, 200 - x * 5], axis=-1).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    Image.fromarray(pixels[:, ::-1].copy()).save(tmp_path / "art.png")
    return tmp_path


def test_a_result_keeps_what_the_photo_tells_unless_it_is_stripped(folder):
    exif = Image.Exif()
    exif[271], exif[274] = "MadeUp", 6
    exif.get_ifd(0x8825)[1] = "N"
    Image.open(folder / "photo.png").save(folder / "phone.jpg", exif=exif, dpi=(300, 300))
    assert run("stylize", "phone.jpg", *STYLE, "-o", "kept.jpg", cwd=folder).returncode == 0
    assert run("stylize", "phone.jpg", *STYLE, "-o", "bare.jpg", "--strip", cwd=folder).returncode == 0
    with Image.open(folder / "kept.jpg") as kept, Image.open(folder / "bare.jpg") as bare:
        assert kept.size == bare.size == (18, 24)
        assert (kept.getexif()[271], kept.getexif()[274], kept.info["dpi"]) == ("MadeUp", 1, (300, 300))
        assert kept.getexif().get_ifd(0x8825)[1] == "N"
        assert dict(bare.getexif()) == {} and "dpi" not in bare.info
    assert read_recipe(folder / "kept.jpg")["photo"] == "phone.jpg"


def test_sixteen_bits_in_sixteen_bits_out(folder):
    values = np.tile(np.arange(0, 65536, 2731)[:24].reshape(1, 24, 1), (18, 1, 3))
    (folder / "deep.png").write_bytes(picture_files.png(values, 2))
    assert run("stylize", "deep.png", *STYLE, "-o", "deep_result.png", cwd=folder).returncode == 0
    assert run("stylize", "deep.png", *STYLE, "-o", "deep_result.tif", cwd=folder).returncode == 0
    first, second = load_image(folder / "deep_result.png"), load_image(folder / "deep_result.tif")
    assert first.bits == second.bits == 16
    np.testing.assert_array_equal(first.pixels, second.pixels)
    assert np.abs(first.pixels * 255 - np.rint(first.pixels * 255)).max() > 0.2  # more than 8 bits


def test_what_hides_under_transparency_decides_nothing(folder):
    for name, hidden in (("black", 0), ("white", 255)):
        values = np.full((18, 24, 4), hidden, np.uint8)
        values[4:14, 4:20] = (200, 100, 50, 255)
        values[..., 3] = 0
        values[4:14, 4:20, 3] = 255
        Image.fromarray(values).save(folder / f"{name}.png")
        assert run("stylize", f"{name}.png", *STYLE, "-o", f"{name}_result.png", cwd=folder).returncode == 0
    assert load_image(folder / "black_result.png").alpha is not None
    assert (folder / "black.png").read_bytes() != (folder / "white.png").read_bytes()
    black, white = (load_image(folder / f"{name}_result.png") for name in ("black", "white"))
    np.testing.assert_array_equal(black.pixels, white.pixels)


def test_a_folder_again_and_again_gives_each_photo_once(folder):
    tree = folder / "tree"
    for name in ("day1/a.png", "day2/a.png"):
        (tree / name).parent.mkdir(parents=True)
        (tree / name).write_bytes((folder / "photo.png").read_bytes())
    (tree / "art.png").write_bytes((folder / "art.png").read_bytes())
    (tree / "raw.nef").touch()
    for _ in range(3):
        args = ("--style-image", "tree/art.png", "--skip-existing", "-o", "tree/results")
        result = run("stylize", "tree", *args, cwd=folder)
        assert result.returncode == 0, result.stderr
        assert "left out: 1 raw files of cameras (.nef), 1 used as painting, mask or output" in result.stderr
    assert listing(tree / "results") == ["day1", "day2"]
    assert listing(tree / "results" / "day1") == ["a_art.png"]
    # The results as a folder of their own: there is nothing to do in it.
    failed(run("stylize", "tree/results", *STYLE, cwd=folder), "left out: 2 results of nanostyle")


def test_of_several_frames_the_first_is_used_and_it_is_said(folder):
    frames = [Image.new("RGB", (20, 16), color) for color in ("red", "blue")]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    result = run("stylize", "moving.gif", *STYLE, cwd=folder)
    assert result.returncode == 0 and "the first of 2 pictures is used" in result.stderr
    assert (folder / "moving_art.png").exists()
    for words in ("styles", "--sheet"), ("style-map",):
        result = run(*words, "moving.gif", "-o", f"{words[0]}.png", cwd=folder)
        assert result.returncode == 0 and "moving.gif: the first of 2 pictures is used" in result.stderr


def test_a_mask_of_other_proportions_is_refused_and_one_of_the_stored_photo_turned(folder):
    exif = Image.Exif()
    exif[274] = 6
    Image.open(folder / "photo.png").save(folder / "phone.png", exif=exif)  # stored 24 x 18, shown 18 x 24
    mask = np.zeros((18, 24), np.uint8)
    mask[:, :12] = 255  # the left half as it is stored is the upper half as it is shown
    Image.fromarray(mask).save(folder / "stored.png")
    upper = np.zeros((24, 18), np.uint8)
    upper[:12] = 255
    Image.fromarray(upper).save(folder / "upright.png")
    for name in ("stored", "upright"):
        args = ("--mask", f"{name}.png", "-o", f"by_{name}.png")
        assert run("stylize", "phone.png", *STYLE, *args, cwd=folder).returncode == 0
    by_stored, by_upright = (load_image(folder / f"by_{name}.png").pixels for name in ("stored", "upright"))
    np.testing.assert_array_equal(by_stored, by_upright)
    photo = load_image(folder / "phone.png").pixels
    np.testing.assert_allclose(by_stored[13:], photo[13:], atol=1e-6)
    refused = run("stylize", "photo.png", *STYLE, "--mask", "upright.png", cwd=folder)
    failed(refused, "mask: upright.png is 18 x 24 pixels, the photo 24 x 18", "draw the --mask over the photo")


def test_outside_of_the_masks_gatys_leaves_the_photo(folder):
    mask = np.zeros((18, 24), np.uint8)
    mask[:, :10] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    args = ("--method", "gatys", "--iterations", 4, "--mask", "mask.png", "-o", "out.png")
    result = run("stylize", "photo.png", *STYLE, *args, cwd=folder)
    assert result.returncode == 0, result.stderr
    photo, out = load_image(folder / "photo.png").pixels, load_image(folder / "out.png").pixels
    np.testing.assert_allclose(out[:, 11:], photo[:, 11:], atol=1e-6)
    assert np.abs(out[:, :9] - photo[:, :9]).max() > 0.02


def test_from_the_standard_input_to_the_standard_output(folder):
    command = [sys.executable, "-m", "nanostyle", "stylize", "-", *STYLE, "-o", "-", "--quiet", "--strip"]
    photo = (folder / "photo.png").read_bytes()
    done = subprocess.run(command, input=photo, capture_output=True, cwd=folder, env=environment(), timeout=120)
    assert done.returncode == 0, done.stderr
    with Image.open(io.BytesIO(done.stdout)) as image:
        assert (image.format, image.size) == ("PNG", (24, 18))
        assert json.loads(image.info["nanostyle"])["strip"] is True


def test_a_result_never_replaces_its_photo(folder):
    before = (folder / "photo.png").read_bytes()
    failed(
        run("stylize", "photo.png", *STYLE, "-o", "photo.png", "--overwrite", cwd=folder), "would be lost", "--output"
    )
    assert (folder / "photo.png").read_bytes() == before


@pytest.mark.parametrize(
    "words",
    [
        ("stylize", "photo.png", *STYLE, "-o", "art.png"),
        ("stylize", "photo.png", *STYLE, "--mask", "mask.png", "-o", "mask.png"),
        ("stylize", "photo.png", "--model", "model.png", "--style", "x", "-o", "model.png"),
        ("video", "photo.png", *STYLE, "-o", "art.png"),
        ("style-map", "photo.png", "art.png", "-o", "art.png"),
        ("styles", "--sheet", "photo.png", "-o", "photo.png"),
        ("weights", "convert", "model.png", "model.png"),
    ],
)
def test_a_result_never_replaces_a_file_that_is_read(folder, words):
    for name in ("mask.png", "model.png"):
        (folder / name).write_bytes((folder / "photo.png").read_bytes())
    before = (folder / words[-1]).read_bytes()
    failed(called(*words, "--overwrite", cwd=folder), words[-1], "would be lost")
    assert (folder / words[-1]).read_bytes() == before


@pytest.mark.parametrize("quality", [30, 95])
def test_quality(folder, quality):
    args = ("-o", f"{quality}.jpg", "--quality", quality)
    assert run("stylize", "photo.png", *STYLE, *args, cwd=folder).returncode == 0
    with Image.open(folder / f"{quality}.jpg") as image:
        assert (image.quantization[0][0] > 10) == (quality == 30)
