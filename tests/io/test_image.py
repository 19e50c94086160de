"""Pictures in and out: every mode and format that people have, and every way in which a file can be bad."""

import errno
import io
import json
import re
import struct
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageCms

from nanostyle.io import atomic
from nanostyle.io import image_read as image_read_module
from nanostyle.io import image_write as image_write_module
from nanostyle.io import recipe as recipe_module
from nanostyle.io.image_read import decode_image, load_image
from nanostyle.io.image_write import check_writable, save_image, thumbnail_jpeg
from nanostyle.io.pictures import find_pictures
from nanostyle.io.recipe import read_recipe
from nanostyle.io.resample import fitted, resize

HEIGHT, WIDTH = 24, 40
ONE_STEP = 1 / 255 + 1e-6
LOSSY = 8 / 255


@pytest.fixture
def colors():
    """A smooth (HEIGHT, WIDTH, 3) uint8 picture with no symmetry, kind to JPEG."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.stack([x * 6, y * 10, 200 - x * 2 - y * 3], axis=-1).astype(np.uint8)


def floats(array):
    return array.astype(np.float32) / 255


def png(path, values, color_type, *, chunks=()):
    """A PNG of 16 bits per sample, which Pillow writes for grays alone. `values` (H, W, samples)."""
    height, width = values.shape[:2]

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = values.astype(">u2").reshape(height, -1)
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    head = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    body = [
        chunk(b"IHDR", head),
        *(chunk(*c) for c in chunks),
        chunk(b"IDAT", zlib.compress(data)),
        chunk(b"IEND", b""),
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(body))


# --- reading: formats and modes


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
    np.testing.assert_array_equal(picture.pixels, floats(np.asarray(original.convert("RGBA"))[..., :3]))


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
    png(tmp_path / "deep.png", values, color_type)
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


# --- reading: orientation, profiles, animations, size


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_applies_exif_orientation(tmp_path, colors, suffix, orientation):
    """The file holds the picture as the camera's sensor saw it; `undo` is the sensor's view of the upright picture."""
    undo = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
        8: lambda a: np.rot90(a, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned.{suffix}"
    stored = Image.fromarray(np.ascontiguousarray(undo(colors)))
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


def swapped_profile():
    """An RGB profile whose red is sRGB's green and the other way round: read, it shows at once whether it was used."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack(">I", data[128:132])[0]
    entries = {bytes(data[132 + 12 * i : 136 + 12 * i]): 132 + 12 * i for i in range(count)}
    red, green = entries[b"rXYZ"], entries[b"gXYZ"]
    data[red : red + 4], data[green : green + 4] = data[green : green + 4], data[red : red + 4]
    return bytes(data).replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))


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


# --- reading: bad files


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no picture .*nothing\.jpg; check the name"):
        load_image(tmp_path / "nothing.jpg")
    with pytest.raises(IsADirectoryError, match="is a folder; give the name of a picture"):
        load_image(tmp_path)


def test_unreadable_file(tmp_path, monkeypatch):
    def refuse(*_args, **_options):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(OSError, match=r"cannot read .*private\.png: Permission denied; check the file's permissions"):
        load_image(tmp_path / "private.png")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"empty \(0 bytes\)"),
        (b"just some text, as an error page has", "not a picture, or not in a format that can be read"),
        (b"\xff\xd8\xff", "not a picture|damaged"),
        (b"\x89PNG\r\n\x1a\n", "not a picture|damaged"),
        (b"GIF89a", "not a picture|damaged"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture, or not in a format"),
        (bytes(100), "not a picture"),
    ],
)
def test_no_picture_inside(tmp_path, content, message):
    path = tmp_path / "picture.jpg"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"picture\.jpg.*({message})") as caught:
        load_image(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif", "bmp", "ppm"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated(tmp_path, capfd, suffix, share):
    path = tmp_path / f"cut.{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, **({"compression": "tiff_lzw"} if suffix == "tif" else {}))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=r"cut\..*(damaged or cut short|not a picture)") as caught:
        load_image(path)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


@settings(max_examples=500)
@given(data=st.data())
def test_damaged_bytes_give_a_picture_or_a_clear_error(data):
    suffix = data.draw(st.sampled_from(sorted(DAMAGED)))
    content = bytearray(DAMAGED[suffix])
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        pixels = image_read_module._read(io.BytesIO(content), "photo.jpg", None, max_pixels=10_000).pixels
    except ValueError as error:
        assert "photo.jpg" in str(error)
        assert "\n" not in str(error)
    else:
        assert pixels.shape[2] == 3
        assert pixels.min() >= 0
        assert pixels.max() <= 1


def _small_files():
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = Image.linear_gradient("L").resize((16, 12)).convert("RGB")
    made = {}
    for kind in ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "PPM"):
        data = io.BytesIO()
        picture.save(data, kind, exif=exif, icc_profile=swapped_profile() if kind != "GIF" else None)
        made[kind] = data.getvalue()
    return made


