"""A photo's date, camera, copyright, place and resolution come out in the result, in every format that holds them."""

import io

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from nanostyle.io.heif import is_installed
from nanostyle.io.image_read import load_image, read_file
from nanostyle.io.image_write import encode_image
from nanostyle.io.metadata import Metadata
from nanostyle.io.recipe import recipe_text
from tests.support import picture_files

WITH_EXIF = [
    "JPEG",
    "PNG",
    "WEBP",
    "TIFF",
    "AVIF",
    pytest.param("HEIF", marks=pytest.mark.skipif(not is_installed(), reason="no pillow-heif")),
]
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6" dc:rights="A. Nobody">'
    b"<tiff:Orientation>6</tiff:Orientation><xmp:Thumbnails><rdf:Alt>" + b"QUJD" * 50 + b"</rdf:Alt></xmp:Thumbnails>"
    b"</rdf:Description></x:xmpmeta>"
)
PLACE = {1: "N", 2: (48.0, 12.0, 30.5), 3: "E", 4: (16.0, 22.0, 1.25)}
TAGS = {0x010F: "MadeUp", 0x0110: "One", 0x0132: "2021:07:08 09:10:11", 0x8298: "A. Nobody", 0x013B: "B. Somebody"}
TAKEN = {0x9003: "2021:07:08 09:10:11", 0x829A: 0.005, 0x8827: 200, 0xA433: "A lens"}
PIXELS = np.full((20, 30, 3), 0.5, np.float32)


def phone_photo(orientation=6):
    """A JPEG as a phone makes it: all blocks, its maker's notes, a thumbnail, turned."""
    exif = Image.Exif()
    for tag, value in {**TAGS, 0x0112: orientation}.items():
        exif[tag] = value
    exif.get_ifd(0x8769).update({**TAKEN, 0x927C: b"\1\2\3" * 40, 0xA002: 30, 0xA003: 20, 0xA001: 65535})
    exif.get_ifd(0x8825).update(PLACE)
    data = io.BytesIO()
    Image.new("RGB", (30, 20), "teal").save(data, "JPEG", exif=exif, xmp=XMP, dpi=(240, 240))
    return data.getvalue()


def result(kind, metadata, **options):
    """What a result of that format tells, when it is opened again."""
    data = encode_image(kind, PIXELS, metadata=metadata, **options)
    return Image.open(io.BytesIO(data)) if kind != "HEIF" else None, read_file(io.BytesIO(data), "result")


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("kind", WITH_EXIF)
def test_a_phones_photo_keeps_date_camera_copyright_place_and_resolution(kind, bits):
    photo = read_file(io.BytesIO(phone_photo()), "phone.jpg")
    assert photo.pixels.shape == (30, 20, 3)
    again = result(kind, photo.metadata, bits=bits, recipe={"seed": 1})[1].metadata
    assert TAGS.items() <= {**again.tags}.items()
    assert again.tags[0x0112] == 1
    assert TAKEN.keys() <= again.exif.keys()
    assert again.exif[0x9003] == TAKEN[0x9003]
    assert float(again.exif[0x829A]) == pytest.approx(0.005)
    assert 0x927C not in again.exif
    assert again.gps[1] == "N" and [float(v) for v in again.gps[2]] == pytest.approx([48, 12, 30.5])
    assert b'dc:rights="A. Nobody"' in again.xmp
    assert b"Thumbnails" not in again.xmp
    assert b'Orientation="1"' in again.xmp and b"Orientation>1<" in again.xmp
    if kind in ("JPEG", "PNG", "TIFF"):
        assert again.dpi == pytest.approx((240, 240), abs=0.02)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_sizes_in_exif_are_those_of_the_result(kind):
    image, _ = result(kind, read_file(io.BytesIO(phone_photo()), "phone.jpg").metadata)
    block = image.getexif().get_ifd(0x8769)
    assert (block[0xA002], block[0xA003], block[0xA001]) == (30, 20, 1)


