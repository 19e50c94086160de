"""Reading: orientation, color profiles, animations, size."""

import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from nanostyle.io.image_read import load_image
from tests.support.picture_files import HEIGHT, LOSSY, ONE_STEP, SEEN, WIDTH, floats, swapped_profile

# --- reading: orientation, profiles, animations, size


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_applies_exif_orientation(tmp_path, colors, suffix, orientation):
    """The file holds the picture as the camera's sensor saw it."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned.{suffix}"
    stored = Image.fromarray(np.ascontiguousarray(SEEN[orientation](colors)))
    stored.save(path, exif=exif, quality=100, **({"lossless": True} if suffix == "webp" else {}))
    picture = load_image(path)
    assert picture.original == (HEIGHT, WIDTH)
    np.testing.assert_allclose(picture.pixels, floats(colors), atol=2 * LOSSY if suffix == "jpg" else 0)
    assert load_image(path, size=10).pixels.shape == (6, 10, 3)


@pytest.mark.parametrize("orientation", [0, 9, 70000])
def test_ignores_a_nonsensical_orientation(tmp_path, colors, orientation):
    exif = b"Exif\0\0II*\0" + struct.pack("<IHHHII", 8, 1, 0x0112, 4, 1, orientation) + bytes(4)
    Image.fromarray(colors).save(tmp_path / "odd.png", exif=exif)
    np.testing.assert_array_equal(load_image(tmp_path / "odd.png").pixels, floats(colors))


@pytest.mark.parametrize(
    "garbage", [b"", b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\x01" * 40]
)
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_a_broken_exif_block_costs_nothing(tmp_path, colors, garbage, suffix):
    path = tmp_path / f"photo.{suffix}"
    Image.fromarray(colors).save(path, exif=garbage, quality=100)
    np.testing.assert_allclose(load_image(path).pixels, floats(colors), atol=0.2)


@pytest.mark.parametrize(
    ("suffix", "mode"),
    [
        ("png", "RGB"),
        ("png", "RGBA"),
        ("jpg", "RGB"),
        ("tif", "RGB"),
        ("tif", "RGBA"),
        ("webp", "RGB"),
        ("webp", "RGBA"),
    ],
)
def test_converts_the_color_profile_to_srgb(tmp_path, colors, suffix, mode):
    path = tmp_path / f"profiled.{suffix}"
    original = Image.fromarray(colors).convert(mode)
    if mode == "RGBA":
        original.putpixel((0, 0), (0, 0, 200, 128))
    original.save(path, icc_profile=swapped_profile(), quality=100, **({"lossless": True} if suffix == "webp" else {}))
    picture = load_image(path)
    np.testing.assert_allclose(
        picture.pixels, floats(colors)[..., [1, 0, 2]], atol=2 * LOSSY if suffix == "jpg" else 3 / 255
    )
    assert (picture.alpha is not None) == (mode == "RGBA")


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_a_gray_picture_with_an_rgb_profile_stays_gray(tmp_path, mode):
    Image.new(mode, (4, 4), 100 if mode == "L" else (100, 9)).save(tmp_path / "gray.png", icc_profile=swapped_profile())
    np.testing.assert_allclose(load_image(tmp_path / "gray.png").pixels, 100 / 255, atol=3 / 255)


def test_an_srgb_profile_changes_no_bit(tmp_path, colors):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(colors).save(tmp_path / "tagged.png", icc_profile=srgb)
    np.testing.assert_array_equal(load_image(tmp_path / "tagged.png").pixels, floats(colors))


@pytest.mark.parametrize("profile", [b"garbage", swapped_profile()[:200]])
@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
def test_an_unusable_profile_is_ignored(tmp_path, colors, profile, mode):
    Image.fromarray(colors).convert(mode).save(tmp_path / "odd.tif", icc_profile=profile)
    np.testing.assert_allclose(load_image(tmp_path / "odd.tif").pixels, floats(colors), atol=ONE_STEP)


def test_a_profile_of_another_color_space_is_ignored(tmp_path, colors):
    Image.fromarray(colors).convert("CMYK").save(tmp_path / "odd.tif", icc_profile=swapped_profile())
    np.testing.assert_allclose(load_image(tmp_path / "odd.tif").pixels, floats(colors), atol=ONE_STEP)


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
def test_first_frame_of_an_animation(tmp_path, suffix):
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue", "lime")]
    path = tmp_path / f"moving.{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:], **({"lossless": True} if suffix == "webp" else {}))
    np.testing.assert_array_equal(load_image(path).pixels, np.broadcast_to([1.0, 0, 0], (8, 8, 3)))


@pytest.mark.parametrize(
    ("shape", "size", "expected"),
    [
        ((60, 90), 45, (30, 45)),
        ((90, 60), 45, (45, 30)),
        ((6, 9), 90, (60, 90)),
        ((1, 1), 7, (7, 7)),
        ((1, 300), 30, (1, 30)),
    ],
)
def test_size_is_the_long_side(tmp_path, shape, size, expected):
    Image.new("RGB", shape[::-1], "teal").save(tmp_path / "teal.png")
    picture = load_image(tmp_path / "teal.png", size=size)
    assert picture.pixels.shape == (*expected, 3)
    assert picture.original == shape
    np.testing.assert_allclose(picture.pixels, np.broadcast_to(floats(np.array([0, 128, 128])), picture.pixels.shape))


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_downscaling_is_antialiased(tmp_path, suffix):
    """Stripes one pixel wide become their mean; taking every tenth pixel would give black or white."""
    stripes = np.zeros((200, 200, 3), np.uint8)
    stripes[:, ::2] = 255
    Image.fromarray(stripes).save(tmp_path / f"stripes.{suffix}", quality=95)
    pixels = load_image(tmp_path / f"stripes.{suffix}", size=20).pixels
    np.testing.assert_allclose(pixels[:, 2:-2], 0.5, atol=0.03)


def test_resampling_keeps_hidden_colors_out_of_the_edges(tmp_path):
    """Green under full transparency must not tint the red beside it."""
    rgba = np.zeros((40, 40, 4), np.uint8)
    rgba[:, :20] = (255, 0, 0, 255)
    rgba[:, 20:] = (0, 255, 0, 0)
    Image.fromarray(rgba).save(tmp_path / "cut.png")
    picture = load_image(tmp_path / "cut.png", size=15)
    assert picture.alpha is not None
    assert ((picture.alpha > 0.1) & (picture.alpha < 0.9)).any()
    assert picture.pixels[..., 1].max() < 0.02