DAMAGED = _small_files()


def png_header(width, height):
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    idat = b"IDAT" + zlib.compress(b"")
    parts = [struct.pack(">I", len(p) - 4) + p + struct.pack(">I", zlib.crc32(p)) for p in (head, idat)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_huge_pictures_are_refused_before_decoding(tmp_path):
    """The files end after their headers: decoding them would say "cut short"."""
    path = tmp_path / "huge.png"
    path.write_bytes(png_header(16000, 10000))
    with pytest.raises(
        ValueError, match=r"huge\.png is too large: 16000 x 10000 pixels, the limit is 150000000"
    ) as caught:
        load_image(path, size=100)
    assert "{size} comes too late" in caught.value.hint
    path.write_bytes(png_header(100_000, 100_000))
    with pytest.raises(ValueError, match=r"huge\.png is too large: .*10000000000.*limit") as caught:
        load_image(path)
    assert "{size} comes too late" in caught.value.hint
    path.write_bytes(png_header(30, 20))
    with pytest.raises(ValueError, match=r"30 x 20 pixels, the limit is 500"):
        load_image(path, max_pixels=500)


def test_a_large_picture_within_the_limit_gives_no_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 60)
    Image.new("RGB", (10, 10)).save(tmp_path / "largish.png")
    assert load_image(tmp_path / "largish.png").original == (10, 10)


def test_sizes_out_of_bounds(tmp_path):
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"long side in pixels, 1 or more; got 0"):
        load_image(tmp_path / "a.png", size=0)
    with pytest.raises(ValueError, match=r"a\.png at size 300000 would be 300000 x 200000 pixels.*smaller size"):
        load_image(tmp_path / "a.png", size=300_000)


def test_threads_share_the_silence_and_leave_the_warning_filters_alone():
    before = list(warnings.filters)
    failures = []

    def work():
        for _ in range(30):
            try:
                decode_image(DAMAGED["JPEG"])
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert warnings.filters == before


# --- writing

WRITABLE = [".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".PNG"]
RECIPE = {"command": "nanostyle stylize 'Zürich → 夜.jpg'", "seed": 7, "losses": {"style": 0.25}, "styles": ["a", None]}


@pytest.mark.parametrize("suffix", WRITABLE)
def test_round_trip(tmp_path, colors, suffix):
    path = tmp_path / f"result{suffix}"
    save_image(path, floats(colors), recipe=RECIPE)
    lossy = suffix in (".jpg", ".jpeg", ".webp")
    np.testing.assert_allclose(load_image(path).pixels, floats(colors), atol=2 * LOSSY if lossy else 0)
    assert read_recipe(path) == (None if suffix == ".bmp" else RECIPE)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_alpha_round_trip(tmp_path, colors, suffix):
    alpha = np.linspace(0, 1, HEIGHT * WIDTH, dtype=np.float32).reshape(HEIGHT, WIDTH)
    save_image(tmp_path / f"a{suffix}", floats(colors), alpha=alpha, recipe=RECIPE)
    np.testing.assert_allclose(load_image(tmp_path / f"a{suffix}").alpha, alpha, atol=0.5 / 255 + 1e-6)
    assert read_recipe(tmp_path / f"a{suffix}") == RECIPE


@pytest.mark.parametrize("suffix", [".jpg", ".bmp"])
def test_formats_without_alpha_show_the_picture_on_white(tmp_path, suffix):
    alpha = np.repeat(np.float32([[0, 1]]), 8, 1).repeat(16, 0)
    save_image(tmp_path / f"a{suffix}", np.zeros((16, 16, 3), np.float32), alpha=alpha)
    pixels = load_image(tmp_path / f"a{suffix}").pixels
    np.testing.assert_allclose(pixels[:, :8], 1, atol=0.01)
    np.testing.assert_allclose(pixels[:, 8:], 0, atol=0.01)


@given(
    hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=8), elements=st.floats(-2, 3, width=32))
)
def test_values_are_clipped_and_rounded_to_the_nearest_step(values):
    path = io.BytesIO(thumbnail_jpeg(np.repeat(values[..., None], 3, 2)))  # any picture encodes
    assert Image.open(path).size == values.shape[::-1]
    steps = image_write_module._to_uint8(values)
    np.testing.assert_allclose(steps / 255, np.clip(values, 0, 1), atol=0.5 / 255 + 1e-6)


