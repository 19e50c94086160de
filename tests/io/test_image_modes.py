"""Reading: every mode, depth and format that people have."""

import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from nanostyle.io.image_read import load_image
from tests.support.picture_files import HEIGHT, LOSSY, ONE_STEP, WIDTH, floats, png


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm", "webp", "jpg", "jp2"])
def test_reads_rgb_of_every_format(tmp_path, colors, suffix):
    path = tmp_path / f"picture.{suffix}"
    options = {"webp": {"lossless": True}, "jpg": {"quality": 100, "subsampling": 0}}.get(suffix, {})
    Image.fromarray(colors).save(path, **options)
    picture = load_image(path)
    assert picture.pixels.dtype == np.float32
    assert picture.pixels.shape == (HEIGHT, WIDTH, 3)
    assert picture.original == (HEIGHT, WIDTH)
    assert picture.alpha is None
    np.testing.assert_allclose(picture.pixels, floats(colors), atol=LOSSY if suffix in ("jpg", "jp2") else 0)


@pytest.mark.parametrize(("mode", "suffix"), [("L", "png"), ("L", "jpg"), ("L", "tif"), ("L", "webp"), ("L", "pgm")])
def test_reads_grayscale(tmp_path, colors, mode, suffix):
    gray = Image.fromarray(colors).convert(mode)
    path = tmp_path / f"gray.{suffix}"
    gray.save(path, quality=100, lossless=True)
    pixels = load_image(path).pixels
    np.testing.assert_allclose(pixels, np.repeat(floats(np.asarray(gray))[..., None], 3, 2), atol=LOSSY)


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp", "pbm"])
def test_reads_one_bit(tmp_path, suffix):
    bits = np.indices((HEIGHT, WIDTH)).sum(0) % 3 == 0
    path = tmp_path / f"bits.{suffix}"
    Image.fromarray(bits).save(path)
    np.testing.assert_array_equal(load_image(path).pixels, np.repeat(bits[..., None], 3, 2).astype(np.float32))


@pytest.mark.parametrize("suffix", ["png", "gif", "bmp", "tif"])
def test_reads_palette(tmp_path, colors, suffix):
    palette = Image.fromarray(colors).quantize(64)
    path = tmp_path / f"palette.{suffix}"
    palette.save(path)
    np.testing.assert_array_equal(load_image(path).pixels, floats(np.asarray(palette.convert("RGB"))))


@pytest.mark.parametrize("suffix", ["png", "gif"])
def test_palette_transparency_becomes_alpha(tmp_path, colors, suffix):
    palette = Image.fromarray(colors).quantize(16)
    path = tmp_path / f"palette.{suffix}"
    palette.save(path, transparency=3)
    picture = load_image(path)
    np.testing.assert_array_equal(picture.alpha, np.where(np.asarray(palette) == 3, 0, 1))


def test_palette_of_several_transparencies(tmp_path, colors):
    palette = Image.fromarray(colors).quantize(4)
    path = tmp_path / "palette.png"
    palette.save(path, transparency=bytes([0, 100, 200, 255]))
    expected = np.array([0, 100, 200, 255])[np.asarray(palette)] / 255
    np.testing.assert_allclose(load_image(path).alpha, expected, atol=1e-6)


@pytest.mark.parametrize("mode", ["L", "RGB", "1"])
def test_transparent_color_of_a_png_becomes_alpha(tmp_path, mode):
    key = {"L": 7, "RGB": (7, 7, 7), "1": 0}[mode]
    picture = Image.new(mode, (4, 3), key)
    picture.putpixel((1, 2), 255 if mode != "RGB" else (255, 255, 255))
    picture.save(tmp_path / "keyed.png", transparency=key)
    alpha = load_image(tmp_path / "keyed.png").alpha
    assert alpha is not None
    assert alpha[2, 1] == 1
    assert alpha.sum() == 1


@pytest.mark.parametrize(("mode", "suffix"), [("RGBA", "png"), ("RGBA", "webp"), ("RGBA", "tif"), ("LA", "png")])
def test_reads_alpha(tmp_path, colors, mode, suffix):
    original = Image.fromarray(colors).convert(mode)
    opacity = np.linspace(0, 255, HEIGHT * WIDTH).astype(np.uint8).reshape(HEIGHT, WIDTH)
    original.putalpha(Image.fromarray(opacity))
    path = tmp_path / f"alpha.{suffix}"
    original.save(path, lossless=True, exact=True)
    picture = load_image(path)
    np.testing.assert_allclose(picture.alpha, floats(opacity))
    visible = opacity > 0
    expected = floats(np.asarray(original.convert("RGBA"))[..., :3])
    np.testing.assert_array_equal(picture.pixels[visible], expected[visible])


def test_opaque_alpha_is_none(tmp_path, colors):
    Image.fromarray(colors).convert("RGBA").save(tmp_path / "opaque.png")
    assert load_image(tmp_path / "opaque.png").alpha is None


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_reads_cmyk(tmp_path, colors, suffix):
    """A JPEG of CMYK holds its inks inverted, as Adobe's programs write it."""
    cmyk = Image.fromarray(colors).convert("CMYK")
    path = tmp_path / f"cmyk.{suffix}"
    cmyk.save(path, quality=100)
    with Image.open(path) as written:
        assert written.mode == "CMYK"
    assert suffix != "jpg" or b"Adobe" in path.read_bytes()
    np.testing.assert_allclose(load_image(path).pixels, floats(colors), atol=LOSSY)