@pytest.mark.parametrize("kind", WITH_EXIF)
def test_the_recipe_and_the_description_of_the_photo_live_together(kind):
    described = Metadata(tags={0x010E: "A day at the sea"})
    image, picture = result(kind, described, recipe={"seed": 3})
    if kind not in ("JPEG", "PNG"):
        assert picture.metadata.tags[0x010E] == "A day at the sea"
        assert picture.metadata.exif == {} or 0x9286 not in picture.metadata.exif  # a recipe is no comment of the photo
    if image is not None:
        assert '"seed": 3' in recipe_text(image)


def test_texts_of_a_png_are_kept_and_an_old_recipe_is_not():
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Author", "Nobody")
    texts.add_itxt("Title", "Ein schöner Tag 夜")
    texts.add_itxt("nanostyle", '{"seed": 1}')
    data = io.BytesIO()
    Image.new("RGB", (4, 4)).save(data, "PNG", pnginfo=texts)
    metadata = read_file(io.BytesIO(data.getvalue()), "a.png").metadata
    assert metadata.texts == {"Author": "Nobody", "Title": "Ein schöner Tag 夜"}
    image, _ = result("PNG", metadata, recipe={"seed": 2})
    assert image.text == {"Author": "Nobody", "Title": "Ein schöner Tag 夜", "nanostyle": '{"seed": 2}'}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF"])
def test_a_photo_that_tells_nothing_gives_a_result_that_tells_nothing(kind):
    _, picture = result(kind, Metadata())
    assert dict(picture.metadata.gps) == dict(picture.metadata.exif) == {}
    assert picture.metadata.tags.keys() <= {282, 283, 296}
    assert picture.metadata.texts == {} and picture.metadata.xmp == b""
    assert encode_image(kind, PIXELS) == encode_image(kind, PIXELS, metadata=Metadata())


def test_a_tiff_of_16_bits_tells_what_it_has():
    values = np.zeros((4, 5, 3), np.uint16)
    tags = [(271, 2, b"MadeUp\0"), (306, 2, b"2021:07:08 09:10:11\0"), (700, 7, XMP), (296, 3, [3]), (274, 3, [8])]
    picture = read_file(io.BytesIO(picture_files.tiff(values, 2, tags=tags)), "deep.tif")
    assert picture.metadata.tags[271] == "MadeUp" and picture.metadata.tags[274] == 1
    assert picture.orientation == 8 and picture.pixels.shape == (5, 4, 3)
    assert b"A. Nobody" in picture.metadata.xmp


@pytest.mark.parametrize(
    "tags",
    [
        {0x010F: ("a", 3)},
        {0x0110: b"\xff" * 70_000},
        {0x0132: {1: 2}},
        {0x8298: "x" * 70_000},
        {0xFFFF: object()},
    ],
)
@pytest.mark.parametrize("kind", WITH_EXIF)
def test_values_that_exif_has_not_do_not_cost_the_result(kind, tags):
    picture = result(kind, Metadata(tags={**tags, 0x013B: "kept"}))[1]
    assert picture.pixels.shape == PIXELS.shape


def test_a_long_xmp_packet_is_left_out_of_a_jpeg_alone():
    long = Metadata(xmp=b"<x>" + b"y" * 70_000 + b"</x>")
    assert result("JPEG", long)[1].metadata.xmp == b""
    assert len(result("PNG", long)[1].metadata.xmp) == len(long.xmp)


def test_results_are_written_from_a_file_to_a_file(tmp_path):
    (tmp_path / "phone.jpg").write_bytes(phone_photo(orientation=8))
    photo = load_image(tmp_path / "phone.jpg")
    (tmp_path / "result.jpg").write_bytes(encode_image("JPEG", photo.pixels, metadata=photo.metadata))
    with Image.open(tmp_path / "result.jpg") as image:
        assert image.size == (20, 30)
        assert image.getexif()[0x0112] == 1
        assert image.getexif().get_ifd(0x8825)[1] == "N"
        assert image.info["dpi"] == (240, 240)