def test_every_step_survives_a_round_trip(tmp_path):
    steps = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
    for _ in range(2):
        save_image(tmp_path / "steps.png", floats(steps))
        np.testing.assert_array_equal(load_image(tmp_path / "steps.png").pixels, floats(steps))
    save_image(tmp_path / "half.png", np.full((1, 1, 3), 100.5 / 255 + 1e-6))
    np.testing.assert_array_equal(load_image(tmp_path / "half.png").pixels, np.float32(101) / np.float32(255))


def test_quality_matters(tmp_path):
    noise = np.random.default_rng(0).random((64, 64, 3), dtype=np.float32)
    for suffix in (".jpg", ".webp"):
        for quality in (20, 95):
            save_image(tmp_path / f"{quality}{suffix}", noise, quality=quality)
        assert (tmp_path / f"20{suffix}").stat().st_size < 0.7 * (tmp_path / f"95{suffix}").stat().st_size


def test_jpeg_keeps_full_color_resolution(tmp_path):
    save_image(tmp_path / "a.jpg", np.zeros((16, 16, 3), np.float32))
    with Image.open(tmp_path / "a.jpg") as written:
        assert [layer[1:3] for layer in written.layer] == [(1, 1)] * 3


@pytest.mark.parametrize(
    ("name", "reason"),
    [("a.gif", r"ends in \.gif"), ("a", "has no suffix"), ("a.png.part", r"ends in \.part")],
)
def test_unknown_suffix_lists_the_known_ones(tmp_path, name, reason):
    for attempt in (lambda p: save_image(p, np.zeros((2, 2, 3))), check_writable):
        with pytest.raises(
            ValueError, match=rf"cannot write .*{re.escape(name)}: its name {reason}.*\.png \.jpg .*\.tif"
        ):
            attempt(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("pixels", "alpha", "message"),
    [
        (np.full((2, 2, 3), np.nan), None, "holds NaN"),
        (np.zeros((2, 2, 3)), np.full((2, 2), np.nan), "holds NaN"),
        (np.zeros((2, 2, 3)), np.zeros((3, 2)), r"alpha of shape \(3, 2\) does not fit .*\(2, 2\)"),
        (np.zeros((2, 2)), None, r"expected pixels of shape \(height, width, 3\), got \(2, 2\)"),
        (np.zeros((1, 2, 2, 3)), None, "expected pixels of shape"),
        (np.zeros((0, 2, 3)), None, "expected pixels of shape"),
    ],
)
def test_refuses_what_is_no_picture(tmp_path, pixels, alpha, message):
    with pytest.raises(ValueError, match=message):
        save_image(tmp_path / "result.png", pixels, alpha=alpha)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, error):
    path = tmp_path / "result.png"
    path.write_bytes(b"the old one")

    def fail(file, data):
        with file.open("wb") as half:
            half.write(bytes(data)[:10])
        raise OSError(error, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match=r"cannot write .*result\.png: No space left on device; choose another output"):
        save_image(path, np.zeros((4, 4, 3)))
    assert path.read_bytes() == b"the old one"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_format_cannot_hold(tmp_path):
    with pytest.raises(
        ValueError, match=r"wide\.webp: 17000 x 1 pixels and the recipe are too much for WEBP .*choose \.png"
    ):
        save_image(tmp_path / "wide.webp", np.zeros((1, 17000, 3), np.float32))
    with pytest.raises(ValueError, match=r"long\.jpg: .*recipe are too much for JPEG .*choose \.png"):
        save_image(tmp_path / "long.jpg", np.zeros((1, 1, 3)), recipe={"text": "x" * 70_000})
    assert list(tmp_path.iterdir()) == []