def test_reads_lab_tiff(tmp_path, colors):
    lab_profile = ImageCms.createProfile("LAB")
    transform = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), lab_profile, "RGB", "LAB")
    lab = ImageCms.applyTransform(Image.fromarray(colors), transform)
    lab.save(tmp_path / "lab.tif")
    error = np.abs(load_image(tmp_path / "lab.tif").pixels - floats(colors))
    assert error.mean() < 0.01
    assert error.max() < 0.15  # 8 bits of Lab are few for strong colors


def test_reads_ycbcr(tmp_path, colors):
    Image.fromarray(colors).convert("YCbCr").save(tmp_path / "ycc.jpg", quality=100, subsampling=0)
    np.testing.assert_allclose(load_image(tmp_path / "ycc.jpg").pixels, floats(colors), atol=LOSSY)


# --- reading: deep pictures

DEEP = np.array([[0, 1, 255], [256, 32768, 65535]], dtype=np.uint16)


@pytest.mark.parametrize(("suffix", "byte_order"), [("png", "<u2"), ("tif", "<u2"), ("tif", ">u2"), ("pgm", "<u2")])
def test_reads_16_bit_gray_with_all_its_bits(tmp_path, suffix, byte_order):
    path = tmp_path / f"deep.{suffix}"
    Image.fromarray(DEEP.astype(byte_order)).save(path)
    pixels = load_image(path).pixels
    np.testing.assert_allclose(pixels, np.repeat((DEEP / 65535)[..., None], 3, 2), atol=1e-7)


def test_reads_16_bit_gray_tiff_with_white_as_zero(tmp_path):
    Image.fromarray(DEEP).save(tmp_path / "negative.tif", tiffinfo={262: 0})
    np.testing.assert_allclose(load_image(tmp_path / "negative.tif").pixels[..., 0], 1 - DEEP / 65535, atol=1e-7)


def test_reads_32_bit_gray_tiff(tmp_path):
    values = np.array([[0, 2**31, 2**32 - 1]], dtype=np.uint32)
    Image.fromarray(values.view(np.int32)).save(tmp_path / "deep.tif")
    np.testing.assert_allclose(load_image(tmp_path / "deep.tif").pixels[0, :, 1], values[0] / (2**32 - 1), atol=1e-6)


@pytest.mark.parametrize(("color_type", "samples"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_reads_16_bit_png_of_every_color_type(tmp_path, color_type, samples):
    rng = np.random.default_rng(0)
    values = rng.integers(0, 65536, (HEIGHT, WIDTH, samples))
    (tmp_path / "deep.png").write_bytes(png(values, color_type))
    picture = load_image(tmp_path / "deep.png")
    expected = values / 65535
    color = expected[..., :3] if samples >= 3 else np.repeat(expected[..., :1], 3, 2)
    np.testing.assert_allclose(picture.pixels, color, atol=ONE_STEP)
    if samples in (2, 4):
        np.testing.assert_allclose(picture.alpha, expected[..., -1], atol=ONE_STEP)


def test_reads_16_bit_rgb_tiff(tmp_path):
    values = np.random.default_rng(0).integers(0, 65536, (4, 5, 3)).astype("<u2")
    entries = [(256, 5), (257, 4), (258, None), (259, 1), (262, 2), (273, None), (277, 3), (278, 4), (279, 120)]
    after = 8 + 2 + 12 * len(entries) + 4
    packed = b""
    for tag, value in entries:
        if tag == 258:
            packed += struct.pack("<HHII", tag, 3, 3, after)
        else:
            packed += struct.pack("<HHII", tag, 4, 1, after + 6 if value is None else value)
    head = b"II*\0" + struct.pack("<IH", 8, len(entries)) + packed + struct.pack("<IHHH", 0, 16, 16, 16)
    (tmp_path / "deep.tif").write_bytes(head + values.tobytes())
    np.testing.assert_allclose(load_image(tmp_path / "deep.tif").pixels, values / 65535, atol=ONE_STEP)


@pytest.mark.parametrize("suffix", ["tif", "pfm"])
def test_reads_floats(tmp_path, suffix):
    values = np.linspace(0, 1, HEIGHT * WIDTH, dtype=np.float32).reshape(HEIGHT, WIDTH)
    Image.fromarray(values).save(tmp_path / f"floats.{suffix}")
    np.testing.assert_array_equal(load_image(tmp_path / f"floats.{suffix}").pixels, np.repeat(values[..., None], 3, 2))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.nan, "holds NaN or infinite"),
        (np.inf, "holds NaN or infinite"),
        (255.0, r"floats from 0 to 255, expected 0 to 1"),
    ],
)
def test_refuses_floats_that_are_no_picture(tmp_path, bad, message):
    values = np.zeros((3, 3), np.float32)
    values[1, 1] = bad
    Image.fromarray(values).save(tmp_path / "bad.tif")
    with pytest.raises(ValueError, match=f"bad.tif.*{message}.*8-bit PNG"):
        load_image(tmp_path / "bad.tif")
