"""Color spaces are judged by what they are: by their primaries and curves, not by their names."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from nanostyle.io import color
from nanostyle.io.image_read import read_file
from nanostyle.io.rgb_space import (
    ADOBE_RGB,
    SRGB,
    RGBSpace,
    from_code_points,
    from_gamma,
    from_primaries,
    from_profile,
    power,
)
from tests.support.picture_files import (
    P3_COLUMNS,
    SRGB_COLUMNS,
    chunks,
    gamma_curve,
    png,
    profile,
    srgb_curve,
    table_curve,
)

UNIT = np.linspace(0, 1, 1024)
RAMP = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2).repeat(4, axis=0)


def srgb_from_linear(linear):
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055)


def read(pixels, *, icc=None, extra=()):
    """`pixels` as a PNG with a profile or with `extra` chunks, read."""
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG", icc_profile=icc)
    head, *others = chunks(data.getvalue())
    parts = [b"\x89PNG\r\n\x1a\n"]
    for name, content in [head, *extra, *others]:
        parts.append(struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content)))
    return read_file(io.BytesIO(b"".join(parts)), "ramp.png").pixels


@pytest.mark.parametrize(
    "name", ["linear", "linear sRGB", "sRGB built-in", "GIMP built-in Linear sRGB", "sRGB-elle-g10"]
)
@pytest.mark.parametrize(
    "curve", [gamma_curve(1), b"curv" + bytes(8), table_curve([0, 1])], ids=["para", "none", "table"]
)
def test_a_linear_profile_is_converted_whatever_its_name(name, curve):
    pixels = read(RAMP, icc=profile(SRGB_COLUMNS, curve, name=name))
    np.testing.assert_allclose(pixels[0, :, 1], srgb_from_linear(np.arange(256) / 255), atol=1e-4)


@pytest.mark.parametrize("name", ["sRGB IEC61966-2.1", "c2", "a monitor", ""])
@pytest.mark.parametrize(
    "curve",
    [
        srgb_curve(),
        table_curve(np.where((x := np.linspace(0, 1, 1024)) <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)),
    ],
    ids=["para", "table"],
)
def test_a_real_srgb_profile_changes_no_bit_whatever_its_name(name, curve):
    pixels = read(RAMP, icc=profile(SRGB_COLUMNS, curve, name=name))
    np.testing.assert_array_equal(pixels, RAMP.astype(np.float32) / np.float32(255))


def p3_red():
    """(200, 60, 60) of Display P3 in sRGB, by the matrix of CSS Color 4."""
    matrix = np.array([[1.2249402, -0.2249402, 0], [-0.0420570, 1.0420570, 0], [-0.0196376, -0.0786361, 1.0982736]])
    values = np.array([200, 60, 60]) / 255
    return srgb_from_linear(matrix @ ((values + 0.055) / 1.055) ** 2.4)


def test_primaries_count_as_curves_do():
    pixels = read(np.full((2, 2, 3), (200, 60, 60), np.uint8), icc=profile(P3_COLUMNS, srgb_curve(), name="sRGB"))
    np.testing.assert_allclose(pixels[0, 0], p3_red(), atol=0.5 / 255)


def test_a_gray_profile_counts_in_16_bits_too():
    values = (np.arange(256) * 257).reshape(1, 256, 1)
    data = io.BytesIO()
    Image.new("L", (1, 1)).save(data, "PNG", icc_profile=profile((), gamma_curve(1), space=b"GRAY"))
    icc = [c for c in chunks(data.getvalue()) if c[0] == b"iCCP"]
    pixels = read_file(io.BytesIO(png(values, 0, chunks=icc)), "gray.png").pixels
    np.testing.assert_allclose(pixels[0, :, 2], srgb_from_linear(np.arange(256) / 255), atol=1e-4)


def test_sixteen_bits_keep_more_than_eight_through_a_profile():
    values = np.repeat(np.arange(0, 4096, 4).reshape(1, -1, 1), 3, axis=2)
    data = io.BytesIO()
    Image.new("RGB", (1, 1)).save(data, "PNG", icc_profile=profile(SRGB_COLUMNS, gamma_curve(1)))
    icc = [c for c in chunks(data.getvalue()) if c[0] == b"iCCP"]
    pixels = read_file(io.BytesIO(png(values, 2, chunks=icc)), "deep.png").pixels
    np.testing.assert_allclose(pixels[0, :, 0], srgb_from_linear(values[0, :, 0] / 65535), atol=5e-5)
    assert len(np.unique(pixels)) > 1000


# --- PNG's own chunks

GAMA = struct.pack(">I", 45455)
CHRM_P3 = struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)


def test_gama_of_srgb_changes_no_bit():
    for extra in ([(b"gAMA", GAMA)], [(b"sRGB", b"\0"), (b"gAMA", struct.pack(">I", 100_000))]):
        np.testing.assert_array_equal(read(RAMP, extra=extra), RAMP.astype(np.float32) / np.float32(255))


def test_gama_of_linear_light():
    pixels = read(RAMP, extra=[(b"gAMA", struct.pack(">I", 100_000))])
    np.testing.assert_allclose(pixels[0, :, 0], srgb_from_linear(np.arange(256) / 255), atol=1e-5)


@pytest.mark.parametrize("extra", [[(b"cHRM", CHRM_P3), (b"gAMA", GAMA)], [(b"cICP", bytes([12, 13, 0, 1]))]])
def test_chrm_and_cicp_of_p3(extra):
    pixels = read(np.full((2, 2, 3), (200, 60, 60), np.uint8), extra=extra)
    np.testing.assert_allclose(pixels[0, 0], p3_red(), atol=0.5 / 255)


def test_cicp_comes_before_a_profile():
    pixels = read(RAMP, icc=profile(SRGB_COLUMNS, gamma_curve(1)), extra=[(b"cICP", bytes([1, 13, 0, 1]))])
    np.testing.assert_array_equal(pixels, RAMP.astype(np.float32) / np.float32(255))


@pytest.mark.parametrize(
    "extra",
    [
        [(b"gAMA", bytes(4))],
        [(b"gAMA", b"\xff\xff\xff\xff")],
        [(b"gAMA", GAMA), (b"cHRM", bytes(32))],
        [(b"gAMA", GAMA), (b"cHRM", b"\xff" * 32)],
        [(b"cICP", bytes([99, 99, 0, 1]))],
        [(b"cICP", b"")],
    ],
)
def test_chunks_that_make_no_sense_are_ignored(extra):
    np.testing.assert_array_equal(read(RAMP, extra=extra), RAMP.astype(np.float32) / np.float32(255))


@pytest.mark.parametrize(
    ("transfer", "value", "expected"), [(16, 0.5807, 1.0), (16, 0.0, 0.0), (18, 0.75, 1.0), (8, 0.2140, 0.5)]
)
def test_transfer_curves_of_h273(transfer, value, expected):
    """PQ of 203 cd/m2 and HLG of 0.75 are white (BT.2408)."""
    space = from_code_points(1, transfer)
    pixels = space.to_srgb(np.full((1, 1, 3), value, np.float32))
    np.testing.assert_allclose(pixels, expected, atol=2e-3)


# --- Exif's Adobe RGB


def test_adobe_rgb_of_a_camera_without_a_profile():
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
    data = io.BytesIO()
    Image.new("RGB", (16, 16), (100, 180, 60)).save(data, "JPEG", exif=exif, quality=100, subsampling=0)
    pixels = read_file(io.BytesIO(data.getvalue()), "camera.jpg").pixels
    np.testing.assert_allclose(
        pixels[4, 4], ADOBE_RGB.to_srgb(np.float32([[[100, 180, 60]]]) / 255)[0, 0], atol=2 / 255
    )
    assert pixels[4, 4, 0] < 70 / 255  # the green of Adobe RGB has less red than sRGB's


# --- spaces as numbers


def test_srgb_is_itself_and_the_others_are_not():
    assert SRGB.is_srgb and from_gamma(0.45455).is_srgb and from_code_points(1, 13).is_srgb
    for other in (ADOBE_RGB, from_gamma(1), from_gamma(1 / 1.8), from_code_points(12, 13), from_code_points(1, 4)):
        assert not other.is_srgb


def test_white_stays_white_in_every_space():
    spaces = [ADOBE_RGB, *(from_code_points(p, 13) for p in (1, 5, 6, 9, 11, 12))]
    for space in spaces:
        np.testing.assert_allclose(space.to_srgb(np.ones((1, 1, 3), np.float32)), 1, atol=1e-3)


def test_profiles_that_pillow_makes_are_read_as_numbers():
    made = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    np.testing.assert_allclose(from_profile(made).to_xyz, SRGB.to_xyz, atol=2e-4)


@pytest.mark.parametrize("primaries", [((0.3, 0.3),) * 3, ((0.64, 0.0), (0.3, 0.6), (0.15, 0.06))])
def test_primaries_that_are_none(primaries):
    with pytest.raises(ValueError, match="color space"):
        from_primaries(primaries, (0.3127, 0.3290), power(1))


def test_a_curve_that_has_no_value_for_some_colors_is_no_space(monkeypatch):
    holed = RGBSpace((lambda x: np.where(x < 0.3, np.nan, x),) * 3, np.eye(3))
    assert not holed.is_finite
    monkeypatch.setattr(color, "from_profile", lambda profile: holed)
    assert color.space_of_profile(b"a profile") == b"a profile"