# --- recipes


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".bmp"])
def test_pictures_without_a_recipe(tmp_path, suffix):
    Image.new("RGB", (4, 4)).save(tmp_path / f"plain{suffix}")
    assert read_recipe(tmp_path / f"plain{suffix}") is None


@pytest.mark.parametrize(
    "comment", [b"made by hand", b"nanostyle {broken", b"nanostyle [1]", b"\xff\xfe", b"nanostyle " + b"[" * 50_000]
)
def test_foreign_or_broken_recipes_are_none(tmp_path, comment):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.jpg", comment=comment)
    assert read_recipe(tmp_path / "a.jpg") is None


def test_recipe_of_a_bad_file(tmp_path):
    (tmp_path / "a.png").write_bytes(b"text")
    with pytest.raises(ValueError, match="not a picture"):
        read_recipe(tmp_path / "a.png")
    with pytest.raises(FileNotFoundError, match="there is no picture"):
        read_recipe(tmp_path / "b.png")


@given(st.dictionaries(st.text(max_size=8), st.one_of(st.none(), st.integers(-(2**50), 2**50), st.text(max_size=30))))
def test_any_json_recipe_returns(recipe):
    for kind in ("PNG", "JPEG", "WEBP", "TIFF"):
        data = io.BytesIO()
        Image.new("RGB", (1, 1)).save(data, kind, **recipe_module.recipe_options(kind, json.dumps(recipe)))
        assert json.loads(recipe_module._recipe_text(Image.open(data)) or "null") == recipe


# --- check_writable


def test_check_writable_leaves_no_trace(tmp_path):
    check_writable(tmp_path / "new.png")
    assert list(tmp_path.iterdir()) == []
    old = tmp_path / "old.png"
    old.write_bytes(b"old")
    check_writable(old, overwrite=True)
    assert list(tmp_path.iterdir()) == [old]
    assert old.read_bytes() == b"old"


def test_check_writable_refuses(tmp_path):
    file = tmp_path / "file.png"
    file.write_bytes(b"old")
    with pytest.raises(FileExistsError, match=r"file\.png exists already$") as caught:
        check_writable(file)
    assert caught.value.hint == "choose another name or pass {overwrite}"
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*missing; make it first"):
        check_writable(tmp_path / "missing" / "a.png")
    with pytest.raises(NotADirectoryError, match=r"file\.png is a file, not a folder"):
        check_writable(file / "a.png", overwrite=True)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(IsADirectoryError, match="is a folder"):
        check_writable(tmp_path / "folder.png", overwrite=True)
    with pytest.raises(OSError, match="cannot write"):
        check_writable(tmp_path / ("n" * 300 + ".png"))
    check_writable(tmp_path / ("n" * 250 + ".png"))


def test_check_writable_notices_a_folder_that_takes_no_files(tmp_path, monkeypatch):
    def refuse(*_args, **_options):
        raise PermissionError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(atomic.tempfile, "mkstemp", refuse)
    with pytest.raises(OSError, match=r"cannot write .*a\.png: Read-only file system"):
        check_writable(tmp_path / "a.png")


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="this system has no /proc")
def test_check_writable_on_a_real_read_only_folder():
    with pytest.raises(OSError, match=r"cannot write /proc/self/a\.png"):
        check_writable("/proc/self/a.png")


# --- resampling


@pytest.mark.parametrize("shape", [(8, 12, 3), (2, 8, 12, 3), (8, 12, 1), (2, 2, 8, 12, 5)])
def test_resize_shapes(shape):
    pixels = np.random.default_rng(0).random(shape, dtype=np.float32)
    resized = resize(pixels, (5, 20))
    assert resized.shape == (*shape[:-3], 5, 20, shape[-1])
    assert resized.dtype == np.float32
    assert resized.flags.c_contiguous
    one_plane = np.index_exp[(-1,) * (len(shape) - 3)] + np.index_exp[:, :, -1:]
    np.testing.assert_array_equal(resized[one_plane], resize(pixels[one_plane], (5, 20)))


