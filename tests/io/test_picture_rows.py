"""Pictures that are read and written in rows: the same to the bit as in one piece, and the same errors."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from nanostyle.backend.rows import ArrayRows
from nanostyle.io import picture_rows, png, tiff
from nanostyle.io.image_read import load_image
from nanostyle.io.image_write import save_image
from nanostyle.io.picture_rows import load_rows, size_in_rows
from nanostyle.io.rows_write import save_rows
from tests.support.paths import ROOT

RNG = np.random.default_rng(0)
SIZE = (150, 61)  # height, width
SMOOTH = np.cumsum(RNG.integers(-9, 10, (*SIZE, 4)), axis=0).astype(np.uint8)  # all of PNG's filters are worth it


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(picture_rows, "_PART", 6000)


def with_alpha(low):
    values = SMOOTH.copy()
    values[..., 3] = np.maximum(values[..., 3], low)
    return Image.fromarray(values, "RGBA")


RGB = Image.fromarray(SMOOTH[..., :3])
GRAY16 = Image.fromarray((RNG.random(SIZE) * 65535).astype(np.uint16))
IMAGES = {
    "RGB": RGB,
    "RGBA": with_alpha(1),
    "RGBA hidden": with_alpha(0),
    "L": RGB.convert("L"),
    "LA": with_alpha(1).convert("LA"),
    "P": RGB.quantize(60),
    "P4": RGB.quantize(11),
    "1": RGB.convert("1"),
    "I;16": GRAY16,
}


def same(path):
    """The picture in rows, which is that of one piece."""
    whole, rows = load_image(path), load_rows(path)
    again = rows.whole()
    np.testing.assert_array_equal(again.pixels, whole.pixels)
    assert (again.alpha is None) == (whole.alpha is None)
    if whole.alpha is not None:
        np.testing.assert_array_equal(again.alpha, whole.alpha)
    for name in ("original", "bits", "orientation", "metadata", "notes", "sha256"):
        assert getattr(rows, name) == getattr(whole, name), name
    return rows


@pytest.mark.parametrize("mode", IMAGES)
def test_png(mode, tmp_path):
    if mode == "RGBA hidden":
        pytest.skip("the hidden colors are continued to rounding: see below")
    IMAGES[mode].save(tmp_path / "a.png")
    same(tmp_path / "a.png")


@pytest.mark.parametrize("compression", [None, "tiff_deflate", "tiff_lzw", "packbits"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "I;16"])
def test_tiff(mode, compression, tmp_path):
    image = IMAGES[mode]
    image.save(tmp_path / "a.tif", compression=compression, tiffinfo={278: 16})
    same(tmp_path / "a.tif")


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bits(suffix, alpha, tmp_path):
    pixels, mask = RNG.random((*SIZE, 3)), RNG.random(SIZE) * 0.9 + 0.1 if alpha else None
    save_image(tmp_path / f"a{suffix}", pixels, alpha=mask, bits=16)
    assert same(tmp_path / f"a{suffix}").bits == 16


def test_cases_of_other_programs():
    for name in ("photo.jpg", "mask.png"):
        same(ROOT / "docs" / "pictures" / name)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
def test_turned(suffix, orientation, tmp_path):
    exif = Image.Exif()
    exif[274], exif[271] = orientation, "Maker"
    RGB.save(tmp_path / f"a{suffix}", exif=exif)
    assert same(tmp_path / f"a{suffix}").metadata.tags[271] == "Maker"


def test_interlaced_and_animated_pngs_and_what_follows_the_pixels(tmp_path):
    path = tmp_path / "a.png"
    RGB.save(path, save_all=True, append_images=[RGB.convert("L").convert("RGB")])
    assert same(path).notes
    data = io.BytesIO()
    RGB.save(data, "PNG", dpi=(300, 300))
    end = data.getvalue().index(b"IEND") - 4
    text = png.chunk(b"tEXt", b"Author\0Ada")
    path.write_bytes(data.getvalue()[:end] + text + data.getvalue()[end:])
    assert same(path).metadata.texts == {"Author": "Ada"}
    interlaced = bytes.fromhex("89504e470d0a1a0a") + png.chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 1))
    path.write_bytes(interlaced + png.chunk(b"IDAT", zlib.compress(b"\0\x80")) + png.chunk(b"IEND", b""))
    same(path)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
def test_profiles(suffix, tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    linear = png.chunk(b"gAMA", struct.pack(">I", 100_000))
    RGB.save(tmp_path / f"a{suffix}", icc_profile=profile)
    same(tmp_path / f"a{suffix}")
    if suffix == ".png":
        data = io.BytesIO()
        RGB.save(data, "PNG")
        (tmp_path / "b.png").write_bytes(data.getvalue()[:33] + linear + data.getvalue()[33:])
        same(tmp_path / "b.png")


def test_strips_planes_and_one_large_strip(tmp_path):
    values = np.ascontiguousarray(SMOOTH[..., :3])
    tags = {256: (61,), 257: (150,), 258: (8,), 259: (1,), 262: (2,), 277: (3,), 278: (150,)}
    one = {**tags, 273: (8,), 279: (values.nbytes,)}
    (tmp_path / "a.tif").write_bytes(tiff.with_directory(b"II*\0\0\0\0\0" + values.tobytes(), one))
    np.testing.assert_array_equal(same(tmp_path / "a.tif").pixels.read(0, 150), values / np.float32(255))
    planes = np.ascontiguousarray(np.moveaxis(values, -1, 0)).astype(">u2") * 257
    size, rows = 10 * 61 * 2, 15
    places = tuple(8 + i * size for i in range(3 * rows))
    apart = {**tags, 258: (16,), 278: (10,), 284: (2,), 273: places, 279: (size,) * (3 * rows)}
    (tmp_path / "b.tif").write_bytes(tiff.with_directory(b"MM\0*\0\0\0\0" + planes.tobytes(), apart))
    np.testing.assert_allclose(same(tmp_path / "b.tif").pixels.read(0, 150), values / 255, atol=1e-6)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_cut_and_corrupt_files_are_one_line_that_names_them(suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    RGB.save(path, **({"compression": "tiff_deflate", "tiffinfo": {278: 16}} if suffix == ".tif" else {}))
    data = path.read_bytes()
    for bad in (data[: len(data) // 2], data[:20], data[:60], b""):
        path.write_bytes(bad)
        with pytest.raises(ValueError, match="a" + suffix) as rows:
            load_rows(path)
        with pytest.raises(ValueError, match="a" + suffix) as whole:
            load_image(path)
        assert str(rows.value).split("(")[0] == str(whole.value).split("(")[0]
    rng = np.random.default_rng(0)
    for _ in range(60):
        spoiled = np.frombuffer(data, np.uint8).copy()
        at = rng.integers(8, len(data) if rng.random() < 0.5 else 200, 3)
        spoiled[at] = rng.integers(0, 256, 3)
        path.write_bytes(spoiled.tobytes())
        try:
            assert load_rows(path).pixels.read(0, 1).size
        except ValueError as error:
            assert str(error).startswith(str(path)) and "\n" not in str(error)


def test_hidden_colors_are_continued_as_in_the_whole_picture(tmp_path, monkeypatch):
    monkeypatch.setattr("nanostyle.io.transparency_rows._SMALL", 300)
    values = SMOOTH.copy()
    values[40:120, 10:50, 3] = 0
    Image.fromarray(values).save(tmp_path / "a.png")
    whole, rows = load_image(tmp_path / "a.png"), load_rows(tmp_path / "a.png").whole()
    np.testing.assert_allclose(rows.pixels, whole.pixels, atol=1e-5)
    np.testing.assert_array_equal(rows.alpha, whole.alpha)


@pytest.mark.parametrize("size", [100, 700])
def test_at_a_size(size, tmp_path):
    """In one piece bytes are rounded after every axis."""
    path, photo = tmp_path / "a.png", Image.open(ROOT / "docs" / "pictures" / "photo.jpg").resize((300, 200))
    for mask in (False, True):
        if mask:
            photo.putalpha(Image.linear_gradient("L").resize(photo.size).point(lambda value: max(value, 1)))
        photo.save(path)
        whole, rows = load_image(path, size=size), load_rows(path, size=size).whole()
        assert size_in_rows(path, size=size) == whole.pixels.shape[:2] == rows.pixels.shape[:2]
        apart = np.abs(rows.pixels - whole.pixels) * (1 if whole.alpha is None else whole.alpha[..., None])
        assert apart.max() < 4 / 255
        assert apart.mean() < 0.6 / 255


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".webp", ".bmp"])
def test_what_is_written_in_rows_reads_as_what_is_written_whole(suffix, alpha, bits, tmp_path):
    pixels, mask = RNG.random((*SIZE, 3), np.float32), RNG.random(SIZE, np.float32) if alpha else None
    photo = load_image(ROOT / "docs" / "pictures" / "photo.jpg")
    about = {"recipe": {"a": 1}, "bits": bits, "metadata": photo.metadata}
    save_image(tmp_path / f"whole{suffix}", pixels, alpha=mask, **about)
    rows = None if mask is None else ArrayRows(mask[..., None])
    save_rows(tmp_path / f"rows{suffix}", ArrayRows(pixels), alpha=rows, **about)
    one, other = (load_image(tmp_path / f"{name}{suffix}") for name in ("whole", "rows"))
    np.testing.assert_array_equal(one.pixels, other.pixels)
    assert (one.alpha is None and other.alpha is None) or (one.alpha == other.alpha).all()
    assert (one.bits, one.metadata) == (other.bits, other.metadata)


def test_nan_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match="holds NaN"):
        save_rows(tmp_path / "a.png", ArrayRows(np.full((200, 5, 3), np.nan, np.float32)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_parts_of_a_picture_of_few_bits_are_no_larger(suffix, tmp_path, monkeypatch):
    """A row of 1 bit a pixel becomes 96 times as many bytes."""
    monkeypatch.setattr(picture_rows, "_PART", 3 * 1000 * 20)
    path = tmp_path / f"scan.{suffix}"
    how = {"tiffinfo": {278: 5}} if suffix == "tif" else {}  # rows of a strip
    Image.fromarray(np.random.default_rng(0).random((90, 1000)) < 0.5).save(path, **how)
    with path.open("rb") as file:
        parts = [part() for part in picture_rows._parts(picture_rows._in_rows(file), "scan")]
    heights = [image.height for image, _ in parts]
    assert sum(heights) == 90 and max(heights) <= 20
