"""Pictures as the Python interface takes them: files, PIL images and arrays, and what is refused."""

import numpy as np
import pytest
from PIL import Image

import nanostyle
from nanostyle.io.image_read import load_image
from nanostyle.io.image_write import save_image
from tests.support.pictures import picture


@pytest.fixture
def folder(tmp_path):
    """A photo and a painting."""
    (tmp_path / "photos").mkdir()
    save_image(tmp_path / "photos" / "photo.png", picture(40, 48, 1))
    save_image(tmp_path / "art.png", picture(40, 40, 2))
    return tmp_path


def test_a_picture_may_be_a_path_a_pil_image_or_an_array(folder):
    path = folder / "photos" / "photo.png"
    image = Image.open(path)
    bytes_ = np.asarray(image)
    sources = [path, str(path), image, bytes_, load_image(path).pixels, load_image(path).pixels.astype(np.float64)]
    results = [nanostyle.stylize(source, folder / "art.png").pixels for source in sources]
    for pixels in results[1:]:
        np.testing.assert_array_equal(pixels, results[0])
    assert results[0].shape == (40, 48, 3) and results[0].dtype == np.float32
    art = np.asarray(Image.open(folder / "art.png"))
    np.testing.assert_array_equal(nanostyle.stylize(bytes_, art).pixels, results[0])
    image.load()
    assert image.size == (48, 40)  # the caller's own is as it was


def test_arrays_may_lie_in_memory_as_they_like():
    photo = picture(20, 24)
    want = nanostyle.stylize(photo, "scream_munch").pixels
    fixed, wide = photo.copy(), np.zeros((40, 48, 3), np.float32)
    fixed.flags.writeable = False
    wide[::2, ::2] = photo
    for array in (fixed, wide[::2, ::2], np.asfortranarray(photo), photo.astype(">f4")):
        np.testing.assert_array_equal(nanostyle.stylize(array, "scream_munch").pixels, want)
    deep = nanostyle.stylize((photo * 65535).round().astype(np.uint16), "scream_munch").pixels
    np.testing.assert_allclose(deep, want, atol=2 / 255)


def test_several_may_come_from_any_iterable():
    photo, names = picture(20, 24), ["scream_munch", "udnie_picabia"]
    masks = [np.ones((20, 24)), np.zeros((20, 24))]
    for how in ({}, {"masks": masks}, {"weights": [1, 2]}):
        want = nanostyle.stylize(photo, names, **how).pixels
        lazy = nanostyle.stylize(photo, iter(names), **{key: iter(value) for key, value in how.items()}).pixels
        np.testing.assert_array_equal(lazy, want)


def test_gray_pictures_and_alpha(folder):
    gray = (np.mgrid[0:30, 0:40][1] / 40).astype(np.float32)
    assert nanostyle.stylize(gray, "scream_munch").pixels.shape == (30, 40, 3)
    alpha = np.tile(np.linspace(0, 1, 40, dtype=np.float32), (30, 1))
    result = nanostyle.stylize(np.dstack([gray, gray, gray, alpha]), "scream_munch")
    np.testing.assert_array_equal(result.alpha, alpha)
    assert result.image.mode == "RGBA"
    small = nanostyle.stylize(np.dstack([gray, gray, gray, alpha]), "scream_munch", size=20)
    assert small.pixels.shape == (15, 20, 3) and small.alpha.shape == (15, 20)


@pytest.mark.parametrize(
    ("photo", "error", "message"),
    [
        (np.zeros((4, 4, 2), np.uint8), ValueError, r"expected an array \(H, W\).*got one of shape \(4, 4, 2\)"),
        (np.zeros((0, 4, 3), np.uint8), ValueError, "shape"),
        (np.full((4, 4, 3), 200.0), ValueError, "expected floats from 0 to 1, got 200 to 200"),
        (np.full((4, 4), np.nan), ValueError, "expected floats from 0 to 1, got nan"),
        (np.zeros((4, 4), np.int32), ValueError, "expected an array of uint8"),
        (b"photo.png", TypeError, "expected a path, a PIL image or an array, got bytes"),
        (7, TypeError, "expected a path, a PIL image or an array, got int"),
        ("nowhere.png", FileNotFoundError, "nowhere.png"),
    ],
)
def test_what_is_no_photo_is_refused(photo, error, message):
    with pytest.raises(error, match=message):
        nanostyle.stylize(photo, "scream_munch")