@given(
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=40),
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=40),
    st.floats(-5, 5, width=32),
)
def test_resize_keeps_constants_and_ranges(before, after, value):
    constant = np.full((*before, 3), value, np.float32)
    np.testing.assert_allclose(resize(constant, after), value, rtol=1e-5, atol=1e-5)
    noise = np.random.default_rng(0).random((*before, 3), dtype=np.float32)
    resized = resize(noise, after)
    assert noise.min() <= resized.min() <= resized.max() <= noise.max()


def test_resize_keeps_a_ramp_and_the_finest_steps():
    ramp = np.linspace(0, 1e-3, 64, dtype=np.float32)[None, :, None].repeat(64, 0)
    small = resize(ramp, (16, 16))
    np.testing.assert_allclose(small[8, 2:-2, 0], ramp[0].reshape(16, 4).mean(1)[2:-2], rtol=1e-2)


def test_resize_to_the_same_size_is_a_copy():
    pixels = np.random.default_rng(0).random((4, 5, 3))
    resized = resize(pixels.astype(np.float32), (4, 5))
    np.testing.assert_array_equal(resized, pixels.astype(np.float32))
    resized[:] = 0
    assert pixels.min() > 0
    assert resize(pixels[:, ::-1], (4, 5)).dtype == np.float32


@pytest.mark.parametrize(("shape", "size"), [((4, 5), (2, 2)), ((4, 5, 3), (0, 2)), ((0, 5, 3), (2, 2))])
def test_resize_refuses(shape, size):
    with pytest.raises(ValueError, match="cannot resize an array of shape"):
        resize(np.zeros(shape, np.float32), size)


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 3000))
def test_fitted_has_the_long_side_and_the_proportions(height, width, side):
    size = fitted((height, width), side)
    assert max(size) == side
    assert min(size) >= 1
    assert abs(min(size) - side * min(height, width) / max(height, width)) <= 1


# --- small files in memory, folders


def test_thumbnail(colors):
    large = resize(floats(colors), (200, 300))
    data = thumbnail_jpeg(large, 60)
    assert data.startswith(b"\xff\xd8")
    assert len(data) < 5000
    thumbnail = decode_image(data)
    assert thumbnail.shape == (40, 60, 3)
    np.testing.assert_allclose(thumbnail, resize(large, (40, 60)), atol=2 * LOSSY)
    assert len(thumbnail_jpeg(large, 60, quality=20)) < len(data)
    assert decode_image(thumbnail_jpeg(floats(colors), 60)).shape == colors.shape  # never enlarged


def test_decode_names_what_is_broken():
    with pytest.raises(ValueError, match=r"the thumbnail of candy is not a picture"):
        decode_image(b"nothing of the kind", name="the thumbnail of candy")
    with pytest.raises(ValueError, match=r"picture in memory is empty"):
        decode_image(b"")


def test_find_pictures(tmp_path):
    for name in [
        "b.JPG",
        "a.png",
        "sub/c.TiFf",
        "sub/deep/d.webp",
        ".hidden.png",
        ".cache/e.png",
        "notes.txt",
        "f.jpg/g.txt",
    ]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in find_pictures(tmp_path)]
    assert found == ["a.png", "b.JPG", "sub/c.TiFf", "sub/deep/d.webp"]
    assert len(find_pictures(tmp_path / "sub" / "deep")) == 1


def test_a_hidden_folder_named_by_the_user_is_searched(tmp_path):
    (tmp_path / ".data").mkdir()
    (tmp_path / ".data" / "a.png").touch()
    assert len(find_pictures(tmp_path / ".data")) == 1


def test_find_pictures_refuses(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(FileNotFoundError, match=r"no pictures in .* or below it; looked for .*\.jpg"):
        find_pictures(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        find_pictures(tmp_path / "missing")
    with pytest.raises(NotADirectoryError, match=r"notes\.txt is a file; give a folder"):
        find_pictures(tmp_path / "notes.txt")
