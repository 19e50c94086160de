"""Kinds of files that people have: pages, views, frames, raw files, spot colors, lost ends, hidden colors."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from nanostyle.errors import NanostyleError
from nanostyle.io import heif
from nanostyle.io.image_read import load_image, read_file
from nanostyle.io.transparency import fill_hidden
from tests.support import picture_files


def read(data, name="picture"):
    return read_file(io.BytesIO(data), name)


def saved(image, kind, **options):
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


# --- pages, views, frames


def frames(count):
    return [Image.new("RGB", (8, 6), color) for color in ("red", "blue", "lime")[:count]]


@pytest.mark.parametrize(
    ("kind", "word"),
    [("GIF", "pictures"), ("PNG", "pictures"), ("WEBP", "pictures"), ("TIFF", "pages"), ("MPO", "views")],
)
def test_of_several_the_first_is_used_and_it_is_said(kind, word):
    first, *others = frames(3)
    options = {"lossless": True} if kind == "WEBP" else {}
    picture = read(saved(first, kind, save_all=True, append_images=others, **options))
    assert picture.notes and f"the first of 3 {word} is used" in picture.notes[0]
    np.testing.assert_allclose(picture.pixels[3, 4], [1, 0, 0], atol=0.02)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "JPEG"])
def test_of_one_there_is_nothing_to_say(kind):
    assert read(saved(frames(1)[0], kind)).notes == ()


def test_a_small_copy_before_the_full_page_is_passed_over():
    """As scanners and slide programs write: page 1 is reduced (bit 0 of NewSubfileType), page 2 is the picture."""
    full = np.full((12, 16, 3), 200, np.uint8)
    whole = picture_files.tiff(full, 2)
    small = picture_files.tiff(np.zeros((3, 4, 3), np.uint8), 2, tags=[(254, 4, [1])], then=0)
    # The second file behind the first, its offsets moved.
    data = joined(small, whole)
    picture = read(data)
    assert picture.pixels.shape == (12, 16, 3)
    np.testing.assert_allclose(picture.pixels, 200 / 255, atol=1e-6)
    assert picture.notes == ()


def joined(first, second):
    """Two little-endian TIFFs of `picture_files` as one of two pages."""
    shift = len(first)
    (begin,) = struct.unpack("<I", second[4:8])
    (count,) = struct.unpack("<H", second[begin : begin + 2])
    moved = bytearray(second)
    for i in range(count):
        at = begin + 2 + 12 * i
        tag, kind, number, value = struct.unpack("<HHII", moved[at : at + 12])
        size = {2: 1, 3: 2, 4: 4, 7: 1}[kind] * number
        if tag == 273 or size > 4:
            struct.pack_into("<I", moved, at + 8, value + shift)
    (place,) = struct.unpack("<I", first[4:8])
    (entries,) = struct.unpack("<H", first[place : place + 2])
    head = bytearray(first)
    struct.pack_into("<I", head, place + 2 + 12 * entries, begin + shift)
    return bytes(head + moved)


def test_pages_without_end_do_not_hang():
    data = bytearray(picture_files.tiff(np.zeros((3, 4, 3), np.uint8), 2))
    (begin,) = struct.unpack("<I", data[4:8])
    (count,) = struct.unpack("<H", data[begin : begin + 2])
    struct.pack_into("<I", data, begin + 2 + 12 * count, begin)  # the next page is this one
    assert read(bytes(data)).pixels.shape == (3, 4, 3)


# --- raw files and other strangers


RAW = {
    "a TIFF with a mosaic": picture_files.tiff(np.zeros((8, 8, 1), np.uint8), 32803),
    "a DNG": picture_files.tiff(np.zeros((8, 8, 3), np.uint8), 2, tags=[(50706, 7, b"\1\4\0\0")]),
    "Canon": b"II*\0\x10\0\0\0CR\2\0" + bytes(100),
    "Canon 3": b"\0\0\0\x18ftypcrx " + bytes(100),
    "Fujifilm": b"FUJIFILMCCD-RAW 0201" + bytes(100),
    "Olympus": b"IIRO\x08\0\0\0" + bytes(100),
    "Panasonic": b"IIU\0\x08\0\0\0" + bytes(100),
}


@pytest.mark.parametrize("kind", RAW)
def test_a_raw_file_is_refused_by_name(kind):
    with pytest.raises(
        ValueError, match=r"^IMG_1\.tif is a camera's raw file, expected a developed picture$"
    ) as caught:
        read(RAW[kind], "IMG_1.tif")
    assert "export it as JPEG or TIFF" in caught.value.hint


def test_a_tiff_with_a_raw_files_suffix_is_one():
    data = picture_files.tiff(np.zeros((8, 8, 3), np.uint8), 2)
    assert read(data, "scan.tif").pixels.shape == (8, 8, 3)
    with pytest.raises(ValueError, match="raw file"):
        read(data, "IMG_1.NEF")


@pytest.mark.parametrize(
    ("start", "what"),
    [
        (b"8BPS\0\1", "a Photoshop file"),
        (b"\xff\x0a\xfa\x7f", "JPEG XL"),
        (b"%PDF-1.7", "a PDF document"),
        (b"<!DOCTYPE html><html>", "a page of the web"),
        (b"\0\0\0\x20ftypisom\0\0\2\0", "a video"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
    ],
)
def test_a_stranger_is_called_what_it_is(start, what):
    with pytest.raises(ValueError, match=f"photo.jpg is not a picture that can be read: it is {what}.*save it as PNG"):
        read(start + bytes(200), "photo.jpg")


def test_heic_without_the_extra_says_how_to_get_it(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(heif.importlib, "import_module", missing)
    with pytest.raises(NanostyleError, match=r"IMG_1\.HEIC is HEIC, which needs an extra") as caught:
        read(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100), "IMG_1.HEIC")
    assert caught.value.hint == "install it with: pip install 'nanostyle[heif]'"


def test_an_address_is_told_from_a_file():
    with pytest.raises(FileNotFoundError, match="an address is not read, only files; download it first"):
        load_image("https://example.org/photo.jpg")


# --- print shops


def test_spot_colors_are_left_out():
    values = np.random.default_rng(0).integers(0, 255, (6, 7, 5)).astype(np.uint8)
    with_spot = read(picture_files.tiff(values, 5, extra=(0,)))
    without = read(picture_files.tiff(values[..., :4], 5))
    assert with_spot.alpha is None
    np.testing.assert_allclose(with_spot.pixels, without.pixels, atol=1e-6)


def test_premultiplied_alpha_is_taken_out_of_the_colors():
    color, alpha = np.array([0.8, 0.4, 0.2]), 0.5
    values = np.tile([*(color * alpha), alpha], (4, 4, 1))
    picture = read(picture_files.tiff((values * 65535).astype(np.uint16), 2, extra=(1,)))
    np.testing.assert_allclose(picture.pixels[0, 0], color, atol=1e-4)
    np.testing.assert_allclose(picture.alpha, alpha, atol=1e-4)


@pytest.mark.parametrize(
    ("value", "message"), [(np.nan, "holds NaN or infinite"), (9.0, "floats from 0 to 9, expected 0 to 1")]
)
def test_color_floats_that_are_no_picture(value, message):
    values = np.zeros((3, 3, 3), np.float32)
    values[1, 1] = value
    with pytest.raises(ValueError, match=f"bad.tif.*{message}"):
        read(picture_files.tiff(values, 2), "bad.tif")


# --- lost ends


def smooth(mode="RGB"):
    return Image.fromarray((np.add.outer(np.arange(60), np.arange(90)) % 256).astype(np.uint8)).convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("lost", [1, 2])
def test_a_jpeg_that_lacks_only_its_end_mark_is_whole(mode, progressive, lost):
    data = saved(smooth(mode), "JPEG", quality=90, progressive=progressive)
    assert data.endswith(b"\xff\xd9")
    np.testing.assert_array_equal(read(data[:-lost]).pixels, read(data).pixels)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("lost", [40, 200, 1000])
def test_a_jpeg_that_lacks_pixels_is_damaged(progressive, lost):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    data = saved(Image.fromarray(noise), "JPEG", quality=90, progressive=progressive)
    with pytest.raises(ValueError, match="damaged or cut short"):
        read(data[:-lost])


# --- hidden colors


def cut(hidden, mode="RGBA", soft=False):
    y, x = np.mgrid[0:40, 0:60]
    distance = np.hypot(y - 20, x - 30)
    alpha = np.clip((18 - distance) / 6, 0, 1) if soft else (distance < 15).astype(float)
    values = np.full((40, 60, 4), 255, np.uint8)
    values[..., :3] = np.stack([x * 4, y * 6, 128 + 0 * x], axis=-1)
    values[alpha == 0, :3] = hidden
    values[..., 3] = np.rint(alpha * 255)
    return values


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("size", [None, 31, 90])
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_what_hides_under_transparency_has_no_influence(kind, size, soft):
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    pictures = []
    for hidden in ((0, 0, 0), (255, 255, 255), (255, 0, 255)):
        data = saved(Image.fromarray(cut(hidden, soft=soft)), kind, **options)
        pictures.append(read_file(io.BytesIO(data), "cut", size))
    for other in pictures[1:]:
        np.testing.assert_allclose(other.pixels, pictures[0].pixels, atol=1e-6)
        np.testing.assert_array_equal(other.alpha, pictures[0].alpha)


def test_sixteen_bits_hide_nothing_either():
    pictures = []
    for hidden in (0, 255):
        values = cut(hidden).astype(np.uint16) * 257
        pictures.append(read(picture_files.png(values, 6)))
    np.testing.assert_array_equal(pictures[0].pixels, pictures[1].pixels)


def test_the_fill_continues_the_visible_colors():
    pixels = np.zeros((20, 20, 3), np.float32)
    pixels[:, :10] = (1, 0, 0)
    alpha = np.zeros((20, 20), np.float32)
    alpha[:, :10] = 1
    filled = fill_hidden(pixels, alpha)
    np.testing.assert_allclose(filled, np.broadcast_to(np.float32([1, 0, 0]), filled.shape), atol=1e-6)


def test_the_fill_of_two_sides_lies_between_them():
    pixels = np.random.default_rng(0).random((33, 47, 3), dtype=np.float32)
    alpha = (np.random.default_rng(1).random((33, 47)) < 0.1).astype(np.float32)
    filled = fill_hidden(pixels, alpha)
    seen = pixels[alpha > 0]
    np.testing.assert_array_equal(filled[alpha > 0], seen)
    assert filled.min() >= seen.min() - 1e-6 and filled.max() <= seen.max() + 1e-6
    np.testing.assert_array_equal(fill_hidden(pixels, np.zeros_like(alpha)), 0)
    assert fill_hidden(pixels, np.ones_like(alpha)) is pixels
